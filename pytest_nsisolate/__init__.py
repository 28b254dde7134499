"""
Run marked tests in IPC, UTS and PID namespaces of their own.

The pytest plugin is `pytest_nsisolate.plugin`, entry point ``nsisolate``. This module
has the names that users import, and loads each one on first use. It imports nothing
itself, because the launcher, a bare interpreter, imports it too. Source: PEP 562.
"""

__version__ = "1.0.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

    from pytest_nsisolate.box.box import Box
    from pytest_nsisolate.box.explanations import DidNotFinish
    from pytest_nsisolate.box.link import Link
    from pytest_nsisolate.box.pickled import CannotCarry, RemoteTraceback
    from pytest_nsisolate.model.ending import (
        Ending,
        Exited,
        Finished,
        Killed,
        NeverStarted,
        TimedOut,
        Usage,
    )
    from pytest_nsisolate.model.errors import (
        BoxError,
        Explanation,
        HookWarning,
        JobsWarning,
        LeakWarning,
        LeftBehind,
        NsIsolateError,
        Refused,
        ReprWarning,
        SpecError,
    )
    from pytest_nsisolate.model.spec import Spec
    from pytest_nsisolate.runner.sandbox_factory import SandboxFactory
    from pytest_nsisolate.sandbox.ipc import Ipc
    from pytest_nsisolate.sandbox.leaks import Leak
    from pytest_nsisolate.settings.isolation import Isolation

__all__ = [
    "Box",
    "BoxError",
    "CannotCarry",
    "DidNotFinish",
    "Ending",
    "Exited",
    "Explanation",
    "Finished",
    "HookWarning",
    "Ipc",
    "Isolation",
    "JobsWarning",
    "Killed",
    "Leak",
    "LeakWarning",
    "LeftBehind",
    "Link",
    "NeverStarted",
    "NsIsolateError",
    "Refused",
    "RemoteTraceback",
    "ReprWarning",
    "SandboxFactory",
    "Spec",
    "SpecError",
    "TimedOut",
    "Usage",
]

#: The module that defines each name.
_HOMES = {
    "Box": "box.box",
    "BoxError": "model.errors",
    "CannotCarry": "box.pickled",
    "DidNotFinish": "box.explanations",
    "Ending": "model.ending",
    "Exited": "model.ending",
    "Explanation": "model.errors",
    "Finished": "model.ending",
    "HookWarning": "model.errors",
    "Ipc": "sandbox.ipc",
    "Isolation": "settings.isolation",
    "JobsWarning": "model.errors",
    "Killed": "model.ending",
    "Leak": "sandbox.leaks",
    "LeakWarning": "model.errors",
    "LeftBehind": "model.errors",
    "Link": "box.link",
    "NeverStarted": "model.ending",
    "NsIsolateError": "model.errors",
    "Refused": "model.errors",
    "RemoteTraceback": "box.pickled",
    "ReprWarning": "model.errors",
    "SandboxFactory": "runner.sandbox_factory",
    "Spec": "model.spec",
    "SpecError": "model.errors",
    "TimedOut": "model.ending",
    "Usage": "model.ending",
}


def __getattr__(name: str) -> object:
    """
    Load *name*, one of `__all__`, from the module that defines it.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        # Python's own words.
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg, name=name)
    module = __import__(f"{__name__}.{_HOMES[name]}", fromlist=[name])
    globals()[name] = found = getattr(module, name)
    return found


def pytest_addoption(pluginmanager: "pytest.PytestPluginManager") -> None:
    """
    Load the plugin if this module was named instead, as in ``-p pytest_nsisolate``.

    Otherwise tests with the marker would run on the host.
    """
    pluginmanager.import_plugin("nsisolate", consider_entry_points=True)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
