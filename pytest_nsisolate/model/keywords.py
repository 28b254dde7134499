"""
Keywords of the marker, each of them declared once, as a field of the spec.

The marker, the factory of boxes, the options, the request to the launcher, the probe
and the tables in the docs derive from the declaration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from pytest_nsisolate.model.errors import SpecError, safe_repr

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")

#: The key under which the metadata of a field hold its `Keyword`.
_DECLARED = "keyword"


class Unfit(Exception):
    """
    A value that a keyword or an option does not accept.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Check:
    """
    The values that a keyword accepts.
    """

    #: Their description in the docs.
    takes: str
    #: Their placeholder in ``--help``, if the keyword has an option.
    metavar: str

    def accept(self, keyword: str, value: object) -> object:
        """
        Return the form in which a spec keeps *value*, which is not None.

        Args:
            keyword: The name of the keyword.
            value: The value.

        Raises:
            Unfit: It is not one of these values.
        """
        raise NotImplementedError

    def guess(self, value: object) -> object:  # noqa: ARG002 - for subclasses
        """
        Return what *value*, which is not accepted, was meant to be.

        Returns:
            A value, which may not be accepted either; None if there is no guess; an
            empty list if the keyword can be left out.
        """
        return None

    def read(self, text: str) -> object:
        """
        Return the value that *text* stands for in an option.

        Raises:
            Unfit: There is no such value. The reason begins with a verb, whose subject
                is the option.
        """
        raise NotImplementedError


class Option(NamedTuple):
    """
    The option, on the command line and in the ini file, that replaces a keyword.
    """

    help: str
    """Its text in ``--help``."""
    default: object
    """Its value if nobody sets it."""
    example: str | None = None
    """What to write instead of a bad value; None: the default."""


class Keyword(NamedTuple):
    """
    A keyword of the marker. Its default is None.
    """

    check: Check
    """What it accepts besides None."""
    doc: str
    """What it means, in Markdown."""
    example: object
    """A value, for the line ``fix:`` and for the doctor."""
    hint: str = ""
    """What follows the example in the line ``fix:``."""
    box: bool | str = False
    """Whether a box accepts it, or a text that says what it means there."""
    requested: bool = False
    """Whether it is sent to the launcher."""
    calls: Callable[[Any], object] | None = None
    """Returns what of its value decides which system calls are made; None: nothing."""
    option: Option | None = None
    """The option that replaces it where the marker does not set it."""
    name: str = ""
    """The name of its field."""
    type: str = ""
    """The type of its field, including None."""

    @property
    def written(self) -> str:
        """
        The keyword with its example, as code: ``hostname="t1"``.
        """
        return f"{self.name}={_literal(self.example)}"

    @property
    def box_doc(self) -> str:
        """
        What it means for a box.
        """
        return self.box if isinstance(self.box, str) else self.doc

    def accept(self, value: object) -> object:
        """
        Return the form in which a spec keeps *value*.

        Raises:
            SpecError: The value is not allowed.
        """
        if value is None:
            return None
        try:
            return self.check.accept(self.name, value)
        except Unfit as unfit:
            raise SpecError(unfit.why, self._fix(value)) from None

    def _fix(self, value: object) -> str:
        """
        Return what to write instead of *value*.
        """
        leave = f"leave {self.name}= out"
        meant = self.check.guess(value)
        if meant == []:
            return leave
        written = f"{self.written}{self.hint}"
        if meant is not None:
            with contextlib.suppress(Unfit):
                self.check.accept(self.name, meant)
                written = f"{self.name}={_literal(meant)}"
        return f"write {written}, or {leave}"


def keyword(**declared: Any) -> Any:  # noqa: ANN401 - a field, of any type
    """
    Return a field of a spec that is a keyword. The arguments are those of `Keyword`.
    """
    return dataclasses.field(default=None, metadata={_DECLARED: Keyword(**declared)})


def keywords_of(kind: type) -> tuple[Keyword, ...]:
    """
    Return the keywords declared by the fields of *kind*, a dataclass.
    """
    return tuple(
        field.metadata[_DECLARED]._replace(name=field.name, type=str(field.type))
        for field in dataclasses.fields(kind)
    )


def describe(
    function: Callable[..., object],
    keywords: Iterable[Keyword],
    doc: Callable[[Keyword], str] = lambda one: one.doc,
) -> None:
    """
    Add *keywords* to the signature and the docstring of *function*.

    Args:
        function: A function that takes them as ``**keywords``. If it has ``*args``
            too, it is to report them.
        keywords: The keywords.
        doc: Returns what a keyword means to the function.
    """
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    before = [
        one
        for one in inspect.signature(function).parameters.values()
        if one.kind not in variable
    ]
    parameters = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=one.type,
        )
        for one in keywords
    ]
    function.__dict__["__signature__"] = inspect.Signature([*before, *parameters])
    lines = [inspect.getdoc(function) or "", "", "Args:"]
    for one in keywords:
        text = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", doc(one))
        lines += textwrap.wrap(
            f"{one.name}: {text}",
            width=84,
            initial_indent="    ",
            subsequent_indent="        ",
        )
    function.__doc__ = "\n".join(lines)


def misuse(
    name: str,
    call: str,
    known: Sequence[str],
    args: Sequence[object],
    given: Iterable[str],
    *,
    instead: Mapping[str, str] | None = None,
) -> SpecError | None:
    """
    Return what is wrong with arguments that are not such keywords; None if all are.

    Args:
        name: What takes the keywords.
        call: How its name is written in a call.
        known: The keywords that it takes.
        args: The positional arguments that it got.
        given: The keywords that it got.
        instead: What to write instead of some keywords that it does not take.
    """
    known_ones = f"its keywords are {', '.join(known)}"
    if args:
        values = ", ".join(safe_repr(value) for value in args)
        why = f"{name} takes no positional arguments, but got {values}; {known_ones}"
        if len(args) == 1 and isinstance(args[0], str):
            return SpecError(why, f"write {call}({known[0]}={values})")
        return SpecError(why, f'write keywords, as in {call}({known[0]}="t1")')
    unknown = [one for one in given if one not in known]
    if not unknown:
        return None
    fixes = []
    for one in unknown:
        near = difflib.get_close_matches(one, known, n=1)
        better = (instead or {}).get(one, f"{near[0]}=" if near else "")
        fixes.append(
            f"write {better} instead of {one}=" if better else f"leave {one}= out"
        )
    why = f"{name} does not take {', '.join(unknown)}; {known_ones}"
    return SpecError(why, "; ".join(fixes))


def taking(
    _constructor: Callable[_Given, object], keywords: Iterable[Keyword]
) -> Callable[
    [Callable[Concatenate[Any, ...], _Value]],
    Callable[Concatenate[Any, _Given], _Value],
]:
    """
    Return a decorator for a method that takes *keywords*, some of *_constructor*'s.

    A type checker sees the parameters of the constructor. `inspect.signature` sees the
    keywords.
    """
    chosen = tuple(keywords)

    def decorate(
        method: Callable[Concatenate[Any, ...], _Value],
    ) -> Callable[Concatenate[Any, _Given], _Value]:
        describe(method, chosen, lambda one: one.box_doc)
        return method

    return decorate


def _literal(value: object) -> str:
    """
    Return *value* as a Python literal, with strings in double quotes.
    """
    if isinstance(value, dict):
        pairs = [f"{_literal(key)}: {_literal(one)}" for key, one in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
