"""
How often is a session fixture set up and finalised?
"""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def costly() -> Iterator[None]:
    """
    Write down each set-up and each finaliser.
    """
    with open("set-ups", "a") as file:
        file.write("x")
    yield
    with open("finalisers", "a") as file:
        file.write("x")


def test_1_one() -> None:
    """
    Use it.
    """


def test_2_two() -> None:
    """
    Use it.
    """


def test_3_three() -> None:
    """
    Use it.
    """


def test_4_four() -> None:
    """
    Use it.
    """
