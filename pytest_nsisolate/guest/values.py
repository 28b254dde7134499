"""
Values of Python's builtin types, packed so that JSON carries them exactly.

Carried are None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set,
frozenset and dict, nested in any way and to any depth. The order of a dict is kept, and
so is whether two places hold the same container, even if it contains itself. A value of
a subclass of these, such as a named tuple, arrives as one of the builtin type. Anything
else arrives as its `repr`.

A packed value is either None, a bool, an int, a float or a str, as it is, or a list of
rows, one for each container. A row holds such scalars, and ``[N]`` for what is in row
N; row 0 is the value itself. A dict whose keys are all str is a JSON object, and any
other row is a list that begins with a tag. So JSON never nests, and reading recurses
nowhere.

What is read may come from a hostile process. `unpack` accepts only what `pack` may
produce, runs no code of it, and takes time and memory linear in its size. The same goes
for whoever walks over the result: `_check_size`.
"""

from __future__ import annotations

import contextlib
import reprlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

from pytest_nsisolate.model.errors import safe_repr

#: Any value, or what stands for it in a row.
Value: TypeAlias = Any
#: Rows, as JSON has them.
_Rows: TypeAlias = "list[Any]"

#: Types whose values need no row. An int does if it is `_BIG`.
_SCALARS = frozenset({NoneType, bool, int, float, str})
_ATOMS = _SCALARS - {int}
_STR, _INT = frozenset({str}), frozenset({int})

#: Types of keys that nest nothing.
_SIMPLE = _SCALARS | {bytes, complex}

#: From here on an int is written in hexadecimal: Python may refuse to convert 640
#: digits or more to or from decimal. Source: sys.set_int_max_str_digits().
_BIG = 1 << 64

#: The tags of rows.
_TAGS = {
    dict: "dict",
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    bytes: "bytes",
    bytearray: "bytearray",
    complex: "complex",
    int: "int",
}

#: The builtin types that are carried; a subclass of one arrives as that.
TYPES = (*_SCALARS, *(kind for kind in _TAGS if kind not in _SCALARS))

#: Types whose values may be the same in two places; an equal copy is as good of others.
_SHARED = frozenset({dict, list, tuple, set, frozenset, bytearray})

#: How deeply tuples may nest in what is hashed: Python recurses there without a check.
_DEEPEST_KEY = 100

#: How many keys of a dict or a set may have a hash that another one has. Each of them
#: is compared with all others.
_MOST_COLLISIONS = 1000

#: How many places and characters a value may have if what is shared is counted each
#: time, besides a multiple of what was read.
_FREE = 1 << 26

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60


class Malformed(Exception):
    """
    What was to be unpacked is not a packed value.
    """


class Packed(NamedTuple):
    """
    A packed value.
    """

    content: Any
    """What JSON carries, for `unpack`."""
    texts: list[tuple[str, str]]
    """
    What in it arrives as text: the key in the value if that is a dict, else an empty
    string, and the name of the type. Each pair appears once.
    """


def pack(value: object) -> Packed:
    """
    Return *value* packed. This never fails.

    What could harm a reader arrives as text too: many keys with the same hash, say.
    """
    if type(value) in _ATOMS:
        return Packed(value, [])
    packer = _Packer(is_cut=False)
    content = packer.pack(value)
    if not packer.is_plain:
        try:
            unpack(content)
        except Malformed:
            packer = _Packer(is_cut=True)
            content = packer.pack(value)
    return Packed(content, list(packer.texts))


def unpack(content: object) -> Value:
    """
    Return the value that `pack` made *content* of.

    Raises:
        Malformed: It cannot be from there.
    """
    if type(content) in _SCALARS:
        return content
    if type(content) is not list or not content:
        raise Malformed("neither a scalar nor rows")
    try:
        return _tree(content)
    except _NoTree:
        return _graph(content)


def brief(value: object) -> str:
    """
    Return `repr` of *value*, truncated in depth and length before it is made.
    """
    try:
        return _BRIEF.repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return safe_repr(value)


class _Packer:
    """
    Makes the rows of one value.

    Args:
        is_cut: Whether a container that comes again, and one with keys other than str,
            arrive as text.
    """

    def __init__(self, *, is_cut: bool) -> None:
        #: Whether no container comes twice and no key could take long.
        self.is_plain = True
        #: `Packed.texts`, without values.
        self.texts: dict[tuple[str, str], None] = {}
        self._is_cut = is_cut
        #: By id, the rows of containers. All of them live on in the queue.
        self._found: dict[int, int] = {}
        #: For each row its value, the builtin type of that, and the key in the whole.
        self._queue: list[tuple[Any, type, str]] = []

    def pack(self, value: object) -> Value:
        """
        Return *value* packed.
        """
        content = self._place(value, "")
        # The queue grows while it is read.
        rows = [self._row(*one) for one in self._queue]
        return rows or content

    def _place(self, value: Value, key: str) -> Value:
        """
        Return what stands for *value* in a row: itself, its text, or its row's number.
        """
        kind = type(value)
        if kind in _ATOMS or (kind is int and -_BIG < value < _BIG):
            return value
        number = self._found.get(id(value))
        if number is not None:
            self.is_plain = False
            if not self._is_cut:
                return [number]
            self.texts[key, f"{_name(kind)}, shared too often,"] = None
            return f"<{_name(kind)}, shared too often>"
        if kind not in _TAGS:
            kind, value = _builtin(kind, value)
            if kind in _ATOMS or (kind is int and -_BIG < value < _BIG):
                return value
            if kind is object:
                self.texts[key, _name(type(value))] = None
                return safe_repr(value)
        number = len(self._queue)
        # An empty tuple is always the same one.
        if kind in _SHARED and value:
            self._found[id(value)] = number
        self._queue.append((value, kind, key))
        return [number]

    def _row(self, value: Value, kind: type, key: str) -> Value:
        """
        Return the row of *value*, which is of the builtin type *kind*.
        """
        tag = _TAGS[kind]
        if kind is dict:
            items = _items(value)
            if _STR.issuperset(map(type, items)):
                is_whole = value is self._queue[0][0]
                for name, one in items.items():
                    if type(one) not in _ATOMS:
                        items[name] = self._place(one, name if is_whole else key)
                return items
            flat = [part for pair in items.items() for part in pair]
            return self._cut(value, items, key) or [tag, *self._all(flat, key)]
        if kind is set or kind is frozenset:
            parts = list(kind.__iter__(value))
            return self._cut(value, parts, key) or [tag, *self._all(parts, key)]
        if kind is list or kind is tuple:
            return [tag, *self._all(kind.__iter__(value), key)]
        if kind is int:
            return [tag, hex(value)]
        if kind is complex:
            return [tag, value.real, value.imag]
        return [tag, memoryview(value).tobytes().decode("latin-1")]

    def _cut(self, value: Value, keys: Collection[Value], key: str) -> list[str] | None:
        """
        Return the row of *value* if it is cut, for *keys* are hashed.
        """
        kinds = set(map(type, keys))
        if kinds <= _STR or (kinds <= _SIMPLE and len(keys) <= _MOST_COLLISIONS):
            return None
        self.is_plain = False
        if not self._is_cut:
            return None
        self.texts[key, _name(type(value))] = None
        return ["text", brief(value)]

    def _all(self, values: Iterable[Any], key: str) -> list[Any]:
        """
        Return what stands for each of *values* in a row.
        """
        values = list(values)
        if _ATOMS.issuperset(map(type, values)):
            return values
        are_ints = type(values[0]) is int and _INT.issuperset(map(type, values))
        if are_ints and min(values) > -_BIG and max(values) < _BIG:
            return values
        return [one if type(one) in _ATOMS else self._place(one, key) for one in values]


def _name(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _items(value: dict[Any, Any]) -> dict[Any, Any]:
    """
    Return a copy of *value* in its own order, whatever a subclass overrides.
    """
    if isinstance(value, OrderedDict):
        with contextlib.suppress(Exception):
            # This hashes the keys, which a user's __hash__ may refuse.
            return dict(OrderedDict.items(value))
    return dict.copy(value)


#: How to get the value of a builtin type from one of a subclass.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__pos__,
    float: float.__pos__,
}


def _builtin(kind: type, value: Value) -> tuple[type, Any]:
    """
    Return the builtin type that *kind* is a subclass of, or object, and the value.

    A container stays as it is, so that it can be found again.
    """
    for base in kind.__mro__:
        if base in _PLAIN:
            return base, _PLAIN[base](value)
        if base in _TAGS:
            return base, value
    return object, value


class _NoTree(Exception):
    """
    Some row is not part of exactly one row before it.
    """


class _Missing:
    """
    Takes the place of a value that has not been made.
    """


def _tree(rows: _Rows) -> Value:
    """
    Return the value in *rows* if it is a tree, whose rows follow those they are in.

    Raises:
        _NoTree: It is not.
        Malformed: It is no value.
    """
    made: list[Any] = [_Missing] * len(rows)
    depths: dict[int, int] = {}

    def take(child: Value) -> Value:
        """
        Return the value that *child* stands for, which no other row may take.
        """
        number = child[0]
        value = made[number]
        if value is _Missing:
            raise _NoTree
        made[number] = _Missing
        return value

    for number in range(len(rows) - 1, -1, -1):
        row = rows[number]
        tag, children, places = _parts(row, len(rows))
        if not places:
            made[number] = row if tag == "" else _make(tag, children)
        elif tag == "":
            made[number] = {
                name: take(child) if type(child) is list else child
                for name, child in row.items()
            }
        else:
            _check_depth(number, tag, children, depths)
            values = [take(one) if type(one) is list else one for one in children]
            made[number] = _make(tag, values)
    if made.count(_Missing) != len(rows) - 1:
        raise _NoTree
    return made[0]


def _graph(rows: _Rows) -> Value:
    """
    Return the value in *rows*, in which containers may appear again.

    Raises:
        Malformed: It is no value.
    """
    parts = [_parts(row, len(rows)) for row in rows]
    edges = [places for _, _, places in parts]
    _check_size(rows, edges)
    made: list[Any] = [
        _EMPTY[tag]() if tag in _EMPTY else _Missing for tag, *_ in parts
    ]
    depths: dict[int, int] = {}

    def take(child: Value) -> Value:
        """
        Return the value that *child* stands for.
        """
        return made[child[0]] if type(child) is list else child

    # A tuple or frozenset is made after those in it, and what can be filled later is
    # there already.
    begun = set()
    for first in range(len(rows)):
        stack = [first]
        while stack:
            number = stack[-1]
            if made[number] is not _Missing:
                stack.pop()
                continue
            waiting = [one for one in edges[number] if made[one] is _Missing]
            if waiting:
                if number in begun:
                    raise Malformed("a tuple in itself")
                begun.add(number)
                stack += waiting
                continue
            tag, children, _ = parts[number]
            _check_depth(number, tag, children, depths)
            made[number] = _make(tag, [take(child) for child in children])
    for number, (tag, children, _) in enumerate(parts):
        if tag in _EMPTY:
            _check_depth(number, tag, children, depths)
            values = [take(child) for child in children]
            if tag == "":
                made[number].update(zip(rows[number], values, strict=True))
            elif tag == "list":
                made[number].extend(values)
            else:
                made[number].update(_make(tag, values))
    return made[0]


#: What is made empty at first, by tag; a row without a tag is a JSON object.
_EMPTY: dict[str, Callable[[], Any]] = {
    "": dict,
    "dict": dict,
    "list": list,
    "set": set,
}


def _parts(row: Value, number: int) -> tuple[str, list[Any], list[int]]:
    """
    Return the tag of *row*, what is in it, and the rows that this refers to.

    Args:
        row: One of the rows.
        number: How many there are.
    """
    if type(row) is dict:
        tag, children = "", list(row.values())
    elif type(row) is list and row and type(row[0]) is str:
        tag, children = row[0], row[1:]
        if tag not in _MAKERS:
            raise Malformed("a row of unknown type")
    else:
        raise Malformed("a row that is none")
    places: list[int] = []
    if _SCALARS.issuperset(map(type, children)):
        return tag, children, places
    if tag in _LEAVES:
        raise Malformed("a row with something else in it")
    for child in children:
        kind = type(child)
        if kind is list:
            if len(child) != 1 or type(child[0]) is not int:
                raise Malformed("a number of a row that is none")
            if not 0 <= child[0] < number:
                raise Malformed("a number of no row")
            places.append(child[0])
        elif kind not in _SCALARS:
            raise Malformed("a row with something else in it")
    return tag, children, places


def _make(tag: str, values: list[Any]) -> Value:
    """
    Return the value of the type *tag* that consists of *values*.
    """
    try:
        return _MAKERS[tag](values)
    except (TypeError, ValueError) as error:
        # An element that cannot be hashed, for instance.
        raise Malformed(f"no {tag} ({type(error).__name__})") from None


def _keys(values: list[Any]) -> list[Any]:
    """
    Return *values*, which may be elements of a set or keys of a dict.
    """
    if len(values) > _MOST_COLLISIONS:
        hashes = set(map(hash, values))
        if len(values) - len(hashes) > _MOST_COLLISIONS:
            raise Malformed("too many keys with the same hash")
    return values


def _dict(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(_keys(values[::2]), values[1::2], strict=True))


def _int(values: list[Any]) -> int:
    (text,) = values
    value = int(text, 16)
    if hex(value) != text:
        raise ValueError
    return value


def _bytes(values: list[Any]) -> bytes:
    (text,) = values
    if type(text) is not str:
        raise TypeError
    return text.encode("latin-1")


def _complex(values: list[Any]) -> complex:
    if [type(one) for one in values] != [float, float]:
        raise TypeError
    return complex(*values)


def _text(values: list[Any]) -> str:
    (text,) = values
    if type(text) is not str:
        raise TypeError
    return text


#: What makes a value from what is in its row, by tag.
_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "dict": _dict,
    "list": lambda values: values,
    "tuple": tuple,
    "set": lambda values: set(_keys(values)),
    "frozenset": lambda values: frozenset(_keys(values)),
    "bytes": _bytes,
    "bytearray": lambda values: bytearray(_bytes(values)),
    "complex": _complex,
    "int": _int,
    "text": _text,
}

#: Rows that refer to no others.
_LEAVES = frozenset({"bytes", "bytearray", "complex", "int", "text"})


def _check_depth(
    number: int, tag: str, children: list[Any], depths: dict[int, int]
) -> None:
    """
    Check that nothing in row *number* that is hashed is a tuple that nests too deeply.

    Args:
        number: The number of the row.
        tag: Its type.
        children: What is in it.
        depths: How deeply tuples nest in those rows that are tuples of tuples; this one
            is added. A frozenset hashes what is in it once, when it is made.
    """
    if tag == "tuple":
        depths[number] = 1 + max(
            (depths.get(one[0], 0) for one in children if type(one) is list), default=0
        )
        return
    keys = children[::2] if tag == "dict" else children
    if tag in {"dict", "set", "frozenset"} and any(
        type(one) is list and depths.get(one[0], 0) > _DEEPEST_KEY for one in keys
    ):
        raise Malformed("a key that nests too deeply")


def _everything(row: Value) -> Iterable[Value]:
    return (*row, *row.values()) if type(row) is dict else row


def _check_size(rows: _Rows, edges: list[list[int]]) -> None:
    """
    Check that a walk over the value, such as `repr`, takes no more than linear time.

    Such a walk visits a shared container each time, and one that contains itself once
    on each way from outside to inside. It may begin anywhere.

    Args:
        rows: The rows.
        edges: For each row, those that it refers to.
    """
    sizes = [
        sum(1 + len(one) if type(one) is str else 1 for one in _everything(row))
        for row in rows
    ]
    limit = _FREE + 2 * sum(sizes)
    #: For each row, how many references in it lead back to a row that it is in.
    backs = [0] * len(edges)
    #: The rows that they lead to.
    targets = set()
    new, begun, done = range(3)
    states = [new] * len(edges)
    states[0] = begun
    stack: list[tuple[int, Iterator[int]]] = [(0, iter(edges[0]))]
    while stack:
        number, rest = stack[-1]
        for one in rest:
            if states[one] == new:
                states[one] = begun
                stack.append((one, iter(edges[one])))
                break
            if states[one] == begun:
                backs[number] += 1
                targets.add(one)
            else:
                sizes[number] += sizes[one]
                backs[number] += backs[one]
        else:
            states[number] = done
            if sizes[number] > limit:
                raise Malformed("a value that is too large where it is shared")
            stack.pop()
            if stack:
                outer = stack[-1][0]
                sizes[outer] += sizes[number]
                backs[outer] += backs[number]
    if new in states:
        raise Malformed("a row that belongs to no other")
    # A way inside goes back at most once to each target.
    ways = backs[0] + 1
    bits = len(targets) * (ways.bit_length() - 1)
    if bits > limit.bit_length() or sizes[0] * ways ** len(targets) > limit:
        raise Malformed("a value that contains itself too often")
