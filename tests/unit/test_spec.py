"""
Values that a spec accepts and refuses.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

from pytest_nsisolate.model.checks import UTS_NAME_MAX
from pytest_nsisolate.model.errors import SpecError
from pytest_nsisolate.model.spec import Spec


def test_default() -> None:
    """
    A spec without arguments sets none of the keywords.
    """
    assert dataclasses.asdict(Spec()) == {
        "hostname": None,
        "domainname": None,
        "user": None,
        "proc": None,
        "memory": None,
        "cpu": None,
        "nofile": None,
        "nproc": None,
        "tmpfs": None,
        "overlay": None,
        "overlay_size": None,
        "readonly": None,
        "files": None,
        "env": None,
        "clear_env": None,
        "timeout": None,
        "leaks": None,
        "net": None,
        "cgroup": None,
        "time": None,
        "scope": None,
        "fork": None,
        "alone": None,
        "group": None,
    }


def test_frozen_and_equal() -> None:
    """
    Equal specs are the same dictionary key, and none can be changed.
    """
    assert {Spec(hostname="a"), Spec(hostname="a")} == {Spec(hostname="a")}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec().hostname = "b"  # type: ignore[misc]


def test_by_keyword_only() -> None:
    """
    A spec takes no positional arguments.
    """
    with pytest.raises(TypeError):
        Spec("t1")  # type: ignore[call-arg]


@pytest.mark.parametrize("keyword", ["hostname", "domainname"])
@pytest.mark.parametrize("name", ["a", "x" * 64, "é" * 32, "a b", "\udcff", "-."])
def test_names_that_can_be(keyword: str, name: str) -> None:
    """
    A name may be any 1 to 64 bytes, as the kernel allows.
    """
    assert getattr(Spec(**{keyword: name}), keyword) == name  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, 0.5, 5, 2_000_000])
def test_time_limits_that_can_be(seconds: float) -> None:
    """
    A time limit is any number of seconds that poll(2) can wait.
    """
    assert Spec(timeout=seconds).timeout == seconds


@pytest.mark.parametrize(
    ("seconds", "why"),
    [
        ("5", "timeout='5' is of type str, not float"),
        (True, "timeout=True is of type bool, not float"),
        (-1, "timeout=-1 is not a number of seconds from 0 to 2147483"),
        (float("nan"), "timeout=nan is not a number of seconds from 0 to 2147483"),
        (float("inf"), "timeout=inf is not a number of seconds from 0 to 2147483"),
        (2**31, "timeout=2147483648 is not a number of seconds from 0 to 2147483"),
    ],
)
def test_time_limits_that_cannot_be(seconds: float, why: str) -> None:
    """
    Any other time limit is refused, with the reason and a fix.
    """
    with pytest.raises(SpecError) as caught:
        Spec(timeout=seconds)
    assert caught.value.why == why
    assert caught.value.fix == "write timeout=5, or leave timeout= out"


@pytest.mark.parametrize("policy", ["", "loud", 1, True])
def test_leak_policies_that_cannot_be(policy: str) -> None:
    """
    An unknown leak policy is refused, and the known ones are listed.
    """
    with pytest.raises(SpecError) as caught:
        Spec(leaks=policy)  # type: ignore[arg-type]
    known = '"ignore", "warn", "fail"'
    assert caught.value.why == f"leaks={policy!r} is not one of {known}"
    assert caught.value.fix == 'write leaks="fail", or leave leaks= out'
    assert str(caught.value) == f"{caught.value.why}\nfix: {caught.value.fix}"


@pytest.mark.parametrize("keyword", ["hostname", "domainname"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "{} is empty"),
        ("x" * 65, "{} has 65 bytes, but the kernel allows 64"),
        ("é" * 33, "{} has 66 bytes, but the kernel allows 64"),
        ("a\0b", "{}='a\\x00b' contains a NUL byte"),
        ("\ud800", "{}='\\ud800' cannot be written in the file system's encoding"),
        (b"t1", "{}=b't1' is of type bytes, not str"),
        (7, "{}=7 is of type int, not str"),
        (False, "{}=False is of type bool, not str"),
    ],
)
def test_names_that_cannot_be(keyword: str, name: object, why: str) -> None:
    """
    A name that the kernel would refuse is refused, with the reason and a fix.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{keyword: name})  # type: ignore[arg-type]
    assert caught.value.why == why.format(keyword)
    assert caught.value.fix == f'write {keyword}="t1", or leave {keyword}= out'


@pytest.mark.parametrize("user", ["bob", "", 0, True, b"root"])
def test_users_that_cannot_be(user: object) -> None:
    """
    The only user accepted is root.
    """
    with pytest.raises(SpecError) as caught:
        Spec(user=user)  # type: ignore[arg-type]
    assert caught.value.why == f'user={user!r} is neither "root" nor None'
    assert caught.value.fix == 'write user="root", or leave user= out'


@pytest.mark.parametrize("user", [[], {}, set()])
def test_user_that_cannot_be_hashed(user: object) -> None:
    """
    A value that cannot be hashed is refused in the same words.
    """
    with pytest.raises(SpecError, match="is neither"):
        Spec(user=user)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keyword", "value", "meant"),
    [
        ("tmpfs", "/var/tmp", '["/var/tmp"]'),
        ("tmpfs", Path("/srv"), '["/srv"]'),
        ("tmpfs", {"/srv"}, '["/srv"]'),
        ("tmpfs", [b"/srv"], '["/srv"]'),
        ("tmpfs", ["srv", "/var/tmp"], '["/srv", "/var/tmp"]'),
        ("tmpfs", ["/srv/../var"], '["/var"]'),
        ("tmpfs", ["/srv", "/proc"], '["/srv"]'),
        ("tmpfs", ["/srv", ""], '["/srv"]'),
        ("overlay", "etc", '["etc"]'),
        ("overlay", ["./../etc", "/dev", "/dev/shm"], '["etc", "/dev"]'),
        ("overlay", ["..", "/"], '[".", "/"]'),
        ("readonly", {"/etc"}, '["/etc"]'),
        ("readonly", True, '["/etc"]'),
        ("overlay_size", "64m ", '"64M"'),
        ("hostname", b"db", '"db"'),
        ("domainname", b"lab", '"lab"'),
        ("timeout", "60", "60"),
        ("timeout", " 1.5 ", "1.5"),
        ("cpu", "3", "3"),
        ("cpu", "0.5", "0.5"),
        ("nofile", "100", "100"),
        ("nofile", 100.0, "100"),
        ("memory", "256MB", '"256M"'),
        ("memory", "2 GiB", '"2G"'),
        ("memory", 1048576.0, "1048576"),
        ("env", {"PORT": 5432, "HOME": None}, '{"PORT": "5432", "HOME": None}'),
        ("env", {"DIR": Path("/srv")}, '{"DIR": "/srv"}'),
        ("env", ["PORT=5432", "A=b=c"], '{"PORT": "5432", "A": "b=c"}'),
        ("leaks", "Warn", '"warn"'),
        ("scope", "modul", '"module"'),
        ("scope", "Session", '"session"'),
        ("user", "Root", '"root"'),
        ("time", 3600, '{"monotonic": 3600}'),
        ("time", -0.5, '{"monotonic": -0.5}'),
    ],
)
def test_what_was_meant(keyword: str, value: object, meant: str) -> None:
    """
    If it is clear what a wrong value means, the fix writes that, and it is valid.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{keyword: value})  # type: ignore[arg-type]
    assert caught.value.fix == f"write {keyword}={meant}, or leave {keyword}= out"
    assert Spec(**{keyword: ast.literal_eval(meant)}) != Spec()


@pytest.mark.parametrize("tmpfs", [["/dev/shm"], "/proc", ["/"], ["/dev", "/proc"]])
def test_what_is_fresh_already(tmpfs: object) -> None:
    """
    Where nothing is left to write, the fix is to leave the keyword out.
    """
    with pytest.raises(SpecError) as caught:
        Spec(tmpfs=tmpfs)  # type: ignore[arg-type]
    assert caught.value.fix == "leave tmpfs= out"


@pytest.mark.parametrize("proc", [None, True, False])
def test_proc_that_can_be(proc: bool | None) -> None:
    """
    ``proc=`` accepts None, True and False.
    """
    assert Spec(proc=proc).proc is proc


@pytest.mark.parametrize("proc", [0, 1, "no", "", [], b"False"])
def test_proc_that_cannot_be(proc: object) -> None:
    """
    ``proc=`` accepts nothing but None, True and False.
    """
    with pytest.raises(SpecError) as caught:
        Spec(proc=proc)  # type: ignore[arg-type]
    assert caught.value.why == f"proc={proc!r} is not True, False or None"
    assert caught.value.fix == "write proc=False, or leave proc= out"


@pytest.mark.parametrize("value", [0, 1, "yes", "", [], "lo"])
@pytest.mark.parametrize("name", ["net", "cgroup"])
def test_switch_that_cannot_be(name: str, value: object) -> None:
    """
    A switch accepts nothing but None, True and False.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{name: value})  # type: ignore[arg-type]
    assert caught.value.why == f"{name}={value!r} is not True, False or None"
    assert caught.value.fix == f"write {name}=True, or leave {name}= out"


def test_error_is_a_value_error() -> None:
    """
    Code that uses specs without pytest can catch a ValueError.
    """
    assert issubclass(SpecError, ValueError)
    assert UTS_NAME_MAX == 64


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        ("1K", 2**10),
        ("512M", 2**29),
        ("2g", 2**31),
        ("3MiB", 3 * 2**20),
        ("007kib", 7 * 2**10),
        (4096, 4096),
    ],
)
def test_memory_that_can_be(memory: str | int, size: int) -> None:
    """
    Memory is a number with a binary suffix in either case, or a number of bytes.
    """
    (limit,) = Spec(memory=memory).limits()
    assert (limit.name, limit.value) == ("RLIMIT_DATA", size)
    assert str(limit) == f"memory={memory} of the marker"


def test_limits_as_the_kernel_has_them() -> None:
    """
    Seconds are rounded up to whole ones, and None sets no limit.
    """
    limits = Spec(cpu=1.1, nofile=64, nproc=20).limits()
    assert {limit.name: limit.value for limit in limits} == {
        "RLIMIT_CPU": 2,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_NPROC": 20,
    }
    assert Spec().limits() == ()


FIXES = {
    "memory": 'write memory="512M" (or K, G), or leave memory= out',
    "cpu": "write cpu=2, in seconds, or leave cpu= out",
    "nofile": "write nofile=64, or leave nofile= out",
    "nproc": "write nproc=20, or leave nproc= out",
}


@pytest.mark.parametrize(
    ("keyword", "value", "why"),
    [
        ("memory", "512", "memory='512' is not a number followed by K, M or G"),
        ("memory", "1.5G", "memory='1.5G' is not a number followed by K, M or G"),
        ("memory", "٣M", "memory='٣M' is not a number followed by K, M or G"),
        ("memory", "", "memory='' is not a number followed by K, M or G"),
        ("memory", "0M", "memory='0M' is not greater than 0"),
        ("memory", "9" * 5000 + "K", f"memory is more than {2**62}"),
        ("memory", 1.5, "memory=1.5 is of type float, not str or int"),
        ("memory", True, "memory=True is of type bool, not str or int"),
        ("cpu", b"2", "cpu=b'2' is of type bytes, not int or float"),
        ("cpu", 0, "cpu=0 is not greater than 0"),
        ("cpu", float("nan"), "cpu=nan is not greater than 0"),
        ("cpu", float("inf"), f"cpu is more than {2**62}"),
        ("nofile", -1, "nofile=-1 is not greater than 0"),
        ("nofile", 64.0, "nofile=64.0 is of type float, not int"),
        ("nproc", 2**63, f"nproc is more than {2**62}"),
        ("nproc", [], "nproc=[] is of type list, not int"),
    ],
)
def test_limits_that_cannot_be(keyword: str, value: object, why: str) -> None:
    """
    A value that is not a valid amount is refused, with the reason and a fix.
    """
    with pytest.raises(SpecError) as caught:
        Spec(**{keyword: value})  # type: ignore[arg-type]
    assert caught.value.why == why
    assert caught.value.fix == FIXES[keyword]
