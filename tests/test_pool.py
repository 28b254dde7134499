"""
Where the supervisor gets its sandboxes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_nsisolate.errors import Refused
from pytest_nsisolate.pool import Pool
from pytest_nsisolate.spec import Spec


@pytest.fixture
def pool() -> Iterator[Pool]:
    """
    Give a pool and end its launchers.
    """
    pool = Pool()
    yield pool
    pool.rest()


@pytest.fixture
def impossible() -> Spec:
    """
    Give a spec that the kernel refuses: its hostname is a byte too long.
    """
    spec = Spec(hostname="t1")
    object.__setattr__(spec, "hostname", "x" * 65)
    return spec


def test_refusal_of_what_was_prepared(pool: Pool, impossible: Spec) -> None:
    """
    What was asked for ahead and refused is not what another test is told.
    """
    pool.prepare(impossible)

    sandbox = pool.take(Spec())

    assert sandbox.is_alive()
    sandbox.close()


def test_refusal(pool: Pool, impossible: Spec) -> None:
    """
    A refusal names the call; a spec that takes other calls is none of its business.
    """
    with pytest.raises(Refused, match=r"sethostname\(\) failed: EINVAL"):
        pool.take(impossible)

    pool.take(Spec()).close()
