"""
The table of namespaces, and what derives from it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

import pytest_nsisolate
from pytest_nsisolate.box.box import Box
from pytest_nsisolate.diagnosis import doctor, explain
from pytest_nsisolate.diagnosis import steps as trial
from pytest_nsisolate.launcher import init
from pytest_nsisolate.linux import namespaces, syscalls
from pytest_nsisolate.linux.namespaces import FORKED, JOINED, OWNER, TABLE, Namespace
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.sandbox.launcher_client import _request
from pytest_nsisolate.sandbox.pool import Pool

PACKAGE = Path(pytest_nsisolate.__file__).parent


def name_of(one: Namespace) -> str:
    """
    Return what a test of *one* is called.
    """
    return one.name


@pytest.mark.parametrize("one", TABLE, ids=name_of)
def test_row(one: Namespace) -> None:
    """
    A row has one bit, a keyword of a spec or none, and the kernel knows its name.
    """
    assert one.flag.bit_count() == 1
    assert one.clone_name.startswith("CLONE_NEW")
    assert re.fullmatch(r"[a-z]+_namespaces\(7\)", one.man_page)
    assert one.entry in {JOINED, FORKED, OWNER}
    assert one.keyword is None or hasattr(Spec(), one.keyword)
    assert os.path.exists(f"/proc/self/ns/{one.name}")


def test_rows_differ() -> None:
    """
    No two rows have a name, a bit or a name of it in common.
    """
    for field in ("name", "flag", "clone_name", "man_page"):
        assert len({getattr(one, field) for one in TABLE}) == len(TABLE)


@pytest.mark.parametrize("one", TABLE, ids=name_of)
def test_bit(one: Namespace) -> None:
    """
    The bits are those of Python, where it knows them.
    """
    if not hasattr(os, one.clone_name):
        pytest.skip("os has the bits since Python 3.12")
    assert getattr(os, one.clone_name) == one.flag


def test_no_name_is_written_twice() -> None:
    """
    No other module of the package has the value of a bit, or the name of a setting.
    """
    for path in PACKAGE.rglob("*.py"):
        if path.stem != "namespaces":
            text = path.read_text()
            found = [one.name for one in TABLE if f"{one.flag:#010x}" in text]
            assert (path.stem, found) == (path.stem, [])


def test_names_of_bits() -> None:
    """
    Bits are shown as in C source, in the order of the table.
    """
    flags = sum(one.flag for one in TABLE)
    assert namespaces.clone_names(flags) == "|".join(one.clone_name for one in TABLE)
    assert namespaces.clone_names(0) == ""
    assert namespaces.PID.flag == syscalls.CLONE_NEWPID


@pytest.mark.parametrize("spec", [Spec(), Spec(net=True)], ids=["bare", "net"])
def test_request(spec: Spec) -> None:
    """
    The request to the launcher names those that the sandbox has, and no others.
    """
    keywords = {name for name, value in dataclasses.asdict(spec).items() if value}
    assert _request(spec)["namespaces"] == [
        one.name
        for one in TABLE
        if one.entry != OWNER and one.keyword in {None, *keywords}
    ]


def test_what_is_set_up_is_in_the_table() -> None:
    """
    Init sets up namespaces that there are, and that it makes itself.
    """
    made = {one.name for one in TABLE if one.entry == JOINED}
    assert {*init._SET_UP} <= made


def test_steps_of_the_doctor() -> None:
    """
    The doctor tries each, and shows how many of each there may be.
    """
    steps = [step.name for step in trial.STEPS if step.group == "namespaces"]
    assert steps == [one.name for one in TABLE]
    assert {*doctor._SETTINGS} >= {one.limit for one in TABLE}


def test_limits_of_a_call() -> None:
    """
    A call is refused for want of one that all have, or of one that it names.
    """
    bare = {one.limit for one in TABLE if one.keyword is None}
    assert {*explain.limits("fork()")} == bare
    for one in TABLE:
        assert {*explain.limits(f"unshare({one.clone_name})")} == bare | {one.limit}


@pytest.mark.parametrize("net", [False, True])
def test_sandbox(net: bool) -> None:
    """
    A sandbox knows its namespaces, and a process inside is in new ones of these kinds.
    """

    def links() -> dict[str, str]:
        """
        Return which namespaces this process is in.
        """
        names = [one.name for one in TABLE]
        return {name: os.readlink(f"/proc/self/ns/{name}") for name in names}

    pool = Pool()
    outside = links()
    with Box(pool, Spec(net=net), name="box") as box:
        inside = box.run(links)
        own = box.namespaces
    pool.stop()

    assert {*own} == {name for name in outside if inside[name] != outside[name]}
    assert own[:4] == ("ipc", "uts", "pid", "mnt")
    assert ("net" in own) is net
