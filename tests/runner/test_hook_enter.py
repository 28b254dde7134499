"""
The hook `pytest_nsisolate_enter`, which runs code in the guest.
"""

from __future__ import annotations

import pytest
from ways import RunPytest


def test_entered(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The hook runs inside the sandbox, before the setup of the test.
    """
    pytester.makeconftest(
        """
        import os

        def pytest_nsisolate_enter(item, spec):
            with open("/dev/shm/made-inside", "w") as stream:
                print(os.getpid(), spec.hostname, file=stream)
            os.environ["ENTERED"] = item.name
        """
    )
    pytester.makepyfile(
        test_entered="""
        import os
        import pytest

        @pytest.fixture(autouse=True)
        def entered(request):
            assert os.environ.get("ENTERED", "test_on_host") == request.node.name

        @pytest.mark.isolated(hostname="t1", leaks="ignore")
        def test_inside():
            with open("/dev/shm/made-inside") as stream:
                assert stream.read().split() == [str(os.getpid()), "t1"]
            assert os.environ["ENTERED"] == "test_inside"

        def test_on_host():
            assert not os.path.exists("/dev/shm/made-inside")
            assert "ENTERED" not in os.environ
        """
    )
    run_both_ways("test_entered.py").assert_outcomes(passed=2)


@pytest.mark.parametrize("what", ['KeyError("so")', "SystemExit(0)"])
def test_hook_in_guest_that_raises(pytester: pytest.Pytester, what: str) -> None:
    """
    A hook that raises fails its test, with its traceback, and the session goes on.
    """
    pytester.makeconftest(
        f"""
        def pytest_nsisolate_enter(item):
            if item.name == "test_one": raise {what}
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated
        def test_one(): pass
        @pytest.mark.isolated
        def test_two(): pass
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)

    result.assert_outcomes(passed=1, errors=1)
    name = what.partition("(")[0]
    result.stdout.fnmatch_lines(
        [
            "test_one did not finish: no report of setup came from its guest",
            "why: a hook raised outside the phases of the test, see below",
            f"{name}*",
        ]
    )
