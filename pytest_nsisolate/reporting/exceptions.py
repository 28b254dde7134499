"""
Exceptions as data in a message, and exceptions made from such data.

An exception cannot travel: a pickle would run code of the test. What travels is what
others can see of it: its classes, arguments, attributes and texts, where it was raised,
and what it was raised from. The supervisor makes an exception of the same class from
that, without calling the class, with a traceback of the same places.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from types import (
    CodeType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    TracebackType,
)
from typing import Any, TypeAlias, TypeVar, cast

from pytest_nsisolate.guest.messages import Garbled, short
from pytest_nsisolate.model.chain import attribute

_T = TypeVar("_T")

#: An exception as data. Several make a chain or a group; the first is the outermost.
Described: TypeAlias = "dict[str, object]"

#: How many exceptions of a chain travel, and how many frames of each.
_MOST = 50
_MOST_FRAMES = 1200

#: No file has more lines, and no line more columns.
_MOST_LINES = 10_000_000


def describe(error: BaseException) -> list[Described]:
    """
    Return *error*, and the exceptions that it was raised from, as data.
    """
    numbers = {id(error): 0}
    errors = [error]
    found: list[Described] = []
    # It grows while it is walked.
    for one in errors:
        data = _describe_alone(one)
        found.append(data)
        members = attribute(one, "exceptions")
        for name, others in {
            "cause": [one.__cause__],
            "context": [one.__context__],
            "members": members if isinstance(members, tuple) else (),
        }.items():
            data[name] = numbered = list[int]()
            for other in others:
                if not isinstance(other, BaseException):
                    continue
                if id(other) not in numbers and len(errors) < _MOST:
                    numbers[id(other)] = len(errors)
                    errors.append(other)
                number = numbers.get(id(other), 0)
                # Only forward, so that no chain ends in itself.
                if number >= len(found):
                    numbered.append(number)
    return found


def _describe_alone(error: BaseException) -> Described:
    kinds = [one for one in type(error).__mro__ if issubclass(one, BaseException)]
    # Python's own class knows what makes it, such as the file name of an OSError.
    _, arguments, *rest = _builtin(type(error)).__reduce__(error)
    state = cast("dict[object, object]", rest[0] if rest and rest[0] else {})
    return {
        "kinds": [[one.__module__, one.__qualname__] for one in kinds],
        "text": _text(str, error),
        "repr": _text(repr, error),
        "arguments": [*arguments],
        "state": {key: one for key, one in state.items() if isinstance(key, str)},
        "places": [*_places(error.__traceback__)],
        "quiet": error.__suppress_context__,
    }


def _text(make: Callable[[object], str], error: BaseException) -> str:
    try:
        return make(error)
    except Exception as other:  # noqa: BLE001 - a user's method may raise anything
        return f"<exception whose {make.__name__}() raises {type(other).__name__}>"


def _places(trace: TracebackType | None) -> Iterator[list[object]]:
    """
    Return the place of each frame of *trace*: the arguments of `_code_at`, and a bool.
    """
    number = 0
    while trace is not None and number < _MOST_FRAMES:
        frame, code = trace.tb_frame, trace.tb_frame.f_code
        yield [
            code.co_filename,
            getattr(code, "co_qualname", code.co_name),
            code.co_name,
            code.co_firstlineno,
            *_span(code, trace.tb_lasti, trace.tb_lineno),
            frame.f_locals.get("__tracebackhide__", False) is True,
        ]
        trace, number = trace.tb_next, number + 1


def _span(code: CodeType, lasti: int, line: int) -> list[int]:
    """
    Return first and last line of the instruction at *lasti*, and its columns if known.
    """
    # Since Python 3.11.
    positions = getattr(code, "co_positions", None)
    if positions is not None and lasti >= 0:
        found = next(itertools.islice(positions(), lasti // 2, None), (None,))
        if None not in found and found[0] == line:
            return [*found]
    return [line, line, -1, -1]


def revive(described: object) -> BaseException:
    """
    Return the exception that the first of *described* is.

    Raises:
        Garbled: It does not describe one.
    """
    made: dict[int, BaseException] = {}
    try:
        # Backwards: a group is made of its members, and a reference leads forward.
        parts = cast("list[Described]", described)
        for number, data in reversed([*enumerate(parts)]):
            others = {
                name: [made[other] for other in cast("list[int]", data[name])]
                for name in ("cause", "context", "members")
            }
            made[number] = error = _revive_alone(data, others["members"])
            error.__cause__ = next(iter(others["cause"]), None)
            error.__context__ = next(iter(others["context"]), None)
            error.__suppress_context__ = data["quiet"] is True
        return made[0]
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        text = f"{type(error).__name__}: {error}"
        raise Garbled(f"an exception that cannot be read ({short(text)})") from None


def find_class(module: object, qualname: object, base: type[_T]) -> type[_T] | None:
    """
    Return the class *qualname* of *module* if it is loaded and a subclass of *base*.
    """
    found: Any = sys.modules.get(cast("str", module))
    for part in cast("str", qualname).split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, base) else None


def _revive_alone(data: Described, members: list[BaseException]) -> BaseException:
    """
    Return the exception in *data*, or one of a class that is made to look like its own.
    """
    text, shown = str(data["text"]), str(data["repr"])
    (module, qualname), *_ = kinds = cast("list[list[str]]", data["kinds"])
    looks = {
        "__module__": module,
        "__qualname__": qualname,
        "__str__": lambda _: text,
        "__repr__": lambda _: shown,
    }
    error: BaseException | None = None
    found = find_class(module, qualname, BaseException)
    if found is not None:
        error = _made(found, data, members)
    if error is None or (_text(str, error), _text(repr, error)) != (text, shown):
        name = qualname.rpartition(".")[2]
        known = (find_class(one, other, BaseException) for one, other in kinds)
        stand_ins = (
            _made(stand_in, data, members)
            for base in known
            if base is not None
            and (stand_in := _subclass(base, name, looks.copy())) is not None
        )
        error = next(one for one in stand_ins if one is not None)
    return error.with_traceback(_trace(cast("list[list[Any]]", data["places"])))


def _subclass(
    base: type[BaseException], name: str, looks: dict[str, object]
) -> type[BaseException] | None:
    """
    Return a subclass of *base* named *name*; None if that refuses to have any.
    """
    make: Any = type(base)
    try:
        return cast("type[BaseException]", make(name, (base,), looks))
    except Exception:  # noqa: BLE001 - whatever a class does in __init_subclass__
        return None


def _made(
    kind: type[BaseException], data: Described, members: list[BaseException]
) -> BaseException | None:
    """
    Return an exception of *kind*, made by Python's own class alone; None if it cannot.
    """
    base = _builtin(kind)
    arguments = cast("list[Any]", data["arguments"])
    if members:
        arguments = [*arguments[:1], members]
    try:
        error: BaseException = base.__new__(kind, *arguments)
        base.__init__(error, *arguments)
        for name, value in cast("dict[str, object]", data["state"]).items():
            field = getattr(base, name, None)
            if isinstance(field, MemberDescriptorType | GetSetDescriptorType):
                field.__set__(error, value)
            else:
                vars(error)[name] = value
    except Exception:  # noqa: BLE001 - whatever a class does not take
        return None
    return error


def _builtin(kind: type[BaseException]) -> Any:  # noqa: ANN401 - its __new__
    """
    Return the nearest class of Python's own that *kind* derives from.
    """
    return next(one for one in kind.__mro__ if one.__module__ == "builtins")


def _trace(places: list[list[Any]]) -> TracebackType | None:
    """
    Return a traceback of *places*.
    """
    trace = None
    for *place, hidden in reversed(places):
        generator = _generator(*place, hidden=hidden is True)
        frame, lasti = generator.gi_frame, _lasti(generator.gi_code, place[-2:])
        # It has one until it is closed.
        assert frame is not None
        trace = TracebackType(trace, frame, lasti, place[-4])
    return trace


# Kept for ever: before Python 3.12, one that is freed looks called to coverage.
@functools.cache
def _generator(
    file: str, qualname: str, name: str, first: int, *span: int, hidden: bool
) -> GeneratorType[None, None, None]:
    """
    Return a generator that claims to be at this place.

    Its frame is there before any of its code runs. If that ran, a debugger would stop
    at a breakpoint of its line, here and once more.
    """
    code = _code_at(file, qualname, name, first, *span)
    function = FunctionType(code, {"__tracebackhide__": hidden})
    generator: GeneratorType[None, None, None] = function()
    return generator


def _lasti(code: CodeType, columns: list[int]) -> int:
    """
    Return where in *code*, of `_code_at`, the instruction with these *columns* is.
    """
    # A traceback shows no columns where there is no instruction.
    if columns[0] >= 0 and sys.version_info >= (3, 11):
        for number, found in enumerate(code.co_positions()):
            if [*found[2:]] == columns:
                return number * 2
    return -1


def _code_at(file: str, qualname: str, name: str, first: int, *span: int) -> CodeType:
    """
    Return the code of a generator that claims to be at this place.
    """
    if not all(-1 <= one < _MOST_LINES for one in (first, *span)):
        raise ValueError(first, *span)
    line, last, column, end = span
    # Something may read the file to show its lines, and must come to an end.
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(file).st_mode):
            file = f"<{file}>"
    tree = ast.parse("def place(): yield")
    for node in ast.walk(tree.body[0]):
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.stmt | ast.expr):
            # replace() moves all lines by the first one.
            node.lineno = max(line - first, 0) + 1
            node.end_lineno = max(last - first, 0) + 1
            node.col_offset, node.end_col_offset = max(column, 0), max(end, 0)
    module = compile(tree, file, "exec")
    code = next(one for one in module.co_consts if isinstance(one, CodeType))
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=qualname)
    return code.replace(co_firstlineno=first, co_name=name)
