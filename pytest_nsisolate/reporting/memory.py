"""
The memory of hooks: what `pytest_runtest_makereport` keeps, carried to the supervisor.

Plugins and conftest files remember the results of tests there: on the item, its
parents, the session and the configuration, in their stashes, in a variable of the
module, or in the plugin itself. In a guest all these are copies. A `Memory` notes, in
the guest, what one call of the hook changes there. The supervisor makes the same
changes in the originals, before it logs the report.

Carried are values of builtin types, reports, exceptions, nodes and instances of simple
classes of the plugin itself. Neither making them nor keeping them runs code of a guest,
or a method of such a class.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import datetime as dt
import enum
import io
import operator
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import FunctionType, ModuleType, NoneType
from typing import Any, TypeAlias, cast

import pluggy
import pytest

from pytest_nsisolate import integrations
from pytest_nsisolate.compat import hooks, memory
from pytest_nsisolate.guest.messages import Garbled, Kept, short
from pytest_nsisolate.model.errors import Explanation, HookWarning
from pytest_nsisolate.reporting.exceptions import describe, find_class, revive

_NAME = "pytest_runtest_makereport"

#: Packages whose hooks keep nothing that must come back.
_KNOWN = {"_pytest", "pytest_nsisolate"}

_ATOMS = frozenset({NoneType, bool, int, float, complex, str, bytes})

#: How many containers are looked at, and how deeply.
_MOST = 5000
_DEEPEST = 40

#: The containers that are looked into, by the tag under which new ones travel.
_MAPPINGS: dict[type, str] = {
    dict: "dict",
    collections.OrderedDict: "ordered",
    collections.Counter: "counter",
    collections.defaultdict: "default",
}
_SEQUENCES: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    collections.deque: "deque",
}
_MAKERS: dict[str, Callable[..., Any]] = {
    tag: kind for kind, tag in (_MAPPINGS | _SEQUENCES).items()
}
_FACTORIES = {kind.__name__: kind for kind in (dict, list, set, int, float, str, tuple)}

_OWNERS = (pytest.Config, pytest.Item, pytest.Collector)

#: Sequences that can change.
_CHANGING = {list, set, collections.deque, io.StringIO}

#: What keeps no results, and what travels as a reference.
_NO_VALUES = (
    *(type, ModuleType, FunctionType, enum.Enum, BaseException, *_OWNERS),
    *(pytest.TestReport, pytest.ExceptionInfo, pytest.CallInfo),
)
_MACHINERY = {"_pytest", "pluggy", "pytest_nsisolate", "functools", "typing"}

_PATHS = (pathlib.PurePosixPath, pathlib.PosixPath, pathlib.PureWindowsPath)
_PATHLIB = {one.__module__ for one in _PATHS}

#: A value as it travels: an atom, or a tuple that begins with a tag.
_Term: TypeAlias = Any

#: Where something is: the root, whether it is in its attributes or its stash, and the
#: keys from there. Attributes of an object come after `_ATTRIBUTES`.
_Path: TypeAlias = "tuple[Any, ...]"
_ATTRIBUTES, _STASH = object(), object()
#: The length of a path without keys.
_ROOT = 2


class _Uncarried(Exception):
    """
    A value cannot travel; the argument says what it is.
    """


class _Elsewhere(Exception):
    """
    What a guest has changed is not where it was.
    """


#: The `Memory` of a session whose hooks may keep something.
key = pytest.StashKey["Memory"]()


def keepers(config: pytest.Config) -> list[pluggy.HookImpl]:
    """
    Return the implementations of the hook that may keep something.
    """
    return [*filter(_may_keep, hooks.implementations(config, _NAME))]


def _may_keep(impl: pluggy.HookImpl) -> bool:
    package = _package(impl.function.__module__)
    return package not in _KNOWN and not integrations.serves(package)


def untouched(config: pytest.Config) -> AbstractContextManager[None]:
    """
    Return a context in which those that may keep something do not make reports.
    """
    return hooks.without(config, _NAME, _may_keep)


def _package(module: str) -> str:
    return module.partition(".")[0]


@dataclasses.dataclass(slots=True, eq=False)
class _Place:
    """
    A container, as it was when it was last looked at.
    """

    path: _Path
    value: Any
    """A mapping, list, deque, set or text in memory, or the attributes of an object."""
    before: Any
    """A shallow copy."""
    kind: str = ""
    """The class of the object whose attributes it is, if that does not travel."""

    def is_changed(self) -> bool:
        """
        Say whether anything in it is another object than before.
        """
        now, before = self.value, self.before
        if isinstance(now, io.StringIO):
            return bool(now.getvalue() != before)
        if len(now) != len(before):
            return True
        if isinstance(now, set):
            return bool(now != before)
        if not all(map(operator.is_, now, before)):
            return True
        return isinstance(now, dict) and not all(
            map(operator.is_, now.values(), before.values())
        )


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
        self._names = [_name_of(impl) for impl in impls]
        self._packages = {_package(impl.function.__module__) for impl in impls}
        self._own_keys = memory.own_keys()
        #: By id of the container.
        self._places: dict[int, _Place] = {}
        self._item: pytest.Item | None = None
        #: What is known to be lost, so that it is said once.
        self._said: set[str] = set()

    def look(self, item: pytest.Item) -> None:
        """
        Note how everything is, before the hook is called for *item*.
        """
        if item is not self._item:
            self._item = item
            roots = [*item.listchain(), self._config, *self._plugins]
            # What belongs to the test before, or its class, is of no use here.
            known = {id(root) for root in roots}
            self._places = {
                number: one
                for number, one in self._places.items()
                if id(one.path[0]) in known
            }
            for root in roots:
                if hasattr(root, "__dict__"):
                    self._add(vars(root), (root, _ATTRIBUTES))
                if isinstance(root, _OWNERS):
                    self._add(memory.stash_of(root), (root, _STASH))
        for place in [*self._places.values()]:
            if place.is_changed():
                self._renew(place)

    def changes(
        self, item: pytest.Item, reports: Sequence[pytest.TestReport]
    ) -> tuple[list[_Term], list[str]]:
        """
        Return what has changed since the last `look`, and what of it is lost.

        Args:
            item: The test.
            reports: Its reports so far, which may be among what was kept.
        """
        found: list[_Term] = []
        lost: list[str] = []
        for place in [*self._places.values()]:
            if not place.is_changed():
                continue
            packer = _Packer(item, reports, self._packages)
            if place.kind:
                lost.append(f"{self._label(place.path)} ({place.kind})")
                self._renew(place)
                continue
            try:
                path = self._packed_path(place.path, packer)
                found.append((path, self._difference(place, packer, lost)))
            except _Uncarried as error:
                lost.append(f"{self._label(place.path)} ({error})")
            self._renew(place)
        return found, lost

    def apply(
        self,
        item: pytest.Item,
        message: Kept,
        reports: dict[int, pytest.TestReport],
    ) -> None:
        """
        In the supervisor: change what the hook has changed in the guest of *item*.

        Args:
            item: The test.
            message: The changes.
            reports: The reports of the test that have arrived, by number.

        Raises:
            Garbled: They are no changes.
        """
        lost = [*message.lost]
        try:
            for path, difference in cast("list[Any]", message.changes):
                unpacker = _Unpacker(item, reports, self._packages, self._plugins)
                try:
                    place = self._found_place(path, unpacker)
                except _Elsewhere:
                    lost.append(f"{short(path)} (it is another one by now)")
                    continue
                _make_changes(place, difference, unpacker)
                self.version += 1
        except Exception as error:  # noqa: BLE001 - whatever is wrong in there
            text = f"{type(error).__name__}: {error}"
            raise Garbled(f"changes that cannot be read ({short(text)})") from None
        for one in lost:
            self._say(item, one)

    def _say(self, item: pytest.Item, lost: str) -> None:
        """
        Say, once in a session, that something that a hook kept is lost.
        """
        if lost in self._said:
            return
        self._said.add(lost)
        name, _, kind = lost.partition(" (")
        explanation = Explanation(
            what=f"{name} is lost, which pytest_runtest_makereport() of "
            f"{' or '.join(dict.fromkeys(self._names))} has kept",
            why=f"{item.name} ran in a process of its own, and from there no "
            f"{kind.removesuffix(')')} comes back",
            fix="keep values of builtin types there, or bring it back with "
            "pytest_nsisolate_collect() and pytest_nsisolate_hand_over()",
        )
        filename, line, _ = item.reportinfo()
        warning = HookWarning(str(explanation))
        warnings.showwarning(warning, HookWarning, str(filename), (line or 0) + 1)

    def _add(self, value: Any, path: _Path) -> None:  # noqa: ANN401 - anything
        """
        Look into *value*, and what is in it.
        """
        kind = type(value)
        if kind in _ATOMS or id(value) in self._places or len(path) > _DEEPEST:
            return
        if kind is tuple:
            for number, part in enumerate(value):
                self._add(part, (*path, number))
            return
        strange = ""
        if kind in _MAPPINGS or kind in _CHANGING:
            container = value
        elif is_simple(kind, self._packages):
            container, path = vars(value), (*path, _ATTRIBUTES)
        elif not isinstance(value, _NO_VALUES) and hasattr(value, "__dict__"):
            # Looked at, to say that it is lost.
            container, path = vars(value), (*path, _ATTRIBUTES)
            strange = _full_name(kind)
            if _package(kind.__module__) in _MACHINERY:
                return
        else:
            return
        if len(self._places) < _MOST:
            place = _Place(path, container, None, strange)
            self._places[id(container)] = place
            self._renew(place)

    def _renew(self, place: _Place) -> None:
        """
        Note how *place* is now, and look into what is new in it.
        """
        value, path = place.value, place.path
        if isinstance(value, dict):
            place.before = dict(value)
            if place.kind:
                return
            for name, part in place.before.items():
                if type(part) not in _ATOMS and not self._is_own(path, name):
                    self._add(part, (*path, name))
        elif isinstance(value, set):
            place.before = set(value)
        elif isinstance(value, io.StringIO):
            place.before = value.getvalue()
        else:
            place.before = list(value)
            for number, part in enumerate(place.before):
                if type(part) not in _ATOMS:
                    self._add(part, (*path, number))

    def _is_own(self, path: _Path, name: object) -> bool:
        """
        Say whether *name* in what is at *path* is pytest's or Python's own.
        """
        if len(path) != _ROOT:
            return False
        root, part = path
        if part is _STASH:
            return id(name) in self._own_keys
        if isinstance(root, ModuleType):
            return str(name).startswith(("__", "@"))
        return isinstance(root, _OWNERS) and name in memory.own_attributes(root)

    def _difference(
        self, place: _Place, packer: _Packer, lost: list[str]
    ) -> tuple[_Term, ...]:
        """
        Return how *place* differs from how it was.
        """
        now, before = place.value, place.before
        if isinstance(now, set):
            return (
                "set",
                [packer.pack(one) for one in before - now],
                [packer.pack(one) for one in now - before],
            )
        if isinstance(now, io.StringIO):
            text = now.getvalue()
            if text.startswith(before):
                return ("more", text[len(before) :])
            return ("all", text)
        if not isinstance(now, dict):
            new, number = [*now], len(before)
            if len(new) >= number and all(map(operator.is_, new, before)):
                return ("more", [packer.pack(one) for one in new[number:]])
            return ("all", [packer.pack(one) for one in new])
        gone = [
            self._packed_key(name, packer)
            for name in before
            if name not in now and not self._is_own(place.path, name)
        ]
        come = []
        for name, value in [*now.items()]:
            is_known = name in before and before[name] is value
            if is_known or self._is_own(place.path, name):
                continue
            try:
                come.append((self._packed_key(name, packer), packer.pack(value)))
            except _Uncarried as error:
                lost.append(f"{self._label((*place.path, name))} ({error})")
        return ("map", gone, come)

    def _packed_path(self, path: _Path, packer: _Packer) -> list[_Term]:
        root, *steps = path
        chain = packer.item.listchain()
        if root is self._config:
            start: _Term = "config"
        elif isinstance(root, pytest.Item | pytest.Collector):
            start = ("node", chain.index(root))
        else:
            start = ("plugin", next(_indices(self._plugins, root)))
        return [start, *(self._packed_key(one, packer) for one in steps)]

    def _packed_key(self, name: Any, packer: _Packer) -> _Term:  # noqa: ANN401
        if name is _ATTRIBUTES:
            return ("attributes",)
        if name is _STASH:
            return ("stash",)
        if isinstance(name, pytest.StashKey):
            for number, plugin in enumerate(self._plugins):
                for path, value in _variables(plugin):
                    if value is name:
                        return ("key", number, path)
            raise _Uncarried("pytest.StashKey that is in no variable of the module")
        return packer.pack(name)

    def _found_place(self, path: list[_Term], unpacker: _Unpacker) -> Any:  # noqa: ANN401
        """
        Return the container at *path*, and check that others may change it.

        Raises:
            _Elsewhere: It is not there.
        """
        start, *steps = path
        if start == "config":
            found: Any = self._config
        elif start[0] == "node":
            found = unpacker.item.listchain()[start[1]]
        else:
            found = self._plugins[start[1]]
        root = found
        for number, step in enumerate(steps):
            if step == ("attributes",):
                if number and not is_simple(type(found), self._packages):
                    raise _Elsewhere
                unpacker.owner = found
                found = vars(found)
            elif step == ("stash",):
                found = memory.stash_of(found)
            else:
                name = unpacker.unpack(step)
                unpacker.owner = None
                try:
                    found = _step(found, name)
                except LookupError:
                    raise _Elsewhere from None
        if len(steps) == 1:
            unpacker.is_own = lambda name: self._is_own(
                (root, _STASH if steps[0] == ("stash",) else _ATTRIBUTES), name
            )
        return found

    def _label(self, path: _Path) -> str:
        """
        Return *path* as one would write it.
        """
        root, _, *steps = path
        if isinstance(root, ModuleType):
            text = root.__name__.rpartition(".")[2]
        else:
            text = type(root).__name__
        for step in steps:
            if step is _ATTRIBUTES:
                continue
            if isinstance(step, str) and step.isidentifier():
                text += f".{step}"
            elif isinstance(step, pytest.StashKey):
                text += ".stash"
            else:
                text += f"[{short(step)}]"
        return text


def _step(container: Any, name: Any) -> Any:  # noqa: ANN401 - anything
    """
    Return what is in *container* under *name*.
    """
    kinds = (*_MAPPINGS, list, tuple, collections.deque)
    if type(container) not in kinds:
        raise LookupError(name)
    if isinstance(container, dict):
        return dict.__getitem__(container, name)
    return container[name]


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name_of(impl: pluggy.HookImpl) -> str:
    file: str = getattr(impl.plugin, "__file__", None) or ""
    if file.endswith("conftest.py"):
        return "conftest.py"
    return impl.plugin_name


def _indices(values: Sequence[object], wanted: object) -> Iterator[int]:
    return (number for number, one in enumerate(values) if one is wanted)


def _variables(plugin: object) -> Iterator[tuple[str, object]]:
    """
    Yield the variables of the module of *plugin*, and of the classes in it.
    """
    module = plugin
    if not isinstance(plugin, ModuleType):
        module = sys.modules.get(type(plugin).__module__, plugin)
    for name, value in [*vars(module).items()]:
        yield name, value
        if isinstance(value, type) and value.__module__ == vars(module).get("__name__"):
            for inner, one in [*vars(value).items()]:
                yield f"{name}.{inner}", one


def is_simple(kind: type, packages: set[str]) -> bool:
    """
    Say whether instances of *kind*, of one of *packages*, are their attributes alone.
    """
    return (
        _package(kind.__module__) in packages
        and type(kind) in {type, abc.ABCMeta}
        and getattr(kind, "__new__", None) is object.__new__
        and hasattr(kind, "__dict__")
        and not hasattr(kind, "__del__")
        and not any("__slots__" in vars(one) for one in kind.__mro__)
    )


class _Packer:
    """
    Makes terms of the values that one hook has kept.

    Args:
        item: The test.
        reports: Its reports so far.
        packages: The packages whose simple classes travel.
    """

    def __init__(
        self,
        item: pytest.Item,
        reports: Sequence[pytest.TestReport],
        packages: set[str],
    ) -> None:
        self.item = item
        self._reports = reports
        self._packages = packages
        #: By id, the number of each container, and the container, to keep it alive.
        self._numbers: dict[int, tuple[int, object]] = {}

    def pack(self, value: Any, depth: int = 0) -> _Term:  # noqa: ANN401 - anything
        """
        Return *value* as a term.

        Raises:
            _Uncarried: It cannot travel.
        """
        kind = type(value)
        if kind in _ATOMS:
            return value
        if id(value) in self._numbers:
            return ("again", self._numbers[id(value)][0])
        if depth > _DEEPEST:
            raise _Uncarried("value that is nested so deeply")
        if kind in _SEQUENCES:
            parts = self._begin(value)
            return (
                _SEQUENCES[kind],
                parts,
                [self.pack(one, depth + 1) for one in value],
            )
        if kind in _MAPPINGS:
            number, factory = self._begin(value), None
            if kind is collections.defaultdict and value.default_factory is not None:
                factory = value.default_factory.__name__
                if _FACTORIES.get(factory) is not value.default_factory:
                    raise _Uncarried(
                        "collections.defaultdict with a factory of its own"
                    )
            return (_MAPPINGS[kind], number, self._pairs(value, depth), factory)
        for tag, found in (
            ("report", _indices(self._reports, value)),
            ("node", _indices(self.item.listchain(), value)),
        ):
            for number in found:
                return (tag, number)
        if isinstance(value, pytest.Item):
            for number in _indices(self.item.session.items, value):
                return ("item", number)
        if value is self.item.config:
            return ("config",)
        if isinstance(value, pytest.ExceptionInfo):
            return ("info", describe(value.value))
        if isinstance(value, BaseException):
            return ("error", describe(value))
        if isinstance(value, enum.Enum):
            return ("enum", kind.__module__, kind.__qualname__, value.name)
        if isinstance(value, pathlib.PurePath) and kind.__module__ in _PATHLIB:
            return ("path", kind.__name__, str(value))
        if kind in {dt.datetime, dt.date}:
            return (kind.__name__, value.isoformat())
        if isinstance(value, type):
            return ("class", value.__module__, value.__qualname__)
        if is_simple(kind, self._packages):
            number = self._begin(value)
            pairs = self._pairs(vars(value), depth)
            return ("object", number, pairs, kind.__module__, kind.__qualname__)
        raise _Uncarried(_full_name(kind))

    def _begin(self, value: object) -> int:
        number = len(self._numbers)
        self._numbers[id(value)] = number, value
        return number

    def _pairs(self, value: dict[Any, Any], depth: int) -> list[_Term]:
        return [
            (self.pack(name, depth + 1), self.pack(one, depth + 1))
            for name, one in value.items()
        ]


class _Unpacker:
    """
    Makes values of terms, in the supervisor.

    Args:
        item: The test.
        reports: Its reports that have arrived, by number.
        packages: The packages whose simple classes travel.
        plugins: The plugins that may have kept something.
    """

    def __init__(
        self,
        item: pytest.Item,
        reports: dict[int, pytest.TestReport],
        packages: set[str],
        plugins: Sequence[object],
    ) -> None:
        self.item = item
        #: What the attributes to be changed belong to, if it is attributes.
        self.owner: object = None
        #: Says of an attribute or key whether it is pytest's own.
        self.is_own: Callable[[object], bool] = lambda _: False
        self._reports = reports
        self._packages = packages
        self._plugins = plugins
        self._made: dict[int, Any] = {}

    def unpack(self, term: _Term) -> Any:  # noqa: ANN401 - anything
        """
        Return the value that *term* stands for.

        Raises:
            Exception: It stands for none.
        """
        if type(term) in _ATOMS:
            return term
        match term:
            case ("again", number):
                return self._made[number]
            case ("tuple" | "frozenset" as tag, number, parts):
                made = _MAKERS[tag](map(self.unpack, parts))
                self._made[number] = made
                return made
            case ("list" | "set" | "deque" as tag, number, parts):
                made = self._made[number] = _MAKERS[tag]()
                values = [self.unpack(one) for one in parts]
                made.update(values) if tag == "set" else made.extend(values)
                return made
            case ("dict" | "ordered" | "counter" as tag, number, pairs, None):
                made = self._made[number] = _MAKERS[tag]()
                return self._filled(made, pairs)
            case ("default", number, pairs, name):
                factory = None if name is None else _FACTORIES[name]
                made = self._made[number] = collections.defaultdict(factory)
                return self._filled(made, pairs)
            case ("report", number):
                return self._reports[number]
            case ("node", number):
                return self.item.listchain()[number]
            case ("item", number):
                return self.item.session.items[number]
            case ("config",):
                return self.item.config
            case ("info", described):
                return pytest.ExceptionInfo.from_exc_info(_exc_info(revive(described)))
            case ("error", described):
                return revive(described)
            case ("enum", module, name, member):
                return self._class(module, name, enum.Enum).__members__[member]
            case ("path", name, text):
                return {one.__name__: one for one in _PATHS}[name](text)
            case ("datetime", text):
                return dt.datetime.fromisoformat(text)
            case ("date", text):
                return dt.date.fromisoformat(text)
            case ("class", module, name):
                return self._class(module, name, object)
            case ("object", number, pairs, module, name):
                kind = self._class(module, name, object)
                if not is_simple(kind, self._packages):
                    raise TypeError(name)
                made = self._made[number] = object.__new__(kind)
                self._filled(vars(made), pairs)
                return made
            case ("key", number, name):
                return dict(_variables(self._plugins[number]))[name]
        raise TypeError(term)

    def _filled(self, made: dict[Any, Any], pairs: _Term) -> dict[Any, Any]:
        for name, one in pairs:
            made[self.unpack(name)] = self.unpack(one)
        return made

    def _class(self, module: str, name: str, base: type) -> Any:  # noqa: ANN401
        """
        Return the class *name* of *module*, which is a plugin or a loaded module.
        """
        for plugin in self._plugins:
            if isinstance(plugin, ModuleType) and plugin.__name__ == module:
                found = dict(_variables(plugin)).get(name)
                if isinstance(found, type) and issubclass(found, base):
                    return found
        found = find_class(module, name, base)
        if found is None:
            raise LookupError(name)
        return found


def _exc_info(error: BaseException) -> Any:  # noqa: ANN401 - of Python
    return type(error), error, error.__traceback__


def _make_changes(place: Any, difference: _Term, unpacker: _Unpacker) -> None:  # noqa: ANN401
    """
    Change the container *place*, but none of its methods or functions.
    """
    match difference:
        case ("map", gone, come) if isinstance(place, dict):
            for term in [*gone, *(one for one, _ in come)]:
                name = unpacker.unpack(term)
                kind = type(unpacker.owner)
                if (
                    unpacker.is_own(name)
                    or callable(place.get(name))
                    or (unpacker.owner is not None and callable(getattr(kind, name, 0)))
                ):
                    raise ValueError(name)
            for term in gone:
                place.pop(unpacker.unpack(term), None)
            for term, value in come:
                place[unpacker.unpack(term)] = unpacker.unpack(value)
        case ("set", gone, come) if isinstance(place, set):
            place -= {unpacker.unpack(one) for one in gone}
            place |= {unpacker.unpack(one) for one in come}
        case ("more", str(text)) if isinstance(place, io.StringIO):
            place.seek(0, io.SEEK_END)
            place.write(text)
        case ("all", str(text)) if isinstance(place, io.StringIO):
            place.seek(0)
            place.truncate()
            place.write(text)
        case ("more", parts) if isinstance(place, list | collections.deque):
            place.extend(unpacker.unpack(one) for one in parts)
        case ("all", parts) if isinstance(place, list | collections.deque):
            values = [unpacker.unpack(one) for one in parts]
            place.clear()
            place.extend(values)
        case _:
            raise TypeError(difference)
