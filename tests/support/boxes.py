"""
Fixtures that make boxes, and a wait for a condition.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool

MakeBox = Callable[..., Box]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """
    Yield a pool and end its launchers.
    """
    pool = Pool()
    yield pool
    pool.stop()


@pytest.fixture(scope="module")
def box(pool: Pool) -> Iterator[Box]:
    """
    Yield a box, and expect nothing to be left in it.
    """
    with Box(pool, Spec(hostname="db"), name="box db") as box:
        yield box


@pytest.fixture
def make(pool: Pool) -> Iterator[MakeBox]:
    """
    Return a function that makes boxes, and close them.
    """
    with contextlib.ExitStack() as stack:
        yield lambda **keywords: stack.enter_context(
            Box(pool, Spec(**keywords), name="box b")
        )


def wait_until(is_so: Callable[[], bool]) -> bool:
    """
    Say whether *is_so* becomes true within ten seconds.
    """
    event = threading.Event()
    return any(is_so() or event.wait(0.01) for _ in range(1000))
