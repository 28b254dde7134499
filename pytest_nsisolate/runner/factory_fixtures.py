"""
The fixtures named `sandbox_factory`, which make boxes for any test, isolated or not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_nsisolate.compat.plain_import import as_at_the_start

if TYPE_CHECKING:
    from pytest_nsisolate.runner.sandbox_factory import SandboxFactory


@contextlib.contextmanager
def _made(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    # A session without boxes does without what they need.
    with as_at_the_start():
        from pytest_nsisolate.runner.sandbox_factory import (  # noqa: PLC0415 - see above
            SandboxFactory,
        )

    factory = SandboxFactory(request.node)
    try:
        yield factory
    finally:
        factory.close()


@pytest.fixture
def sandbox_factory(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    """
    Make boxes: further sandboxes, like other hosts, for functions and processes.
    """
    with _made(request) as factory:
        yield factory


@pytest.fixture(scope="class")
def class_sandbox_factory(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    """
    Make boxes like `sandbox_factory`, shared by all tests of a class.
    """
    with _made(request) as factory:
        yield factory


@pytest.fixture(scope="module")
def module_sandbox_factory(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    """
    Make boxes like `sandbox_factory`, shared by all tests of a module.
    """
    with _made(request) as factory:
        yield factory


@pytest.fixture(scope="session")
def session_sandbox_factory(request: pytest.FixtureRequest) -> Iterator[SandboxFactory]:
    """
    Make boxes like `sandbox_factory`, shared by all tests of a session.
    """
    with _made(request) as factory:
        yield factory
