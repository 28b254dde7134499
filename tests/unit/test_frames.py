"""
Tracebacks: which frames of the package are taken out of them.
"""

from __future__ import annotations

import textwrap
import traceback
from typing import Any

import pluggy
import pytest

from pytest_nsisolate.model import frames

#: Functions whose frames are as those of a module of the package.
OWN = """
    import pluggy

    hookimpl = pluggy.HookimplMarker("it")

    class Wrapper:
        @hookimpl(wrapper=True, tryfirst=True)
        def call(self):
            return (yield)

    def run(function):
        function()

    def run_hidden(function):
        __tracebackhide__ = True
        function()

    def fail_hidden():
        __tracebackhide__ = True
        raise OSError
"""


def own_functions() -> dict[str, Any]:
    """
    Return the functions of `OWN` by name.
    """
    found: dict[str, Any] = {"__name__": "pytest_nsisolate.some_module"}
    exec(textwrap.dedent(OWN), found)  # noqa: S102 - the text is above
    return found


class Plugin:
    """
    A plugin that is not of the package.
    """

    @pluggy.HookimplMarker("it")
    def call(self) -> None:
        """
        Fail.
        """
        fail()


def fail() -> None:
    """
    Raise an error.
    """
    raise OSError


def manager_with(*plugins: object) -> pluggy.PluginManager:
    """
    Return a manager of *plugins*.
    """
    manager = pluggy.PluginManager("it")

    class Specification:
        """
        The hook.
        """

        @pluggy.HookspecMarker("it")
        def call(self) -> None:
            """
            Be called.
            """

    manager.add_hookspecs(Specification)
    for plugin in plugins:
        manager.register(plugin)
    return manager


def names(error: BaseException) -> list[tuple[str, int | None]]:
    """
    Return the functions and lines in the traceback of *error*.
    """
    return [(one.name, one.lineno) for one in traceback.extract_tb(error.__traceback__)]


def failed(call: Any) -> BaseException:
    """
    Return what *call* raises.
    """
    with pytest.raises(OSError) as caught:  # noqa: PT011 - it has no text
        call()
    return caught.value


def test_a_wrapper() -> None:
    """
    A wrapper and what pluggy does to throw the error into it are taken out.
    """
    wrapper = own_functions()["Wrapper"]()
    plain, wrapped = (
        failed(manager_with(Plugin(), *more).hook.call) for more in ([], [wrapper])
    )
    assert len(names(wrapped)) == len(names(plain)) + 2

    assert frames.cut_callers(wrapped)

    assert names(wrapped) == names(plain)
    assert not frames.cut_callers(wrapped)


def test_a_call_of_a_hook() -> None:
    """
    A function that has called a hook is taken out; the one that has raised stays.
    """
    own = own_functions()
    hook = manager_with(Plugin()).hook
    assert "run" in dict(names(failed(lambda: own["run"](hook.call))))

    error = failed(lambda: own["run"](hook.call))
    frames.cut_callers(error)
    assert "run" not in dict(names(error))
    assert names(error)[-1][0] == "fail"

    error = failed(lambda: own["run"](fail))
    assert not frames.cut_callers(error)
    assert "run" in dict(names(error))

    error = failed(own["fail_hidden"])
    assert not frames.cut_callers(error)


def test_what_is_hidden() -> None:
    """
    A hidden function is taken out above others; on request, wherever it is.
    """
    own = own_functions()
    error = failed(lambda: own["run_hidden"](fail))
    frames.cut_callers(error)
    assert "run_hidden" not in dict(names(error))

    error = failed(lambda: own["run"](own["fail_hidden"]))
    frames.cut_hidden(error)
    assert names(error)[-1][0] == "run"

    error = failed(own["fail_hidden"])
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    frames.cut_hidden(error)
    assert error.__traceback__ is None


def test_an_interrupt() -> None:
    """
    All callers are taken out, but not a function that has raised the error.
    """
    own = own_functions()
    error = failed(lambda: own["run"](fail))
    frames.cut_all_callers(error)
    assert "run" not in dict(names(error))

    error = failed(lambda: own["run"](own["fail_hidden"]))
    frames.cut_all_callers(error)
    assert names(error)[-1][0] == "fail_hidden"


def test_the_cause() -> None:
    """
    The frames are taken out of an error that another one came from, too.
    """
    hook = manager_with(Plugin(), own_functions()["Wrapper"]()).hook
    first = failed(hook.call)
    second = ValueError()
    second.__cause__ = first

    assert frames.cut_callers(second)

    assert not frames.cut_callers(first)
