"""
What a test prints, logs and warns of is seen as it is without isolation.
"""

from __future__ import annotations

import pytest
from sources import OUTPUT
from twins import Twins, run_once


@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_captured_output(pytester: pytest.Pytester, twins: Twins, capture: str) -> None:
    """
    What a test prints and logs is captured, by phase, and shown alike.
    """
    pytester.makepyfile(OUTPUT)
    # Apart: what is not captured goes to the descriptors of this process.
    run = twins(f"--capture={capture}", "-rA", "--disable-warnings", apart=True)
    assert "call by print" in run.stdout
    assert ("wide setup by write" in run.reports[0]["stdout"]) == (capture == "fd")


@pytest.mark.parametrize("capture", ["no", "tee-sys"])
def test_output_that_is_not_held_back(
    pytester: pytest.Pytester,
    twins: Twins,
    capture: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What a test prints comes out once and in order where it is not held back.
    """
    # By pytest or Python: what Python buffers is written out before each fork.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    pytester.makepyfile(OUTPUT)
    twins(f"--capture={capture}", "-rA", "--disable-warnings", apart=True)


@pytest.mark.parametrize("shown", ["no", "stdout", "stderr", "log", "all"])
def test_show_capture(pytester: pytest.Pytester, twins: Twins, shown: str) -> None:
    """
    The sections that are asked for are shown.
    """
    pytester.makepyfile(OUTPUT)
    twins(f"--show-capture={shown}", "--log-level=DEBUG", "--disable-warnings")


def test_live_log(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Live logs are shown while a test runs.
    """
    pytester.makepyfile(OUTPUT)
    twins(
        "--log-cli-level=INFO",
        "--log-cli-format=%(levelname)s %(message)s",
        "--disable-warnings",
        apart=True,
    )


def test_order_of_warnings(pytester: pytest.Pytester) -> None:
    """
    Warnings are listed in the order in which they were given.
    """
    pytester.makepyfile(OUTPUT)
    plain, isolated = (
        [one[2] for one in run_once(pytester, [switch]).warnings]
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    assert isolated == plain


def test_warnings(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Warnings arrive with text, category and place, whatever their category is like.
    """
    pytester.makepyfile(
        """
        import warnings
        import pytest

        class Two(UserWarning):
            def __init__(self, one, two): super().__init__(f"{one} and {two}")

        class Odd(Warning):
            def __str__(self): return "odd: " + ",".join(map(str, self.args))

        class Outer:
            class Inner(DeprecationWarning): pass

        def test_kinds():
            class Local(RuntimeWarning): pass
            warnings.warn("text")
            warnings.warn(Two(1, 2))
            warnings.warn(Odd(1, 2))
            warnings.warn(Outer.Inner("nested"))
            warnings.warn(Local("local"))
            warnings.warn(pytest.PytestWarning("of pytest"))
            warnings.warn_explicit("elsewhere", UserWarning, "other.py", 7)

        @pytest.mark.filterwarnings("error::UserWarning")
        def test_error(): warnings.warn("fails")

        @pytest.mark.filterwarnings("ignore")
        def test_ignored(): warnings.warn("silent")

        @pytest.fixture(scope="module")
        def wide():
            warnings.warn("borrowed")
            yield
            warnings.warn("borrowed, later")

        def test_borrowed(wide): pass

        def test_in_collection(): pass

        warnings.warn("collected")
        """
    )
    twins()


def test_unraisable_and_threads(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Errors in finalisers and threads are warnings, as ever.
    """
    pytester.makepyfile(
        """
        import threading

        class Broken:
            def __del__(self): raise ValueError("in del")

        def test_del():
            made = Broken()
            del made

        def test_thread():
            thread = threading.Thread(target=lambda: 1 / 0, name="mine")
            thread.start()
            thread.join()
        """
    )
    run = twins("--disable-warnings")
    assert len(run.warnings) == 2
