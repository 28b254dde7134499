"""
Values: they arrive as they were packed, and nothing else is accepted.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import json
import math
import sys
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from property_tests import QUICKLY

from pytest_nsisolate.guest.messages import _DECODER
from pytest_nsisolate.guest.values import Malformed, brief, pack, unpack

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=1 << 60, max_value=1 << 5000).map(lambda one: one * 3 - 1),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters()),
    st.text("\ud800\udc00\udfff\0a", max_size=4),
    st.binary(),
)
KEYS: Any = st.recursive(
    SCALARS,
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES: Any = st.recursive(
    KEYS | st.binary().map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner),
        st.tuples(inner, inner),
        st.sets(KEYS),
        st.dictionaries(KEYS, inner),
        st.dictionaries(st.text(), inner),
    ),
    max_leaves=30,
)


def _arrived(value: object) -> Any:
    """
    Return *value* as it arrives.
    """
    text = json.dumps(pack(value).content, ensure_ascii=False)
    # A message holds no null byte: the reader of the channel relies on it.
    assert "\0" not in text
    body = text.encode("utf-8", "surrogatepass")
    return unpack(_DECODER.decode(body.decode("utf-8", "surrogatepass")))


def _same(one: Any, other: Any) -> bool:
    """
    Say whether two values are equal and of the same types, in the same order.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one):
            return math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, complex):
        return _same(one.real, other.real) and _same(one.imag, other.imag)
    if isinstance(one, set | frozenset):
        rest = list(other)
        for part in one:
            found = [place for place, two in enumerate(rest) if _same(part, two)]
            if not found:
                return False
            del rest[found[0]]
        return not rest
    if isinstance(one, dict):
        one, other = list(one.items()), list(other.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


@QUICKLY
@given(VALUES)
@example(value=[1 << 64, -(1 << 64), (1 << 64) - 1, 10**5000, -(16**4299)])
@example(value=[0.0, -0.0, math.inf, -math.inf, math.nan, complex(-0.0, math.nan)])
@example(value={True: 1, 0: [2], None: {}, (): (), "": b"", b"": bytearray(b"\xff\0")})
@example(value={float("nan"), float("nan"), -0.0})
@example(value=frozenset({0.0, complex(0.0, math.nan)}))
@example(value={(float("nan"),), (float("nan"),), frozenset({float("nan")})})
@example(value={"#": [0], "b": [[1]], "c": ["list"], "d": ["text", "x"]})
def test_round_trip(value: object) -> None:
    """
    Builtin values arrive as they are, and nothing of them is said to be text.
    """
    assert pack(value).texts == []
    assert _same(_arrived(value), value)


def test_shared() -> None:
    """
    What is in two places is one thing in two places, even inside itself.
    """
    common, key, changing = [1], (1, (2,)), bytearray(b"x")
    endless: list[object] = [common, key, changing]
    endless += [endless, (endless, key), {key: common, "itself": [changing]}]
    assert pack(endless).texts == []
    arrived = _arrived(endless)
    assert repr(arrived) == repr(endless)
    assert arrived[3] is arrived[4][0] is arrived
    assert arrived[0] is arrived[5][key]
    assert arrived[2] is arrived[5]["itself"][0]
    assert arrived[1] is arrived[4][1]


def test_tuple_in_itself() -> None:
    """
    A tuple arrives that contains itself by way of a list or a dict.
    """
    inside: list[object] = []
    outer = (inside,)
    inside += [outer, (outer,), {"outer": (outer, inside)}]
    arrived = _arrived({"value": outer})["value"]
    assert type(arrived) is tuple
    assert arrived[0][0] is arrived[0][1][0] is arrived[0][2]["outer"][0] is arrived
    assert arrived[0][2]["outer"][1] is arrived[0]


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_deep(kind: type) -> None:
    """
    Values arrive that nest more deeply than Python can recurse.
    """
    depth, value = 20 * sys.getrecursionlimit(), cast("Any", kind())
    for _ in range(depth):
        value = {"in": value} if kind is dict else kind([value])
    packed = pack({"outcome": "passed", "value": value})
    assert packed.texts == []
    arrived = unpack(json.loads(json.dumps(packed.content)))["value"]
    for _ in range(depth):
        assert isinstance(arrived, kind)
        arrived = cast("Any", arrived)
        (arrived,) = arrived.values() if kind is dict else arrived
    assert arrived == kind()


class Broken:
    """
    A value whose repr() raises.
    """

    def __repr__(self) -> str:
        """
        Fail.
        """
        raise RuntimeError


class Number(enum.IntEnum):
    """
    A subclass of int.
    """

    ONE = 1


class Word(str):
    """
    A str that shows itself as another one.
    """

    __slots__ = ()

    def __str__(self) -> str:
        """
        Return something else.
        """
        return "else"


class Count(float):
    """
    A float.
    """


class Bag(list):  # type: ignore[type-arg]
    """
    A list that says it is empty.
    """

    def __iter__(self) -> Any:
        """
        Return no values.
        """
        return iter(())


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - no types needed
ORDERED = collections.OrderedDict(b=1, a=2)
ORDERED.move_to_end("b")


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Number.ONE, 1),
        (Word("word"), "word"),
        (Count("-0.0"), -0.0),
        (Bag([1, 2]), [1, 2]),
        (Point(1, [2]), (1, [2])),
        (ORDERED, {"a": 2, "b": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        ({Number.ONE: {Word("a")}}, {1: {"a"}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses(value: object, arrives: object) -> None:
    """
    A value of a subclass arrives as the equal one of the builtin type.
    """
    assert pack([value]).texts == []
    assert _same(_arrived([value]), [arrives])
    assert _same(_arrived(value), arrives)


@pytest.mark.parametrize(
    ("value", "arrives", "texts"),
    [
        (range(3), "range(0, 3)", [("", "range")]),
        (
            Broken(),
            "<Broken whose repr() raises RuntimeError>",
            [("", f"{__name__}.Broken")],
        ),
        ({"a": 1, "b": [{2: (print,)}]}, None, [("b", "builtin_function_or_method")]),
        (
            [len, len, Ellipsis],
            None,
            [("", "builtin_function_or_method"), ("", "ellipsis")],
        ),
        ({range(3): 1, "x": {2}}, {"range(0, 3)": 1, "x": {2}}, [("", "range")]),
        ({"a": memoryview(b"")}, None, [("a", "memoryview")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_texts(value: object, arrives: object, texts: list[tuple[str, str]]) -> None:
    """
    Anything else arrives as its repr, and the packed value says what that was.
    """
    assert pack(value).texts == texts
    arrived = _arrived(value)
    if arrives is not None:
        assert arrived == arrives


def _doubled() -> object:
    """
    Return lists that would fill the memory if each were written where it appears.
    """
    value: list[object] = []
    for _ in range(300):
        value = [value, value]
    return value


def _tangled() -> object:
    """
    Return lists on which `repr` would not end before the universe does.
    """
    nodes: list[list[object]] = [[] for _ in range(60)]
    for node in nodes:
        node.extend(nodes)
    return nodes


def _deep_key() -> object:
    """
    Return a dict with a key that nests deeply.
    """
    key: tuple[object, ...] = ()
    for _ in range(500):
        key = (key,)
    return {key: 1}


class Hashable(list):  # type: ignore[type-arg]
    """
    A list that can be a key.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        """
        Return any number.
        """
        return 1


@pytest.mark.parametrize(
    "value",
    [
        _doubled(),
        _tangled(),
        _deep_key(),
        {number * sys.hash_info.modulus for number in range(3000)},
        {Hashable(): 1},
    ],
    ids=["doubled", "tangled", "deep", "same hash", "hashable"],
)
def test_harmful(value: object) -> None:
    """
    What a reader would refuse arrives as text, quickly, and what is beside it is whole.
    """
    packed = pack({"outcome": "passed", "value": value, "next": {(1,): {2}}})
    assert {key for key, _ in packed.texts} >= {"value"}
    arrived = unpack(json.loads(json.dumps(packed.content)))
    assert arrived["outcome"] == "passed"
    assert "value" in arrived


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        (),
        [1],
        ["list"],
        [[]],
        [[1]],
        [["what"]],
        [{"a": {}}],
        [{"a": []}],
        [{"a": [1]}],
        [{"a": [-1]}],
        [{"a": [True]}],
        [{"a": ["0"]}],
        [{"a": [0, 0]}],
        [["list", [0.0]]],
        [["list", {}]],
        [["list"], ["list"]],
        [["list", [1]], ["list"], ["list", [2]]],
        [["tuple", [0]]],
        [["tuple", [1]], ["tuple", [0]]],
        [["list", [1]], ["tuple", [2]], ["frozenset", [1]]],
        [["set", [1]], ["list"]],
        [["set", [1]], {}],
        [["frozenset", [1]], ["set"]],
        [["dict", [1], 1], ["tuple", [2]], ["list"]],
        [["dict", 1]],
        [["int"]],
        [["int", 1]],
        [["int", "12"]],
        [["int", "0x_1"]],
        [["int", " 0x1"]],
        [["int", "0x1", "0x1"]],
        [["bytes", "\u0100"]],
        [["bytes", 1]],
        [["bytes"]],
        [["bytearray", None]],
        [["complex", 1, 2]],
        [["complex", 1.0]],
        [["complex", 1.0, "1"]],
        [["text", 1]],
        [["text", [1]], ["text", "x"]],
    ],
    ids=repr,
)
def test_malformed(content: object) -> None:
    """
    What `pack` cannot have made is refused, and one line says so.
    """
    with pytest.raises(Malformed) as caught:
        unpack(content)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        [["list", [number + 1], [number + 1]] for number in range(300)] + [["list"]],
        [["list", *([number] for number in range(60))] for _ in range(60)],
        [{str(number): [number] for number in range(60)} for _ in range(60)],
        [["list", [1], [1]], ["list", *[[0]] * 100_000]],
        [["list", *[[1]] * 100_000], ["list", "x" * 100_000]],
        [
            {"a": [1], "b": [1]},
            *[{"x" * 1000: [n + 2], "y": [n + 2]} for n in range(60)],
            {},
        ],
        [
            ["set", [1]],
            *([kind, [n + 2]] for n, kind in enumerate(["tuple"] * 100_000)),
            ["tuple"],
        ],
        [
            ["dict", [1], 1],
            *(["tuple", [n + 2], [n + 2]] for n in range(90)),
            ["tuple"],
        ],
        [["set", *(number * sys.hash_info.modulus for number in range(100_000))]],
        [["frozenset", *(1 << number * 61 for number in range(20))] + [0] * 5000],
    ],
    ids=range(10),
)
def test_hostile(content: list[Any]) -> None:
    """
    Content that would take too long, or crash Python, is refused at once.
    """
    with pytest.raises(Malformed):
        unpack(content)


ROWS: Any = st.recursive(
    SCALARS.filter(lambda one: not isinstance(one, bytes | complex))
    | st.sampled_from(["list", "tuple", "set", "frozenset", "dict", "int", "bytes"])
    | st.integers(0, 4).map(lambda number: [number]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(QUICKLY, max_examples=300)
@given(ROWS)
def test_any_rows(content: object) -> None:
    """
    Whatever is read either becomes a value that can be shown, or is refused.
    """
    with contextlib.suppress(Malformed):
        value = unpack(content)
        assert repr(value)
        assert len(brief(value)) < 10_000


@pytest.mark.parametrize("kind", [list, tuple])
def test_brief(kind: type) -> None:
    """
    The start of a value is shown without looking at all of it.
    """
    value = kind()
    for _ in range(10 * sys.getrecursionlimit()):
        value = kind([value, value])
    assert len(brief(value)) < 10_000
    assert "Broken" in brief(Broken())
