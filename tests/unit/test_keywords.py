"""
Keywords of the marker: each is declared once, and the rest derives from that.
"""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.model.keywords import Keyword
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.runner.sandbox_factory import SandboxFactory
from pytest_nsisolate.sandbox.launcher_client import Paths, _request
from pytest_nsisolate.settings import options

NAMES = [one.name for one in KEYWORDS]


def name_of(one: Keyword) -> str:
    """
    Return the parameter id for *one*.
    """
    return one.name


def with_example(one: Keyword) -> Spec:
    """
    Return a spec that sets *one* alone, to its example.
    """
    return Spec(**{one.name: one.example})  # type: ignore[arg-type]


def test_each_field_is_a_keyword() -> None:
    """
    The fields of a spec are the keywords in order, and each defaults to None.
    """
    fields = dataclasses.fields(Spec)
    assert [field.name for field in fields] == NAMES
    assert {field.default for field in fields} == {None}


def test_marker(pytester: pytest.Pytester) -> None:
    """
    ``--markers`` names every keyword of the marker and of its synonym.
    """
    result = pytester.runpytest("--markers")

    takes = f"({', '.join(f'{one}=None' for one in NAMES)}): "
    lines = result.stdout.str()
    assert f"@pytest.mark.isolated{takes}" in lines
    assert f"@pytest.mark.nsisolated{takes}" in lines


def test_factory() -> None:
    """
    A box takes the keywords declared for boxes, and the factory documents each.
    """
    call = SandboxFactory.__call__
    taken = [one.name for one in KEYWORDS if one.box]
    assert list(inspect.signature(call).parameters) == ["self", *taken]
    explained = re.findall(r"^    (\w+): ", call.__doc__ or "", re.MULTILINE)
    assert explained == taken


@pytest.mark.parametrize("one", KEYWORDS, ids=name_of)
def test_example(one: Keyword) -> None:
    """
    The example is a valid value and differs from the default.
    """
    assert with_example(one) != Spec()
    assert one.written.startswith(f"{one.name}=")


@pytest.mark.parametrize("one", KEYWORDS, ids=name_of)
def test_a_value_that_cannot_be(one: Keyword) -> None:
    """
    A value of an unknown type is refused, and the fix shows the example.
    """
    with pytest.raises(ValueError, match=f"write {one.name}=") as caught:
        Spec(**{one.name: object()})  # type: ignore[arg-type]
    assert caught.value.args[1].startswith(f"write {one.written}")
    assert caught.value.args[1].endswith(f", or leave {one.name}= out")


@pytest.mark.parametrize("one", KEYWORDS, ids=name_of)
def test_calls(one: Keyword) -> None:
    """
    Keywords declared with calls of their own are probed separately.
    """
    assert (with_example(one).calls() != Spec().calls()) is bool(one.calls)
    assert (one.written in doctor.SPECS) is bool(one.calls)


def test_request() -> None:
    """
    The request holds the namespaces and the keywords declared for the launcher.
    """
    requested = [one.name for one in KEYWORDS if one.requested]
    assert list(_request(Spec())) == ["namespaces", *Paths._fields, *requested]


@pytest.mark.parametrize(
    "one", [one for one in KEYWORDS if one.option is not None], ids=name_of
)
def test_option(pytester: pytest.Pytester, one: Keyword) -> None:
    """
    An option is named after its keyword and reads values of that keyword.
    """
    assert one.option is not None
    text = str(one.option.example or one.option.default)
    name = f"nsisolate_{one.name}"
    bare = pytester.parseconfig()
    pytester.makeini(f"[pytest]\n{name} = {text}")
    for arguments in ([], [f"--{name.replace('_', '-')}={text}"]):
        config = pytester.parseconfig(*arguments)
        read = getattr(options.Options.of(config).defaults, one.name)
        assert read == one.check.accept(one.name, one.check.read(text))
    assert getattr(options.Options.of(bare).defaults, one.name) == one.option.default


def test_what_has_no_option() -> None:
    """
    Only these keywords have options.
    """
    assert {one.name for one in KEYWORDS if one.option is not None} == {
        "timeout",
        "leaks",
        "files",
        "overlay",
        "readonly",
        "scope",
    }
