"""
Leaks: what is left in a sandbox when its test is over, and the words for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from pytest_nsisolate.launcher.audit import (
    GUEST,
    HELPER,
    INIT,
    LAUNCHER,
    OTHER,
    Fact,
    Facts,
)
from pytest_nsisolate.model.errors import errno_name

#: The attribute of a teardown report that lists what its test left, as strings. It
#: travels with the report, also from a process of pytest-xdist.
ATTRIBUTE = "nsisolate_left"

#: The name of the user properties of a report that name the files its test changed.
FILE = "nsisolate_file"

#: How many things of one kind a line names.
_NAMED = 3


class Kind(NamedTuple):
    """
    A kind of thing that a test can leave.
    """

    one: str
    many: str
    name: Callable[[Fact], str]
    """Returns what it is and how much, in a few words."""
    detail: Callable[[Fact], str]
    """Returns what else is known about it."""


def _age(seconds: float | str) -> str:
    seconds = float(seconds)
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"  # noqa: PLR2004


def _key(fact: Fact) -> str:
    # A private object has key 0, IPC_PRIVATE. Source: sysvipc(7).
    key = int(fact[0]) & 0xFFFFFFFF
    return f"key {key:#x}" if key else f"id {fact[1]}"


def _count(number: float | str, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def _starter(fact: Fact) -> str:
    which = {INIT: "an orphan", GUEST: "started by the test"}
    return which.get(str(fact[5]), f"started by process {fact[1]}")


KINDS = {
    "shm": Kind(
        one="SysV shared memory segment",
        many="SysV shared memory segments",
        name=lambda fact: f"{_key(fact)}, {_count(fact[2], 'byte')}",
        detail=lambda fact: f"id {fact[1]}, made by process {fact[4]} of uid {fact[3]}",
    ),
    "sem": Kind(
        one="SysV semaphore set",
        many="SysV semaphore sets",
        name=lambda fact: f"{_key(fact)}, {_count(fact[2], 'semaphore')}",
        detail=lambda fact: f"id {fact[1]}, made by uid {fact[3]}",
    ),
    "msg": Kind(
        one="SysV message queue",
        many="SysV message queues",
        name=lambda fact: f"{_key(fact)}, {_count(fact[2], 'byte')}",
        detail=lambda fact: (
            f"id {fact[1]}, {_count(fact[4], 'message')}, made by uid {fact[3]}"
        ),
    ),
    "queue": Kind(
        one="POSIX message queue",
        many="POSIX message queues",
        name=lambda fact: f"/{fact[0]}",
        detail=lambda fact: f"made by uid {fact[1]}",
    ),
    "file": Kind(
        one="file in /dev/shm",
        many="files in /dev/shm",
        name=lambda fact: f"{fact[0]}, {_count(fact[2], 'byte')}",
        detail=lambda fact: f"of uid {fact[1]}",
    ),
    "mount": Kind(
        one="mount",
        many="mounts",
        name=lambda fact: f"{fact[0]} on {fact[1]}",
        detail=lambda fact: f"{fact[3]} of device {fact[2]}",
    ),
    "process": Kind(
        one="process",
        many="processes",
        name=lambda fact: f"{fact[3]}, {_age(fact[2])}",
        detail=lambda fact: f"process {fact[0]}, {_starter(fact)}",
    ),
}


#: The kind that is no leak: what a test has changed, and is gone with its overlays.
_CHANGE = {
    "change": Kind(
        one="changed file",
        many="changed files",
        name=lambda fact: f"{fact[0]} {fact[1]}",
        detail=lambda _: "in an overlay of its sandbox",
    )
}
_EVERY = {**KINDS, **_CHANGE}


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """
    The things of one kind that a test left.
    """

    kind: str
    """A key of `KINDS`."""
    number: int
    """How many there are."""
    first: tuple[Fact, ...]
    """The facts on the first ones."""

    def __str__(self) -> str:
        kind = _EVERY[self.kind]
        what = kind.one if self.number == 1 else kind.many
        return f"{self.number} {what} ({'; '.join(self.names(_NAMED))})"

    def names(self, most: int | None = None) -> list[str]:
        """
        Return the names of the first ones, at most *most*, and how many more there are.
        """
        names = [_EVERY[self.kind].name(fact) for fact in self.first[:most]]
        if self.number > len(names):
            names.append(f"{self.number - len(names)} more")
        return names

    def details(self) -> list[str]:
        """
        Return an entry for each thing with facts.
        """
        kind = KINDS[self.kind]
        return [f"{kind.name(fact)}: {kind.detail(fact)}" for fact in self.first]


#: Leaks, at most one for each kind.
Leaks: TypeAlias = "tuple[Leak, ...]"


def leaks_in(facts: Facts) -> Leaks:
    """
    Return the things in *facts* that a test left.

    These are no leaks: the guest, helper processes of Python, and launchers, which end
    with what started them.
    """
    found = []
    for kind in KINDS:
        number, first = facts.get(kind, (0, []))
        left = first
        if kind == "process":
            left = [fact for fact in first if fact[4] == OTHER]
        number -= len(first) - len(left)
        if number:
            found.append(Leak(kind, number, tuple(left)))
    return tuple(found)


def changes_in(facts: Facts) -> Leak | None:
    """
    Return the files in *facts* that a test changed, None if there are none.
    """
    number, first = facts.get("change", (0, []))
    return Leak("change", number, tuple(first)) if number else None


def unseen(facts: Facts) -> list[str]:
    """
    Return which kinds could not be looked for, with the path that failed.
    """
    return [
        f"{_EVERY[str(kind)].many}: reading {path} failed: {errno_name(int(number))}"
        for kind, path, number in facts["unseen"][1]
    ]


def sentence(leaks: Leaks) -> str:
    """
    Return *leaks* in one line: ``1 mount (…) and 1 process (…)``.
    """
    *most, last = map(str, leaks)
    return f"{', '.join(most)} and {last}" if most else last


def details(leaks: Leaks) -> list[str]:
    """
    Return all that is known about *leaks*, an entry for each thing.
    """
    return [line for leak in leaks for line in leak.details()]


#: What a process is, if its command does not tell.
_WHAT = {GUEST: "the test: ", HELPER: "Python helper: ", LAUNCHER: "launcher: "}


def process_tree(facts: Facts, activities: Mapping[int, object]) -> list[str]:
    """
    Return a line for each process in *facts*, indented below the one that started it.

    Args:
        facts: What init has found.
        activities: What processes do, by their process ids inside.
    """
    number, first = facts.get("process", (0, []))
    of: dict[int, list[Fact]] = {}
    known = {int(fact[0]) for fact in first}
    for fact in first:
        of.setdefault(int(fact[1]) if fact[1] in known else 1, []).append(fact)
    lines: list[str] = []

    def add(starter: int, depth: int) -> None:
        for pid, _, age, command, kind, _ in of.get(starter, []):
            what = _WHAT.get(str(kind), "")
            does = activities.get(int(pid))
            more = _age(age) if does is None else f"{_age(age)}, {does}"
            lines.append(f"{'  ' * depth}{pid} {what}{command} ({more})")
            add(int(pid), depth + 1)

    add(1, 1)
    if number > len(first):
        lines.append(f"  and {number - len(first)} more")
    return lines
