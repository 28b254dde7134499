"""
Terms: values of any type as they travel from a guest, and values made of them.

A term is an atom, or a tuple that begins with a tag. Terms exist for containers,
reports, exceptions, calls, nodes, enums, dates, paths, and instances of simple classes.
Making a value runs no code of a guest and calls no class of a plugin.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import datetime as dt
import decimal
import enum
import itertools
import pathlib
import sys
from collections.abc import Iterator, Sequence
from types import (
    FunctionType,
    MemberDescriptorType,
    ModuleType,
    NoneType,
    SimpleNamespace,
)
from typing import Any, TypeAlias, TypeVar, cast

import pytest

from pytest_nsisolate.compat import memory
from pytest_nsisolate.reporting.exceptions import describe, find_class, revive

#: A value as it travels.
Term: TypeAlias = Any
#: What an attribute or a variable may hold.
Value: TypeAlias = Any

_T = TypeVar("_T")

ATOMS = frozenset({NoneType, bool, int, float, complex, str, bytes})

#: How deeply containers nest.
DEEPEST = 40

#: The containers, by the tag under which they travel.
MAPPINGS: dict[type, str] = {
    dict: "dict",
    collections.OrderedDict: "ordered",
    collections.Counter: "counter",
    collections.defaultdict: "default",
}
SEQUENCES: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    collections.deque: "deque",
}
CONTAINERS = frozenset(MAPPINGS | SEQUENCES)
_MAKERS: dict[str, Any] = {tag: kind for kind, tag in (MAPPINGS | SEQUENCES).items()}
_FACTORIES = {kind.__name__: kind for kind in (dict, list, set, int, float, str, tuple)}

#: What can be made only after what is in it.
_FROZEN = (tuple, frozenset)

_PATHS = (pathlib.PurePosixPath, pathlib.PosixPath, pathlib.PureWindowsPath)
_PATHLIB = {one.__module__ for one in _PATHS}


class Uncarried(Exception):
    """
    A value cannot travel; the argument says what it is.
    """


class Elsewhere(Exception):
    """
    What a term means is not here; the argument says what it is.
    """


def package_of(module: str) -> str:
    """
    Return the package that the module of this name is in.
    """
    return module.partition(".")[0]


def name_of(kind: type) -> str:
    """
    Return the full name of the class *kind*.
    """
    return f"{kind.__module__}.{kind.__qualname__}"


def indices(values: Sequence[object], wanted: object) -> Iterator[int]:
    """
    Return where *wanted* itself is in *values*.
    """
    return (number for number, one in enumerate(values) if one is wanted)


def container_of(kind: type) -> type | None:
    """
    Return the container that *kind* is or derives from, if there is one.
    """
    return next((one for one in kind.__mro__ if one in CONTAINERS), None)


def is_simple(kind: type, packages: set[str]) -> bool:
    """
    Say whether instances of *kind*, of one of *packages*, are what they hold alone.
    """
    if kind is SimpleNamespace:
        return True
    base = container_of(kind) or object
    is_named = base is tuple and hasattr(kind, "_fields")
    return (
        package_of(kind.__module__) in packages
        and type(kind) in {type, abc.ABCMeta}
        and not issubclass(kind, BaseException | collections.defaultdict)
        and (is_named or base not in _FROZEN)
        and (is_named or getattr(kind, "__new__", None) is base.__new__)
        and not hasattr(kind, "__del__")
    )


class Fields:
    """
    The attributes of an object, a class or a module, as a mapping.

    Args:
        owner: What they belong to.
    """

    def __init__(self, owner: Value) -> None:
        self.owner = owner
        self._slots: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        # A proxy may raise anything.
        with contextlib.suppress(Exception):
            self._found = cast("dict[str, Any]", vars(owner))
        if not issubclass(type(owner), type):
            for base in reversed(type(owner).__mro__):
                if "__slots__" in vars(base):
                    self._slots |= {
                        name: one
                        for name, one in vars(base).items()
                        if isinstance(one, MemberDescriptorType)
                    }

    def read(self) -> dict[str, Any]:
        """
        Return them; if possible, not a copy.
        """
        if not self._slots and type(self._found) is dict:
            return self._found
        found = dict(self._found)
        for name, slot in self._slots.items():
            with contextlib.suppress(AttributeError):
                found[name] = slot.__get__(self.owner)
        return found

    def write(self, name: str, value: Value) -> None:
        """
        Set one of them, but by no method of the class.
        """
        if name in self._slots:
            self._slots[name].__set__(self.owner, value)
        elif issubclass(type(self.owner), type):
            type.__setattr__(self.owner, name, value)
        else:
            self.owner.__dict__[name] = value

    def remove(self, name: str) -> None:
        """
        Delete one of them, if it is there.
        """
        if name in self._slots:
            self._slots[name].__delete__(self.owner)
        elif issubclass(type(self.owner), type):
            type.__delattr__(self.owner, name)
        else:
            self.owner.__dict__.pop(name, None)


class Cells:
    """
    The variables of other functions that a function uses, as a mapping.

    Args:
        owner: The function.
    """

    def __init__(self, owner: FunctionType) -> None:
        self.owner = owner
        names = owner.__code__.co_freevars
        self._cells = dict(zip(names, owner.__closure__ or (), strict=True))

    def read(self) -> dict[str, Any]:
        """
        Return a copy of them.
        """
        found = {}
        for name, cell in self._cells.items():
            with contextlib.suppress(ValueError):
                found[name] = cell.cell_contents
        return found

    def write(self, name: str, value: Value) -> None:
        """
        Set one of them.
        """
        self._cells[name].cell_contents = value

    def remove(self, name: str) -> None:
        """
        Delete one of them.
        """
        del self._cells[name].cell_contents


class Surroundings:
    """
    What terms of a test can refer to, which is the same inside and outside.

    Args:
        item: The test.
        plugins: The plugins whose variables hold keys of stashes.
        modules: The modules of these plugins, and those that they have near them.
        packages: The packages whose simple classes travel.
    """

    def __init__(
        self,
        item: pytest.Item,
        plugins: Sequence[object],
        modules: Sequence[ModuleType],
        packages: set[str],
    ) -> None:
        self.item = item
        self.packages = packages
        self.modules = modules
        self.chain = item.listchain()
        self.objects = [*map(memory.object_of, self.chain)]
        self.roots = [*self.chain, *self.objects, item.config, *plugins, *modules]
        params = getattr(getattr(item, "callspec", None), "params", {})
        marks = [mark for node in self.chain for mark in node.own_markers]
        #: What travels as a number.
        self.known = [*self.roots, params, *params.values(), *marks]

    def find_class(self, module: str, name: str, base: type[_T]) -> type[_T]:
        """
        Return the class *name* of *module*, a subclass of *base*.

        Raises:
            Elsewhere: It is not here, or others may not have it.
        """
        found = None
        for one in self.modules:
            if one.__name__ == module and found is None:
                known = _attribute(one, name)
                if isinstance(known, type) and issubclass(known, base):
                    found = known
        found = found or find_class(module, name, base)
        if found is None or not (
            issubclass(found, BaseException | enum.Enum | SimpleNamespace)
            or package_of(module) in self.packages | {"builtins"}
            or any(sys.modules.get(module) is one for one in self.objects)
        ):
            raise Elsewhere(f"{module}.{name}")
        return found

    def variables(self) -> Iterator[tuple[int, str, object]]:
        """
        Yield the variables of the modules and of the classes in them.
        """
        for number, module in enumerate(self.modules):
            for name, value in [*vars(module).items()]:
                yield number, name, value
                # isinstance() would ask a proxy what it stands for.
                is_class = issubclass(type(value), type)
                if is_class and value.__module__ == module.__name__:
                    for inner, one in [*vars(value).items()]:
                        yield number, f"{name}.{inner}", one


def _attribute(found: Value, path: str) -> Value:
    """
    Return what is in *found* under *path*, or None.
    """
    for part in path.split("."):
        found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
    return found


class Packer:
    """
    Makes terms of the values that one call of a hook has kept.

    Args:
        around: What terms can refer to.
        reports: The reports of the test so far.
    """

    def __init__(
        self, around: Surroundings, reports: Sequence[pytest.TestReport]
    ) -> None:
        self._around = around
        self._reports = reports
        #: By id, the number of what is known outside.
        self._known = {id(one): number for number, one in enumerate(around.known)}
        #: By id, the number of each container, and the container, to keep it alive.
        self._numbers: dict[int, tuple[int, object]] = {}
        #: The ids of those that are being packed.
        self._open: set[int] = set()

    def pack(self, value: Value, depth: int = 0, *, hashed: bool = False) -> Term:
        """
        Return *value* as a term.

        Args:
            value: The value.
            depth: How deeply it is nested.
            hashed: Whether it is a key, or part of one.

        Raises:
            Uncarried: It cannot travel.
        """
        kind = type(value)
        if kind in ATOMS:
            return value
        term = self._reference(value)
        if term is not None:
            return term
        if id(value) in self._open and (hashed or isinstance(value, _FROZEN)):
            raise Uncarried(f"{name_of(kind)} that contains itself")
        if id(value) in self._numbers:
            return ("again", self._numbers[id(value)][0])
        if depth > DEEPEST:
            raise Uncarried("value that is nested so deeply")
        if kind in SEQUENCES or kind in MAPPINGS or self._is_simple(kind):
            number = len(self._numbers)
            self._numbers[id(value)] = number, value
            self._open.add(id(value))
            try:
                return self._pack_container(value, number, depth + 1, hashed=hashed)
            except Uncarried:
                # Nothing of it is sent that others could refer to.
                self._numbers = dict(itertools.islice(self._numbers.items(), number))
                raise
            finally:
                self._open.discard(id(value))
        term = _plain_term(value)
        if term is None and isinstance(value, enum.Enum):
            self._check_class(kind)
            term = ("enum", kind.__module__, kind.__qualname__, value.name)
        if term is None and isinstance(value, type):
            self._check_class(value)
            term = ("class", value.__module__, value.__qualname__)
        if term is None:
            raise Uncarried(name_of(kind))
        return term

    def _is_simple(self, kind: type) -> bool:
        return is_simple(kind, self._around.packages)

    def _check_class(self, kind: type) -> None:
        """
        Check that *kind* can be found again by its name.
        """
        try:
            found = self._around.find_class(kind.__module__, kind.__qualname__, object)
        except Elsewhere:
            found = None
        if found is not kind:
            raise Uncarried(name_of(kind))

    def _pack_container(
        self, value: Value, number: int, depth: int, *, hashed: bool
    ) -> Term:
        """
        Return the term of a container, or of an instance of a simple class.
        """
        kind = type(value)
        base: Any = container_of(kind)
        content, factory = None, None
        if base in SEQUENCES:
            of_hashed = hashed or base in {set, frozenset}
            content = [
                self.pack(one, depth, hashed=of_hashed) for one in base.__iter__(value)
            ]
        elif base is not None:
            content = self._pairs(base.items(value), depth, hashed=hashed)
        if kind in SEQUENCES:
            return (SEQUENCES[kind], number, content)
        if kind is collections.defaultdict and value.default_factory is not None:
            factory = value.default_factory.__name__
            if _FACTORIES.get(factory) is not value.default_factory:
                raise Uncarried("collections.defaultdict with a factory of its own")
        if kind in MAPPINGS:
            return (MAPPINGS[kind], number, content, factory)
        self._check_class(kind)
        fields = [*Fields(value).read().items()]
        pairs = self._pairs(fields, depth, hashed=hashed)
        return ("object", number, kind.__module__, kind.__qualname__, pairs, content)

    def _pairs(self, items: Value, depth: int, *, hashed: bool) -> list[Term]:
        return [
            (self.pack(name, depth, hashed=True), self.pack(one, depth, hashed=hashed))
            for name, one in items
        ]

    def _reference(self, value: Value) -> Term:
        """
        Return the term of what exists outside as well, or None.
        """
        around = self._around
        for number in indices(self._reports, value):
            return ("report", number)
        if id(value) in self._known:
            return ("known", self._known[id(value)])
        if isinstance(value, pytest.Item):
            for number in indices(around.item.session.items, value):
                return ("item", number)
        if isinstance(value, pytest.StashKey):
            for number, path, one in around.variables():
                if one is value:
                    return ("key", number, path)
            raise Uncarried("pytest.StashKey that is in no variable of the module")
        return None


def _plain_term(value: Value) -> Term:
    """
    Return the term of a value that refers to nothing, or None.
    """
    kind = type(value)
    if isinstance(value, pytest.CallInfo):
        info = value.excinfo
        described = None if info is None else describe(info.value)
        return ("call", value.when, value.start, value.stop, value.duration, described)
    if isinstance(value, pytest.ExceptionInfo):
        return ("info", describe(value.value))
    if isinstance(value, BaseException):
        return ("error", describe(value))
    if isinstance(value, pathlib.PurePath) and kind.__module__ in _PATHLIB:
        return ("path", kind.__name__, str(value))
    if kind in {dt.datetime, dt.date}:
        return (kind.__name__, value.isoformat())
    if kind is dt.timedelta:
        return ("timedelta", value.days, value.seconds, value.microseconds)
    if kind is decimal.Decimal:
        return ("decimal", str(value))
    return None


class Unpacker:
    """
    Makes values of terms, in the supervisor.

    Args:
        around: What terms can refer to.
        reports: The reports of the test that have arrived, by number.
    """

    def __init__(
        self, around: Surroundings, reports: dict[int, pytest.TestReport]
    ) -> None:
        self.around = around
        self._reports = reports
        self._made: dict[int, Any] = {}

    def unpack(self, term: Term) -> Value:
        """
        Return the value that *term* stands for.

        Raises:
            Elsewhere: It is not here.
            Exception: It stands for none.
        """
        if type(term) in ATOMS:
            return term
        around = self.around
        match term:
            case ("again", number):
                if number not in self._made:
                    raise Elsewhere("value that is lost in another place")
                return self._made[number]
            case ("tuple" | "frozenset" as tag, number, parts):
                made = _MAKERS[tag](map(self.unpack, parts))
                self._made[number] = made
                return made
            case ("list" | "set" | "deque" as tag, number, parts):
                made = self._made[number] = _MAKERS[tag]()
                return self._fill(made, parts)
            case ("dict" | "ordered" | "counter" as tag, number, pairs, None):
                made = self._made[number] = _MAKERS[tag]()
                return self._fill(made, pairs)
            case ("default", number, pairs, name):
                factory = None if name is None else _FACTORIES[name]
                made = self._made[number] = collections.defaultdict(factory)
                return self._fill(made, pairs)
            case ("object", number, module, name, pairs, content):
                return self._object(number, module, name, pairs, content)
            case ("report", number):
                return self._reports[number]
            case ("known", number):
                if number >= len(around.known):
                    raise Elsewhere("parameter or mark that was added inside")
                return around.known[number]
            case ("item", number):
                return around.item.session.items[number]
            case ("call", when, start, stop, duration, described):
                call: Any = pytest.CallInfo.from_call(lambda: None, when=when)
                call.start, call.stop, call.duration = start, stop, duration
                call.excinfo = None if described is None else _info(revive(described))
                return call
            case ("info", described):
                return _info(revive(described))
            case ("error", described):
                return revive(described)
            case ("enum", module, name, member):
                return around.find_class(module, name, enum.Enum).__members__[member]
            case ("path", name, text):
                return {one.__name__: one for one in _PATHS}[name](text)
            case ("datetime", text):
                return dt.datetime.fromisoformat(text)
            case ("date", text):
                return dt.date.fromisoformat(text)
            case ("timedelta", days, seconds, microseconds):
                return dt.timedelta(days, seconds, microseconds)
            case ("decimal", str(text)):
                return decimal.Decimal(text)
            case ("class", module, name):
                return around.find_class(module, name, object)
            case ("key", number, name):
                found = _attribute(around.modules[number], name)
                if isinstance(found, pytest.StashKey):
                    return found
                raise Elsewhere("pytest.StashKey")
        raise TypeError(term)

    def _object(
        self, number: int, module: str, name: str, pairs: Term, content: Term
    ) -> Value:
        kind = self.around.find_class(module, name, object)
        if not is_simple(kind, self.around.packages):
            raise Elsewhere(f"{module}.{name}")
        base: Any = container_of(kind) or object
        if kind is SimpleNamespace:
            base = kind
        made: Any
        make = base.__new__
        if base is tuple:
            made = make(kind, [self.unpack(one) for one in content])
            self._made[number] = made
        else:
            made = self._made[number] = make(kind)
        fields = Fields(made)
        for key, one in pairs:
            if type(key) is not str:
                raise TypeError(key)
            fields.write(key, self.unpack(one))
        return made if content is None or base is tuple else self._fill(made, content)

    def _fill(self, made: Value, content: Term) -> Value:
        base: Any = container_of(type(made))
        if base in MAPPINGS:
            for name, one in content:
                base.__setitem__(made, self.unpack(name), self.unpack(one))
            return made
        values = [self.unpack(one) for one in content]
        base.update(made, values) if base is set else base.extend(made, values)
        return made


def _info(error: BaseException) -> pytest.ExceptionInfo[BaseException]:
    trace: Any = error.__traceback__
    return pytest.ExceptionInfo.from_exc_info((type(error), error, trace))
