"""
Warnings: counted, grouped, located and filtered as without isolation.
"""

from __future__ import annotations

import sys

import pytest
from sources import OUTPUT
from twins import WITHOUT, Twins, run_once

pytestmark = pytest.mark.python

MANY = """
    import warnings
    import pytest

    def helper():
        warnings.warn("from a helper", UserWarning, stacklevel=1)

    @pytest.fixture(params=range(3))
    def number(request):
        warnings.warn("in a fixture", DeprecationWarning)
        yield request.param
        warnings.warn("in its teardown", FutureWarning)

    @pytest.mark.parametrize("letter", "ab")
    def test_many(letter, number):
        helper()
        warnings.warn(f"{letter}")
        warnings.warn("of the caller", UserWarning, stacklevel=2)

    def test_twice_in_one_place():
        for _ in range(3):
            helper()

    class TestIt:
        def test_hidden(self):
            warnings.warn("pending", PendingDeprecationWarning)
            warnings.warn("resource", ResourceWarning)
            warnings.warn("import", ImportWarning)
            warnings.warn("bytes", BytesWarning)

        def test_fails(self):
            warnings.warn("before it fails")
            assert 0
"""

FILTERED = """
    import warnings
    import pytest

    pytestmark = pytest.mark.filterwarnings("ignore:silent")

    class Two(UserWarning):
        def __init__(self, one, two):
            super().__init__(one, two)

    def test_silent():
        warnings.warn("silent")
        warnings.warn("not so silent")

    @pytest.mark.filterwarnings("error::DeprecationWarning")
    def test_error():
        warnings.warn("user")
        warnings.warn("fails", DeprecationWarning)

    @pytest.mark.filterwarnings("error", "default:no error:UserWarning")
    def test_several_filters():
        warnings.warn("no error")
        warnings.warn("an error")

    @pytest.mark.filterwarnings("error:one:test_filtered.Two")
    def test_class_by_name():
        warnings.warn(Two("one", "two"))

    def test_two_arguments():
        warnings.warn(Two("one", 2))

    @pytest.mark.filterwarnings("once")
    def test_once():
        for _ in range(3):
            warnings.warn("once")

    def test_filters_of_its_own():
        warnings.simplefilter("ignore")
        warnings.warn("ignored")

    def test_after_that():
        warnings.warn("not ignored")

    def test_catches():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("caught")
        assert len(caught) == 1

    @pytest.mark.filterwarnings("no such action")
    def test_wrong_filter():
        pass
"""

EXPECTED = """
    import warnings
    import pytest

    def test_expected():
        with pytest.warns(UserWarning, match="b.d") as record:
            warnings.warn("bad")
        assert [str(one.message) for one in record] == ["bad"]

    def test_other_category():
        with pytest.warns(UserWarning):
            warnings.warn("other", DeprecationWarning)

    def test_other_text():
        with pytest.warns(UserWarning, match="good"):
            warnings.warn("bad")

    def test_none():
        with pytest.warns():
            pass

    def test_deprecated():
        with pytest.deprecated_call():
            warnings.warn("old", DeprecationWarning)

    def test_recorder(recwarn):
        warnings.warn("recorded")
        assert len(recwarn) == 1
        assert recwarn.pop(UserWarning).filename == __file__

    @pytest.fixture
    def warning_fixture():
        warnings.warn("in setup")

    def test_recorder_and_fixture(recwarn, warning_fixture):
        assert str(recwarn[0].message) == "in setup"

    def test_none_left(recwarn):
        assert not recwarn.list
"""

UNRAISABLE = """
    import gc
    import os
    import threading
    import pytest

    class Broken:
        def __init__(self):
            self.itself = self
        def __del__(self):
            raise ValueError("in del")

    def test_found_in_the_test():
        Broken()
        gc.collect()

    @pytest.fixture
    def broken():
        yield
        made = Broken()
        made.itself = None

    def test_in_teardown(broken):
        pass

    def test_thread():
        def fail():
            raise KeyError("in a thread")
        threads = [threading.Thread(target=fail, name=str(n)) for n in range(3)]
        for thread in threads:
            thread.start()
            thread.join()

    @pytest.fixture
    def thread_in_setup():
        thread = threading.Thread(target=lambda: 1 / 0, name="in setup")
        thread.start()
        thread.join()

    def test_thread_in_setup(thread_in_setup):
        pass

    def test_never_closed():
        open(os.devnull)

    async def coroutine():
        pass

    def test_never_awaited():
        coroutine()

    def test_plain():
        pass
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("-v",),
        ("-W", "error::UserWarning"),
        ("-o", "filterwarnings=ignore\ndefault::UserWarning\nerror::FutureWarning"),
        ("-p", "no:warnings", "-k", "fails"),
    ],
    ids=" ".join,
)
def test_summary(
    pytester: pytest.Pytester, twins: Twins, arguments: tuple[str, ...]
) -> None:
    """
    A warning that many tests give is grouped, counted and shown with its places.
    """
    pytester.makepyfile(MANY)
    # Apart, since warnings that pytest does not catch reach this process.
    twins(*arguments, apart="no:warnings" in arguments)


@pytest.mark.parametrize("source", [EXPECTED, FILTERED], ids=["expected", "filtered"])
def test_within_tests(pytester: pytest.Pytester, twins: Twins, source: str) -> None:
    """
    Marks, filters and recorders of warnings affect their own test and no other.
    """
    pytester.makepyfile(test_filtered=source)
    twins("-rA")


@pytest.mark.parametrize("more", [(), ("-W", "error")], ids=" ".join)
def test_unraisable(
    pytester: pytest.Pytester, twins: Twins, more: tuple[str, ...]
) -> None:
    """
    Errors in finalisers and threads, and unclosed files, are blamed on the same test.
    """
    pytester.makepyfile(UNRAISABLE)
    # Apart, since this process has garbage of its own.
    twins("-W", "always::ResourceWarning", *more, apart=True)


def test_garbage(pytester: pytest.Pytester) -> None:
    """
    An error raised only when a test's garbage is collected is still shown.
    """
    pytester.makepyfile(
        """
        class Broken:
            def __del__(self): raise ValueError("in del")

        def test_error():
            made = Broken()
            made.itself = made

        def test_file():
            made = [open("/dev/null")]
            made.append(made)
        """
    )
    plain, isolated = (
        pytester.runpytest_subprocess(switch, "-Werror", *WITHOUT, timeout=60)
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    plainly, inside = (f"{run.stdout}{run.stderr}" for run in (plain, isolated))
    assert "in del" in plainly
    assert "in del" in inside
    # Since pytest 8.4.
    assert ("unclosed file" in inside) >= ("unclosed file" in plainly)
    assert bool(isolated.ret) >= bool(plain.ret)


def test_garbage_of_a_failed_teardown(pytester: pytest.Pytester) -> None:
    """
    An error of garbage is shown with that of the teardown, and no frame of the plugin.
    """
    pytester.makepyfile(
        """
        import pytest

        class Broken:
            def __del__(self): raise ValueError("in del")

        @pytest.fixture
        def fails():
            yield
            raise OSError("in teardown")

        def test_error(fails):
            made = Broken()
            made.itself = made

        def test_alone():
            made = Broken()
            made.itself = made
        """
    )
    result = pytester.runpytest_subprocess(
        "--nsisolate", "-Werror", "--tb=native", *WITHOUT, timeout=60
    )
    text = f"{result.stdout}{result.stderr}"
    assert "OSError: in teardown" in text
    # Since pytest 8.4 no phase must wait for it.
    assert pytest.version_tuple < (8, 4) or text.count("ValueError: in del") > 1
    assert "pytest_nsisolate" not in text


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the warning is new in 3.12")
def test_fork_with_threads(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Forking pytest while a fixture's thread runs gives no warning.
    """
    pytester.makepyfile(
        """
        import threading
        import pytest

        @pytest.fixture(scope="session")
        def server():
            over = threading.Event()
            thread = threading.Thread(target=over.wait)
            thread.start()
            yield
            over.set()
            thread.join()

        def test_one(server): pass
        def test_two(server): pass
        """
    )
    assert not twins("-W", "error").warnings


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
    Warnings arrive with text, category and place, however odd the category.
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
    Errors in finalisers and threads are warnings, as in a plain run.
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
