"""
The pool, from which the supervisor takes its sandboxes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ways import RunPytest

from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.pool import Pool


@pytest.fixture
def pool() -> Iterator[Pool]:
    """
    Provide a pool and stop its launchers afterwards.
    """
    pool = ProbedPool()
    yield pool
    pool.stop()


@pytest.fixture
def impossible() -> Spec:
    """
    Provide a spec that the kernel refuses, since its hostname is a byte too long.
    """
    spec = Spec(hostname="t1")
    object.__setattr__(spec, "hostname", "x" * 65)
    return spec


def test_refusal_of_what_was_prepared(pool: Pool, impossible: Spec) -> None:
    """
    The refusal of a sandbox made ahead is not reported for a test with another spec.
    """
    pool.prepare(impossible)

    sandbox = pool.take(Spec())

    assert sandbox.is_alive()
    sandbox.close()


def test_refusal(pool: Pool, impossible: Spec) -> None:
    """
    A refusal names the call and does not affect a spec that makes other calls.
    """
    with pytest.raises(Refused, match=r"sethostname\(\) failed: EINVAL"):
        pool.take(impossible)

    pool.take(Spec()).close()


#: Kills the first sandbox of a session just before a guest is forked into it.
KILLS_THE_FIRST = """
import signal
from pytest_nsisolate.diagnosis import probe

fork_guest = probe.fork_guest

def kill_and_fork(sandbox):
    probe.fork_guest = fork_guest
    signal.pidfd_send_signal(sandbox.init, signal.SIGKILL)
    return fork_guest(sandbox)

probe.fork_guest = kill_and_fork
"""


@pytest.mark.faults
def test_death_in_the_probe(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    If the sandbox that is probed gets killed, another is probed and no test fails.
    """
    pytester.makeconftest(KILLS_THE_FIRST)
    pytester.makepyfile("def test_one(): pass\ndef test_two(): pass")

    result = run_both_ways("--nsisolate")

    result.assert_outcomes(passed=2)
