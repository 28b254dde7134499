"""
The import of this package: as it is, though pytest rewrites `assert` statements.

pytest does so for all modules of all plugins, to show more of what fails in them. Those
of this package only tell the type checker what is true. And where Python may not write
bytecode, as in many images, pytest would compile all modules again in each session.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
import weakref
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PREFIX = __name__.partition(".")[0] + "."


class _Finder:
    """
    Finds what is in this package as Python itself does.
    """

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if _is_own(name) else None


def _is_own(name: str) -> bool:
    return name.startswith(_PREFIX)


def _is_of_python(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


# Since 2.1 pytest has rewritten modules by a finder that stands first. Public would be:
# an entry point that opts out.
sys.meta_path.insert(0, _Finder)


@atexit.register
def _leave() -> None:
    # What `sys` refers to, Python can only clear piece by piece: it ends 5 ms later.
    with contextlib.suppress(ValueError):
        sys.meta_path.remove(_Finder)


_path = sys.path[:]

#: Python's own modules, by name. To keep them alive would cost 4 ms when Python ends:
#: it then clears one after the other what it could not drop at once.
_modules = {
    name: weakref.ref(module)
    for name, module in sys.modules.copy().items()
    if _is_of_python(name) and isinstance(module, ModuleType)
}


@contextlib.contextmanager
def as_at_the_start() -> Iterator[None]:
    """
    Import what was to be imported when pytest loaded its plugins.

    By now a directory of tests may stand first, with a module ``resource`` of its own,
    and tests may have put something else in the place of a module of Python's.
    """
    path, stand_ins = sys.path[:], _stand_ins()
    sys.path[:] = _path
    for name in stand_ins:
        del sys.modules[name]
        module = _original(name)
        if module is not None:
            sys.modules[name] = module
    # What is imported is not garbage, and to look for some among all that pytest has in
    # memory takes a tenth of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        sys.path[:] = path
        sys.modules.update(stand_ins)


def _stand_ins() -> dict[str, ModuleType]:
    """
    Return what stands in the places of Python's own modules, by their names.
    """
    return {
        name: module
        for name, module in sys.modules.copy().items()
        if _is_of_python(name)
        # Importing a module again makes another one, which is no less true.
        and getattr(module, "__spec__", None) is None
        and (name not in _modules or module is not _original(name))
    }


def _original(name: str) -> ModuleType | None:
    """
    Return Python's own module *name*, if it was there at the start and still is.
    """
    return _modules[name]() if name in _modules else None
