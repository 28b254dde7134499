"""
The process ids that are taken: this process and all that it descends from have them.

A library that wants to know whether it is in a fork compares `os.getpid()` with what it
was before. So a fork must have none of these, although they are free in the sandbox.

The launcher, a bare interpreter, imports this module.
"""

from __future__ import annotations

from pytest_nsisolate.linux.stdlib import os

#: The process that has asked for them last, and its answer. A fork of it adds to them:
#: it may be where the processes above are out of sight.
_known: tuple[int, frozenset[int]] = (0, frozenset())


def taken() -> frozenset[int]:
    """
    Return the process ids of this process and of all above it, in each namespace.
    """
    global _known  # noqa: PLW0603 - read once in each process
    pid = os.getpid()
    if _known[0] != pid:
        _known = pid, _known[1] | {pid, os.getppid()} | _in_proc()
    return _known[1]


def _in_proc() -> set[int]:
    """
    Return what ``/proc`` tells: with hidepid= it may hide the processes of others.

    Source: proc_pid_status(5), PPid and NSpid.
    """
    found: set[int] = set()
    above = "self"
    while above != "0":
        try:
            fd = os.open(f"/proc/{above}/status", os.O_RDONLY | os.O_CLOEXEC)
            status = os.read(fd, 1 << 16)
            os.close(fd)
        except OSError:
            break
        fields = dict(line.partition(b":")[::2] for line in status.splitlines())
        found.update(map(int, fields.get(b"NSpid", b"").split()))
        above = fields.get(b"PPid", b"0").strip().decode()
    return found


def pass_over(number: int, numbers: frozenset[int]) -> int:
    """
    Return the first process id after *number* that is not in *numbers*.
    """
    while (number := number + 1) in numbers:
        pass
    return number


def use_up(last: int, first: int) -> None:
    """
    Make *first* the next process id here, where *last* is the latest one.

    The kernel gives ids in ascending order. A process that cannot execute anything
    takes one, and the C library waits for it. It shares the memory of this process, so
    it is cheap whatever this process weighs. Source: posix_spawn(3).
    """
    for _ in range(last + 1, first):
        try:
            os.posix_spawn("", ["-"], {})
        except OSError:  # noqa: PERF203 - each fails
            continue
