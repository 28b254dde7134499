"""
The table of namespaces and what derives from it.
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
    Return the parameter id for *one*.
    """
    return one.name


@pytest.mark.parametrize("one", TABLE, ids=name_of)
def test_row(one: Namespace) -> None:
    """
    A row has one bit, a valid keyword or none, and a name that the kernel knows.
    """
    assert one.flag.bit_count() == 1
    assert one.clone_name.startswith("CLONE_NEW")
    assert re.fullmatch(r"[a-z]+_namespaces\(7\)", one.man_page)
    assert one.entry in {JOINED, FORKED, OWNER}
    assert one.keyword is None or hasattr(Spec(), one.keyword)
    assert os.path.exists(f"/proc/self/ns/{one.name}")


def test_rows_differ() -> None:
    """
    No two rows share a name, a bit, the name of a bit or a man page.
    """
    for field in ("name", "flag", "clone_name", "man_page"):
        assert len({getattr(one, field) for one in TABLE}) == len(TABLE)


@pytest.mark.parametrize("one", TABLE, ids=name_of)
def test_bit(one: Namespace) -> None:
    """
    The bits are the same as Python's, where Python has them.
    """
    if not hasattr(os, one.clone_name):
        pytest.skip("os has the bits since Python 3.12")
    assert getattr(os, one.clone_name) == one.flag


def test_no_bit_is_written_twice() -> None:
    """
    No other module of the package contains the value of a bit.
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


@pytest.mark.parametrize(
    "spec",
    [Spec(), Spec(net=True), Spec(cgroup=True), Spec(time=True)],
    ids=["bare", "net", "cgroup", "time"],
)
def test_request(spec: Spec) -> None:
    """
    The request to the launcher names exactly the sandbox's namespaces.
    """
    keywords = {name for name, value in dataclasses.asdict(spec).items() if value}
    assert _request(spec)["namespaces"] == [
        one.name
        for one in TABLE
        if one.entry != OWNER and one.keyword in {None, *keywords}
    ]


def test_what_is_set_up_is_in_the_table() -> None:
    """
    Init sets up only namespaces of the table that it creates itself.
    """
    made = {one.name for one in TABLE if one.entry == JOINED}
    assert {*init._SET_UP} <= made


def test_steps_of_the_doctor() -> None:
    """
    The doctor tries each namespace and shows the limit on each.
    """
    steps = [step.name for step in trial.STEPS if step.group == "namespaces"]
    assert steps == [one.name for one in TABLE]
    assert {*doctor._SETTINGS} >= {one.limit for one in TABLE}


def test_limits_of_a_call() -> None:
    """
    A call can fail at the limits of the usual namespaces and of those that it names.
    """
    bare = {one.limit for one in TABLE if one.keyword is None}
    assert {*explain.limits("fork()")} == bare
    for one in TABLE:
        assert {*explain.limits(f"unshare({one.clone_name})")} == bare | {one.limit}


@pytest.mark.parametrize("net", [False, True])
def test_sandbox(net: bool) -> None:
    """
    A sandbox lists exactly the namespaces that are new to a process inside.
    """

    def links() -> dict[str, str]:
        """
        Return the namespaces that this process is in.
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
