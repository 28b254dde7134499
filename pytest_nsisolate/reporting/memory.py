"""
The memory of hooks: what `pytest_runtest_makereport` keeps, carried to the supervisor.

Plugins and conftest files remember the results of tests there: on the item, its
parents, the session and the configuration, in their stashes, in the module or class of
the test, in a variable of a module of their own, or in the plugin itself. In a guest
all these are copies. A `Memory` notes, in the guest, what one call of the hook changes
there. The supervisor makes the same changes in the originals, before it logs the
report. How the values travel, `terms` says.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import io
import operator
import pathlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias, cast

import pluggy
import pytest

from pytest_nsisolate import integrations
from pytest_nsisolate.compat import hooks, memory
from pytest_nsisolate.guest.messages import Garbled, Kept, short
from pytest_nsisolate.model.errors import Explanation
from pytest_nsisolate.reporting.interaction import warn
from pytest_nsisolate.reporting.terms import (
    ATOMS,
    CONTAINERS,
    DEEPEST,
    MAPPINGS,
    Cells,
    Elsewhere,
    Fields,
    Packer,
    Surroundings,
    Term,
    Uncarried,
    Unpacker,
    Value,
    container_of,
    name_of,
    package_of,
)

_NAME = "pytest_runtest_makereport"

_is = operator.is_

#: Packages whose hooks keep nothing that must come back.
_KNOWN = {"_pytest", "pytest_nsisolate"}

#: How many containers are looked at.
_MOST = 5000

_OWNERS = (pytest.Config, pytest.Item, pytest.Collector)

#: What keeps no results, and what travels as a reference.
_NO_VALUES = (
    *(ModuleType, enum.Enum, BaseException, *_OWNERS),
    *(pytest.TestReport, pytest.ExceptionInfo, pytest.CallInfo),
)
_MACHINERY = {"_pytest", "pluggy", "pytest_nsisolate", "functools", "typing"}

#: Modules of containers that keep what is in them in others, and the classes of these.
_HOLDERS = ("weakref.", "queue.", "multiprocessing.")
_HELD = {dict, set, list, collections.deque}


class _Step(enum.Enum):
    """
    A step of a path that is no key.
    """

    ATTRIBUTES = "attributes"
    CELLS = "cells"
    STASH = "stash"


#: Where something is: a root, and the steps and keys from there.
_Path: TypeAlias = "tuple[Any, ...]"
#: A value, and where it is.
_Found: TypeAlias = "tuple[Value, _Path]"

#: The length of the path of a root's own attributes.
_ROOT = 2

#: The `Memory` of a session whose hooks may keep something.
key = pytest.StashKey["Memory"]()

#: What is known to be lost, so that it is said once.
_said = pytest.StashKey["set[str]"]()


def keepers(config: pytest.Config) -> list[pluggy.HookImpl]:
    """
    Return the implementations of the hook that may keep something.
    """
    return [*filter(_may_keep, hooks.implementations(config, _NAME))]


def _may_keep(impl: pluggy.HookImpl) -> bool:
    package = package_of(impl.function.__module__)
    return package not in _KNOWN and not integrations.serves(package)


def untouched(config: pytest.Config) -> AbstractContextManager[None]:
    """
    Return a context in which those that may keep something do not make reports.
    """
    return hooks.without(config, _NAME, _may_keep)


@dataclasses.dataclass(slots=True, eq=False)
class _Place:
    """
    A container, as it was when it was last looked at.
    """

    path: _Path
    value: Any
    """A mapping, list, deque, set or text in memory, or `Fields` or `Cells`."""
    before: Any
    """A copy: a dict, list, set or str."""
    kind: str = ""
    """The class that it is or belongs to, if that does not travel."""

    def is_changed(self) -> bool:
        """
        Say whether anything in it is another object than before.
        """
        # Called for each of thousands.
        now, before = self.value, self.before
        if type(now) not in CONTAINERS:
            now = _content(now)
        kind = type(before)
        if kind is str:
            return bool(now != before)
        if len(now) != len(before):
            return True
        if kind is set:
            # Its elements may not be comparable.
            return {*map(id, now)} != {*map(id, before)}
        if kind is dict and not all(map(_is, now.values(), before.values())):
            return True
        return not all(map(_is, now, before))


def _content(container: Value) -> Value:
    """
    Return what is in *container*, if possible not as a copy.
    """
    if isinstance(container, Fields | Cells):
        return container.read()
    if isinstance(container, io.StringIO):
        return container.getvalue()
    if type(container) in CONTAINERS:
        return container
    # A subclass may show something else.
    base: Any = container_of(type(container))
    if base in MAPPINGS:
        return dict(base.items(container))
    found = base.__iter__(container)
    return set(found) if base is set else [*found]


class Memory:
    """
    What the hooks of a session can keep something in, and how it was.

    It is made before a fork, so that a guest needs only compare.

    Args:
        config: The configuration of the session.
    """

    def __init__(self, config: pytest.Config) -> None:
        impls = keepers(config)
        #: How often something has come back.
        self.version = 0
        self._config = config
        self._plugins = [*{id(impl.plugin): impl.plugin for impl in impls}.values()]
        self._names = [*dict.fromkeys(map(_name_of, impls))]
        self._modules = [*_modules_of(self._plugins)]
        self._packages = {
            *(package_of(impl.function.__module__) for impl in impls),
            *(package_of(module.__name__) for module in self._modules),
        }
        self._own_keys = memory.own_keys()
        #: By the id of what they are or belong to, and the step to them from there.
        self._places: dict[tuple[int, object], _Place] = {}
        self._around: Surroundings | None = None
        self._is_full = False

    def look(self, item: pytest.Item) -> None:
        """
        Note how everything is, before the hook is called for *item*.
        """
        if self._around is None or item is not self._around.item:
            self._around = self._surroundings(item)
            known = set(map(id, self._around.roots))
            # What belongs to the test before, or its class, is of no use here.
            self._places = {
                where: one
                for where, one in self._places.items()
                if id(one.path[0]) in known
            }
            found: list[_Found] = []
            for root in self._around.roots:
                if isinstance(root, _OWNERS):
                    found += self._add(memory.stash_of(root), (root, _Step.STASH))
                if root is not None:
                    found += self._add(Fields(root), (root, _Step.ATTRIBUTES))
            self._look_into(found)
        for place in [*self._places.values()]:
            if place.is_changed():
                self._look_into([*self._note(place)])

    def changes(
        self, item: pytest.Item, reports: Sequence[pytest.TestReport]
    ) -> tuple[list[Term], list[str]]:
        """
        Return what has changed since the last `look`, and what of it is lost.

        Args:
            item: The test.
            reports: Its reports so far, which may be among what was kept.
        """
        found: list[Term] = []
        lost: list[str] = []
        changed = [one for one in self._places.values() if one.is_changed()]
        if not changed:
            return found, lost
        packer = Packer(self._around or self._surroundings(item), reports)
        for place in changed:
            label = _label(place.path)
            if place.kind:
                lost.append(f"{label} ({place.kind})")
                continue
            try:
                path = [_packed(one, packer) for one in place.path]
                found.append((path, self._difference(place, packer, lost), label))
            except Uncarried as error:
                lost.append(f"{label} ({error})")
            except Exception as error:  # noqa: BLE001 - keys that cannot be compared
                lost.append(f"{label} (value that raises {type(error).__name__})")
        for place in changed:
            if self._look_into([*self._note(place)]) and not self._is_full:
                self._is_full = True
                lost.append(f"what changes later (container after the first {_MOST})")
        return found, lost

    def apply(
        self,
        item: pytest.Item,
        message: Kept,
        reports: dict[int, pytest.TestReport],
        *,
        is_stale: bool = False,
    ) -> None:
        """
        In the supervisor: change what the hook has changed in the guest of *item*.

        Args:
            item: The test.
            message: The changes.
            reports: The reports of the test that have arrived, by number.
            is_stale: Whether other tests have kept something that the guest cannot have
                seen.

        Raises:
            Garbled: They are no changes.
        """
        lost = [*message.lost]
        unpacker = Unpacker(self._surroundings(item), reports)
        try:
            for path, difference, label in cast("list[Any]", message.changes):
                self.version += 1
                try:
                    place = self._found_place(path, unpacker)
                    if is_stale and unpacker.unpack(path[0]) is not item:
                        clash = _clash(place, path, difference, unpacker, label)
                        if clash is not None:
                            self._warn_of_clash(item, clash)
                    self._change(place, difference, unpacker, lost, label)
                except Elsewhere as error:
                    lost.append(f"{label} ({error})")
        except Exception as error:  # noqa: BLE001 - whatever is wrong in there
            text = f"{type(error).__name__}: {error}"
            raise Garbled(f"changes that cannot be read ({short(text)})") from None
        for one in lost:
            self._say(item, one)

    def _warn_of_clash(self, item: pytest.Item, label: str) -> None:
        """
        Say, once in a session, that tests that ran at the same time kept something.
        """
        explanation = Explanation(
            what=f"{label} may be wrong, which pytest_runtest_makereport() of "
            f"{' or '.join(self._names)} has kept",
            why=f"{item.name} ran beside other tests and has changed what it found "
            "there, but another test has kept something since it started",
            fix="run with --nsisolate-jobs=1, or keep in its item what is of one test",
        )
        self._say_once(item, label, explanation)

    def _surroundings(self, item: pytest.Item) -> Surroundings:
        return Surroundings(item, self._plugins, self._modules, self._packages)

    def _say(self, item: pytest.Item, lost: str) -> None:
        """
        Say, once in a session, that something that a hook kept is lost.
        """
        name, _, kind = lost.partition(" (")
        explanation = Explanation(
            what=f"{name} is lost, which pytest_runtest_makereport() of "
            f"{' or '.join(self._names)} has kept",
            why=f"{item.name} ran in a process of its own, and from there no "
            f"{kind.removesuffix(')')} comes back",
            fix="keep values of builtin types there, or bring it back with "
            "pytest_nsisolate_collect() and pytest_nsisolate_hand_over()",
        )
        self._say_once(item, lost, explanation)

    def _say_once(self, item: pytest.Item, what: str, explanation: Explanation) -> None:
        said = self._config.stash.setdefault(_said, set())
        if what not in said:
            said.add(what)
            warn(item, explanation)

    def _look_into(self, found: list[_Found]) -> bool:
        """
        Make places of what was *found* and of what is in it; say if it is too much.

        What is nested less deeply comes first.
        """
        queue = collections.deque(found)
        while queue:
            value, path = queue.popleft()
            kind = type(value)
            if kind in ATOMS or len(path) > DEEPEST:
                continue
            if kind is tuple:
                queue += [(one, (*path, number)) for number, one in enumerate(value)]
            elif len(self._places) >= _MOST:
                return True
            else:
                queue += self._look_at(value, path)
        return False

    def _look_at(self, value: Value, path: _Path) -> Iterator[_Found]:
        """
        Make places of what *value* holds and of its attributes; yield what is in them.
        """
        # isinstance() would ask a proxy what it stands for.
        kind = type(value)
        attributes = (*path, _Step.ATTRIBUTES)
        if issubclass(kind, type | FunctionType):
            if self._is_open(value):
                yield from self._add(Fields(value), attributes)
                if kind is FunctionType:
                    yield from self._add(Cells(value), (*path, _Step.CELLS))
            return
        if issubclass(kind, _NO_VALUES) or package_of(kind.__module__) in _MACHINERY:
            return
        base = io.StringIO if kind is io.StringIO else container_of(kind)
        # Others are looked at to say what is lost.
        strange = "" if kind is base or self._is_open(value) else name_of(kind)
        if base not in {None, tuple, frozenset}:
            yield from self._add(value, path, strange)
        if kind is not base:
            yield from self._add(Fields(value), attributes, strange)

    def _is_open(self, value: Value) -> bool:
        """
        Say whether the attributes of *value* may be changed.
        """
        kind = type(value)
        one = value if issubclass(kind, type | FunctionType) else kind
        return one is SimpleNamespace or package_of(one.__module__) in self._packages

    def _add(self, value: Value, path: _Path, kind: str = "") -> Iterator[_Found]:
        """
        Make a place of *value*, unless there is one, and yield what is in it.
        """
        owner = value.owner if isinstance(value, Fields | Cells) else value
        where = id(owner), path[-1] if isinstance(path[-1], _Step) else None
        if where in self._places:
            return iter(())
        place = self._places[where] = _Place(path, value, None, kind)
        return self._note(place)

    def _note(self, place: _Place) -> Iterator[_Found]:
        """
        Note how *place* is now, and yield what is in it.
        """
        now = _content(place.value)
        if isinstance(now, dict):
            place.before = now = dict(now)
        elif not isinstance(now, str):
            place.before = now = set(now) if isinstance(now, set) else [*now]
        else:
            place.before = now
        if isinstance(now, str | set) or self._is_of_test(place.path):
            return
        for name, part in now.items() if isinstance(now, dict) else enumerate(now):
            if type(part) in ATOMS or self._is_own(place.value, name):
                continue
            if not place.kind:
                yield part, (*place.path, name)
            elif type(part) in _HELD and place.kind.startswith(_HOLDERS):
                yield from self._add(part, (*place.path, name), place.kind)

    def _is_of_test(self, path: _Path) -> bool:
        """
        Say whether *path* leads into a value of the test's module or class.

        Those are looked at themselves, but nothing in them: they may be many.
        """
        around = self._around
        return (
            len(path) > _ROOT
            and around is not None
            and any(path[0] is one for one in around.objects)
        )

    def _is_own(self, container: Value, name: object) -> bool:
        """
        Say whether *name* in *container* is pytest's or Python's own.
        """
        if isinstance(name, pytest.StashKey):
            return id(name) in self._own_keys
        if not isinstance(container, Fields):
            return False
        owner = container.owner
        if isinstance(owner, _OWNERS):
            return name in memory.own_attributes(owner)
        is_code = isinstance(owner, ModuleType | type | FunctionType)
        return is_code and str(name).startswith(("__", "@"))

    def _difference(
        self, place: _Place, packer: Packer, lost: list[str]
    ) -> tuple[Term, ...]:
        """
        Return how *place* differs from how it was.
        """
        now, before = _content(place.value), place.before
        if isinstance(now, set):
            return (
                "set",
                [packer.pack(one, hashed=True) for one in before - now],
                [packer.pack(one, hashed=True) for one in now - before],
            )
        if isinstance(now, str):
            is_more = now.startswith(before)
            return ("more", now[len(before) :]) if is_more else ("all", now)
        if not isinstance(now, dict):
            new, number = [*now], len(before)
            if len(new) >= number and all(map(_is, new, before)):
                return ("more", [packer.pack(one) for one in new[number:]])
            return ("all", [packer.pack(one) for one in new])
        gone, come, order = [], [], []
        left = filter(now.__contains__, before)
        is_ordered = type(place.value) in {dict, collections.OrderedDict}
        if (
            is_ordered
            and place.path[-1] is not _Step.STASH
            and not all(map(_is, left, filter(before.__contains__, now)))
        ):
            order = [packer.pack(name, hashed=True) for name in now]
        for name, value in before.items():
            if name in now or self._is_own(place.value, name):
                continue
            if _is_guarded(place.value, name, value):
                lost.append(f"{_label((*place.path, name))} (deletion of code)")
            else:
                gone.append(_packed(name, packer))
        for name, value in [*now.items()]:
            is_known = name in before and before[name] is value
            if is_known or self._is_own(place.value, name):
                continue
            label = _label((*place.path, name))
            if _is_guarded(place.value, name, before.get(name)):
                lost.append(f"{label} (value in place of code)")
                continue
            try:
                come.append((_packed(name, packer), packer.pack(value)))
            except Uncarried as error:
                lost.append(f"{label} ({error})")
        return ("map", gone, come, order)

    def _found_place(self, path: list[Term], unpacker: Unpacker) -> Value:
        """
        Return the container at *path*, and check that others may change it.

        Raises:
            Elsewhere: It is not there.
        """
        start, *steps = path
        found = unpacker.unpack(start)
        if not any(found is root for root in unpacker.around.roots):
            raise TypeError(start)
        for number, step in enumerate(steps):
            match step:
                case ("step", "attributes"):
                    if number and not self._is_open(found):
                        raise Elsewhere(f"attribute of {name_of(type(found))}")
                    found = Fields(found)
                case ("step", "cells"):
                    if not self._is_open(found):
                        raise Elsewhere("variable of a function")
                    found = Cells(found)
                case ("step", "stash"):
                    found = memory.stash_of(found)
                case _:
                    found = _part(found, unpacker.unpack(step))
        return found

    def _change(
        self,
        place: Value,
        difference: Term,
        unpacker: Unpacker,
        lost: list[str],
        label: str,
    ) -> None:
        """
        Change the container *place*, but none of its methods, functions or classes.
        """
        unpack = unpacker.unpack
        base: Any = io.StringIO if isinstance(place, io.StringIO) else None
        if not isinstance(place, Fields | Cells | io.StringIO):
            base = container_of(type(place))
        match difference:
            case ("map", gone, come, order) if base is None or issubclass(base, dict):
                for term in gone:
                    self._remove(place, unpack(term))
                for term, value in come:
                    try:
                        self._write(place, unpack(term), unpack(value))
                    except Elsewhere as error:  # noqa: PERF203 - each can be
                        lost.append(f"{label} ({error})")
                for name in map(unpack, order):
                    if name in place:
                        base.__setitem__(place, name, base.pop(place, name))
            case ("set", gone, come) if base is set:
                set.difference_update(place, map(unpack, gone))
                set.update(place, map(unpack, come))
            case ("more", str(text)) if base is io.StringIO:
                place.seek(0, io.SEEK_END)
                place.write(text)
            case ("all", str(text)) if base is io.StringIO:
                place.seek(0)
                place.truncate()
                place.write(text)
            case ("more", parts) if base in {list, collections.deque}:
                base.extend(place, [unpack(one) for one in parts])
            case ("all", parts) if base in {list, collections.deque}:
                values = [unpack(one) for one in parts]
                base.clear(place)
                base.extend(place, values)
            case _:
                raise TypeError(difference)

    def _check(self, place: Value, name: object) -> None:
        """
        Check that others may change what *place* has under *name*.
        """
        if isinstance(place, Fields | Cells) and type(name) is not str:
            raise TypeError(name)
        if self._is_own(place, name):
            raise ValueError(name)
        if _is_guarded(place, name, _content(place).get(name)):
            raise Elsewhere("value in place of code")

    def _write(self, place: Value, name: Value, value: Value) -> None:
        self._check(place, name)
        if isinstance(place, Fields | Cells):
            place.write(name, value)
        else:
            base: Any = container_of(type(place))
            base.__setitem__(place, name, value)

    def _remove(self, place: Value, name: Value) -> None:
        self._check(place, name)
        if name not in _content(place):
            return
        if isinstance(place, Fields | Cells):
            place.remove(name)
        else:
            base: Any = container_of(type(place))
            base.__delitem__(place, name)


def _clash(
    place: Value, path: list[Term], difference: Term, unpacker: Unpacker, label: str
) -> str | None:
    """
    Return the label of what a stale change of *place* may spoil; None if nothing.

    What only adds something cannot. What is below a place in a list may be below
    another by now.
    """
    is_clash = any(type(one) is int for one in path)
    match difference:
        case ("more", _):
            pass
        case ("set", gone, _):
            is_clash |= bool(gone)
        case ("map", gone, come, order):
            now = _content(place)
            names = [unpacker.unpack(term) for term, _ in come]
            known = [name for name in names if name in now]
            is_clash |= bool(gone or order or known)
            if known and isinstance(place, Fields | Cells):
                label = f"{label}.{known[0]}"
        case _:
            is_clash = True
    return label if is_clash else None


def _is_guarded(container: Value, name: Value, value: Value) -> bool:
    """
    Say whether *value*, which is under *name* in *container*, is code, and stays.
    """
    if isinstance(container, Fields):
        kind = type(container.owner)
        if callable(getattr(kind, name, None)):
            return True
    if isinstance(value, type):
        # The type of an exception is a result, and so is one in a dict.
        is_variable = isinstance(container, Fields | Cells)
        return is_variable and not issubclass(value, BaseException)
    return callable(value) or isinstance(value, property | staticmethod | classmethod)


def _packed(name: Value, packer: Packer) -> Term:
    """
    Return the term of a step, a key or a root.
    """
    if isinstance(name, _Step):
        return ("step", name.value)
    return packer.pack(name, hashed=True)


def _part(container: Value, name: Value) -> Value:
    """
    Return what is in *container* under *name*.

    Raises:
        Elsewhere: It is not there.
    """
    if isinstance(container, Fields | Cells):
        found = container.read()
    else:
        base: Any = container_of(type(container))
        if base is None or issubclass(base, set | frozenset):
            raise Elsewhere(name_of(type(container)))
        found = dict(base.items(container)) if issubclass(base, dict) else container
    try:
        return found[name]
    except LookupError:
        raise Elsewhere(f"{short(name)} where nothing is outside") from None


def _label(path: _Path) -> str:
    """
    Return *path* as one would write it, without keys: a warning for each is too many.
    """
    root, *steps = path
    kind = type(root)
    is_named = issubclass(kind, ModuleType | type)
    text = (root.__name__ if is_named else kind.__name__).rpartition(".")[2]
    before = None
    for step in steps:
        if step is _Step.STASH:
            text += ".stash"
        elif before is _Step.ATTRIBUTES:
            text += f".{step}"
        elif not isinstance(step, _Step) and not text.endswith("[...]"):
            text += "[...]"
        before = step
    return text


def _name_of(impl: pluggy.HookImpl) -> str:
    file: str = getattr(impl.plugin, "__file__", None) or ""
    if file.endswith("conftest.py"):
        return "conftest.py"
    return impl.plugin_name


def _modules_of(plugins: Sequence[object]) -> Iterator[ModuleType]:
    """
    Yield the modules of *plugins*, and those near them that they use.
    """
    found: dict[str, ModuleType] = {}
    for plugin in plugins:
        module = _module_of(plugin)
        if module is not None:
            found.setdefault(module.__name__, module)
            for value in [*vars(module).values()]:
                other = _module_of(value)
                if other is not None and _is_near(other, module):
                    found.setdefault(other.__name__, other)
    yield from found.values()


def _module_of(value: Value) -> ModuleType | None:
    """
    Return *value* if it is a module, and else the module of its class or function.
    """
    kind = type(value)
    if issubclass(kind, ModuleType):
        return cast("ModuleType", value)
    one = value if issubclass(kind, type | FunctionType) else kind
    return sys.modules.get(one.__module__)


def _is_near(other: ModuleType, module: ModuleType) -> bool:
    """
    Say whether *other* is of the same package, or in the same project near *module*.
    """
    if package_of(other.__name__) == package_of(module.__name__):
        return True
    here, there = module.__file__, getattr(other, "__file__", None)
    if not here or not there:
        return False
    folder = pathlib.Path(here).parent
    # Where packages are installed, many are side by side.
    are_installed = any(
        name.endswith("-packages") for name in pathlib.Path(there).parts
    )
    return pathlib.Path(there).is_relative_to(folder) and not are_installed
