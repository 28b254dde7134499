"""
Keywords of the marker: each is declared once, by a field of the spec.

The marker, the factory of boxes, the options, the request to the launcher, the probe
and the tables in the docs derive from the declaration.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from pytest_nsisolate.model.errors import SpecError

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")

#: Where a field has its `Keyword`.
_DECLARED = "keyword"


class Unfit(Exception):
    """
    A value that a keyword, or an option, does not take.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Check:
    """
    Values that a keyword takes.
    """

    #: What the docs call them.
    takes: str
    #: What ``--help`` calls one of them, where there is an option.
    metavar: str

    def accept(self, keyword: str, value: object) -> object:
        """
        Return what a spec keeps of *value*, which is not None.

        Args:
            keyword: What it is a value of.
            value: The value.

        Raises:
            Unfit: It is none of these values.
        """
        raise NotImplementedError

    def read(self, text: str) -> object:
        """
        Return the value that an option has as *text*.

        Raises:
            Unfit: There is no such value. The reason begins with a verb, for the option
                stands before it.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """
    The option of the command line and the ini file that stands in for a keyword.
    """

    help: str
    """What it is for, as ``--help`` says it."""
    default: object
    """Its value where no one says it."""
    example: str | None = None
    """What to write instead of a bad value; None: the default."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """
    A keyword of the marker. Its default is None.
    """

    check: Check
    """What it takes, but for None."""
    doc: str
    """What it means, in Markdown."""
    example: object
    """A value, for the line ``fix:`` and for the doctor."""
    hint: str = ""
    """What the line ``fix:`` has behind the example."""
    box: bool | str = False
    """Whether a box takes it; a text: what it means there."""
    requested: bool = False
    """Whether the launcher is told."""
    calls: Callable[[Any], object] | None = None
    """What of its value decides which system calls a sandbox takes; None: nothing."""
    option: Option | None = None
    """What stands in for it where no marker says it."""
    name: str = ""
    """That of its field."""
    type: str = ""
    """That of its field, None included."""

    @property
    def written(self) -> str:
        """
        The keyword with its example, as it is written: ``hostname="t1"``.
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
        Return what a spec keeps of *value*.

        Raises:
            SpecError: It cannot be.
        """
        if value is None:
            return None
        try:
            return self.check.accept(self.name, value)
        except Unfit as unfit:
            fix = f"write {self.written}{self.hint}, or leave {self.name}= out"
            raise SpecError(unfit.why, fix) from None


def keyword(**declared: Any) -> Any:  # noqa: ANN401 - a field, of any type
    """
    Return a field of a spec that is a keyword; the arguments are those of `Keyword`.
    """
    return dataclasses.field(default=None, metadata={_DECLARED: Keyword(**declared)})


def keywords_of(kind: type) -> tuple[Keyword, ...]:
    """
    Return the keywords that the fields of *kind*, a dataclass, are.
    """
    return tuple(
        dataclasses.replace(
            field.metadata[_DECLARED], name=field.name, type=str(field.type)
        )
        for field in dataclasses.fields(kind)
    )


def describe(
    function: Callable[..., object],
    keywords: Iterable[Keyword],
    doc: Callable[[Keyword], str] = lambda one: one.doc,
) -> None:
    """
    Give *function* the *keywords* as its signature, and explain them in its docstring.

    Args:
        function: It takes them as ``**keywords``.
        keywords: The keywords.
        doc: Returns what one of them means to the function.
    """
    before = [
        one
        for one in inspect.signature(function).parameters.values()
        if one.kind != inspect.Parameter.VAR_KEYWORD
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


def taking(
    _constructor: Callable[_Given, object], keywords: Iterable[Keyword]
) -> Callable[
    [Callable[Concatenate[Any, ...], _Value]],
    Callable[Concatenate[Any, _Given], _Value],
]:
    """
    Return a decorator of a method that takes *keywords*, some of *_constructor*'s own.

    Those who check types see the parameters of the constructor, and those who ask for
    the signature see the keywords.
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
    Return *value* as a person writes it in Python, strings in double quotes.
    """
    return repr(value) if isinstance(value, int | float) else json.dumps(value)
