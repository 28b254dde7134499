"""
What a spec takes and what it does not.
"""

from __future__ import annotations

import dataclasses

import pytest

from pytest_nsisolate.errors import SpecError
from pytest_nsisolate.spec import UTS_NAME_MAX, Spec


def test_default() -> None:
    """
    A spec asks for nothing beyond the namespaces.
    """
    assert dataclasses.asdict(Spec()) == {
        "hostname": None,
        "domainname": None,
        "user": None,
        "proc": None,
    }


def test_frozen_and_equal() -> None:
    """
    Specs are values: equal ones are one key, and none changes.
    """
    assert {Spec(hostname="a"), Spec(hostname="a")} == {Spec(hostname="a")}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec().hostname = "b"  # type: ignore[misc]


def test_by_keyword_only() -> None:
    """
    Nothing is given by position.
    """
    with pytest.raises(TypeError):
        Spec("t1")  # type: ignore[call-arg]


@pytest.mark.parametrize("keyword", ["hostname", "domainname"])
@pytest.mark.parametrize("name", ["a", "x" * 64, "é" * 32, "a b", "\udcff", "-."])
def test_names_that_can_be(keyword: str, name: str) -> None:
    """
    The kernel takes any 1 to 64 bytes, and so does a spec.
    """
    assert getattr(Spec(**{keyword: name}), keyword) == name  # type: ignore[arg-type]


@pytest.mark.parametrize("keyword", ["hostname", "domainname"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "{} is empty"),
        ("x" * 65, "{} has 65 bytes and the kernel takes 64"),
        ("é" * 33, "{} has 66 bytes and the kernel takes 64"),
        ("a\0b", "{}='a\\x00b' has a NUL byte"),
        ("\ud800", "{}='\\ud800' cannot be written in the file system's encoding"),
        (b"t1", "{}=b't1' is of type bytes, not str"),
        (7, "{}=7 is of type int, not str"),
        (False, "{}=False is of type bool, not str"),
    ],
)
def test_names_that_cannot_be(keyword: str, name: object, why: str) -> None:
    """
    A name that the kernel would refuse is refused, with the reason and a way out.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{keyword: name})  # type: ignore[arg-type]
    assert caught.value.why == why.format(keyword)
    assert caught.value.fix == f'write {keyword}="t1", or leave {keyword}= out'


@pytest.mark.parametrize("user", ["bob", "", 0, True, b"root"])
def test_users_that_cannot_be(user: object) -> None:
    """
    The only user to become is root.
    """
    with pytest.raises(SpecError) as caught:
        Spec(user=user)  # type: ignore[arg-type]
    assert caught.value.why == f'user={user!r} is neither "root" nor None'
    assert caught.value.fix == 'write user="root", or leave user= out'


@pytest.mark.parametrize("user", [[], {}, set()])
def test_user_that_cannot_be_hashed(user: object) -> None:
    """
    A value of any type is refused in the same words.
    """
    with pytest.raises(SpecError, match="is neither"):
        Spec(user=user)  # type: ignore[arg-type]


@pytest.mark.parametrize("proc", [None, True, False])
def test_proc_that_can_be(proc: bool | None) -> None:
    """
    A fresh ``/proc`` is asked for, or not, or left to the default.
    """
    assert Spec(proc=proc).proc is proc


@pytest.mark.parametrize("proc", [0, 1, "no", "", [], b"False"])
def test_proc_that_cannot_be(proc: object) -> None:
    """
    Nothing but a truth value says whether there is to be a fresh ``/proc``.
    """
    with pytest.raises(SpecError) as caught:
        Spec(proc=proc)  # type: ignore[arg-type]
    assert caught.value.why == f"proc={proc!r} is neither True, False nor None"
    assert caught.value.fix == "write proc=False, or leave proc= out"


def test_error_is_a_value_error() -> None:
    """
    Who uses a spec outside of pytest may catch a ValueError.
    """
    assert issubclass(SpecError, ValueError)
    assert UTS_NAME_MAX == 64
