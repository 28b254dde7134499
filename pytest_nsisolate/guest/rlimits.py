"""
The resource limits of a test, which its guest sets, and lifts while pytest works.

Only soft limits are lowered, so that the guest can lift them itself while pytest makes
its reports. Processor time is the exception: its hard limit ends a test that ignores
the first signal. Source: setrlimit(2).
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import math
import mmap
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os, time
from pytest_nsisolate.model.chain import attribute, chain
from pytest_nsisolate.model.ending import Exited, Killed
from pytest_nsisolate.model.errors import Unlimited
from pytest_nsisolate.model.limits import CPU, MEMORY, NOFILE, NPROC, Limit

# Windows lacks this module, and has no guests either.
with contextlib.suppress(ImportError):
    import resource

#: The least memory that a test must have beyond what pytest uses: Python allocates
#: arenas of up to 1 MiB.
_ARENA = 2**20

#: The stack size of a thread that does nothing.
_STACK = 2**18

#: How long to wait until the kernel stops counting a thread, in seconds.
_THREAD_END = 1.0

#: By limit, the flag of ulimit, and the unit that ulimit counts in.
_ULIMIT = {MEMORY: ("-d", 1024), CPU: ("-t", 1), NOFILE: ("-n", 1), NPROC: ("-u", 1)}

#: The part of the limit that must have been used before it is named. The kernel counts
#: clock ticks, which on a busy machine exceed the time that it reports later.
_PART = 0.25

#: The Python names of calls that start a process.
_STARTERS = frozenset({"fork", "forkpty", "fork_exec", "_fork_exec"}) | {
    "posix_spawn",
    "posix_spawnp",
}


class Confinement:
    """
    The limits of one test in this process. They take effect with `hold`.

    Args:
        limits: The limits.
        executes: Whether this process is about to execute a program, which has none of
            the memory and descriptors that pytest uses.

    Raises:
        Unlimited: One of them cannot hold.
    """

    def __init__(self, limits: Iterable[Limit], *, executes: bool = False) -> None:
        self.limits = {limit.name: limit for limit in limits}
        self._holds = False
        #: By resource, the soft and hard limit to set by `hold` and by `lift`.
        self._held: dict[int, tuple[int, int]] = {}
        self._lifted: dict[int, tuple[int, int]] = {}
        #: By name, the value that the kernel gets.
        self.values: dict[str, int] = {}
        # Each is tried before the next one is set, which could make the trial fail.
        for name, prepare in _PREPARE.items():
            if name in self.limits:
                as_it_is = executes and name in {MEMORY, NOFILE}
                choose = _as_it_is if as_it_is else prepare
                self._set(self.limits[name], choose(self.limits[name]))

    def _set(self, limit: Limit, value: int) -> None:
        before = resource.getrlimit(_number(limit))
        _check_hard(limit, value, before[1])
        self.values[limit.name] = value
        if limit.name == CPU:
            hard = value + 1 if _is_within(value + 1, before[1]) else before[1]
            resource.setrlimit(_number(limit), (value, hard))
        else:
            self._lifted[_number(limit)] = before
            self._held[_number(limit)] = (value, before[1])

    def hold(self) -> None:
        """
        Put the limits into effect, as the test last left them.
        """
        self._holds = True
        for number, pair in self._held.items():
            _set_within(number, pair)

    def lift(self) -> None:
        """
        Lift the limits, for the work of pytest itself.
        """
        self._holds = False
        for number, pair in self._lifted.items():
            self._held[number] = resource.getrlimit(number)
            _set_within(number, pair)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """
        Lift the limits for a ``with`` block.
        """
        held = self._holds
        if held:
            self.lift()
        try:
            yield
        finally:
            if held:
                self.hold()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """
        Put the limits into effect for a ``with`` block.
        """
        self.hold()
        try:
            yield
        finally:
            self.lift()

    def reached_by(self, error: BaseException) -> list[str]:
        """
        Return a line on each limit that may have caused *error*.
        """
        if not self.limits:
            return []
        names = {name for one in chain(error) for name in _limits_behind(one)}
        return [
            f"{limit} was reached ({name} is {_in_units(limit, self.values[name])})"
            for name, limit in self.limits.items()
            if name in names
        ]


def why_killed(
    limits: Iterable[Limit], ended: Exited | Killed, used: float, who: str
) -> str | None:
    """
    Say which limit has ended a process; None if none did.

    Args:
        limits: Its limits.
        ended: How it ended.
        used: The processor time that it had used, in seconds.
        who: The process, such as ``its guest``.
    """
    limit = next((one for one in limits if one.name == CPU), None)
    if limit is None or not isinstance(ended, Killed):
        return None
    # SIGKILL comes at the hard limit. Source: setrlimit(2), RLIMIT_CPU.
    seconds: dict[int, int] = {
        signal.SIGXCPU: limit.value,
        signal.SIGKILL: limit.value + 1,
    }
    if used < seconds.get(ended.number, math.inf) * _PART:
        return None
    return (
        f"at {limit} the kernel sends this signal ({CPU} is {limit.value}, its hard "
        f"limit {limit.value + 1}), and {who} had used {used:.1f} s"
    )


def _in_units(limit: Limit, value: int) -> str:
    if limit.name == MEMORY:
        return f"{value} bytes"
    if limit.name == NPROC and value != limit.value:
        others = value - limit.value
        return f"{value}, {others} of them for others in the user namespace"
    return str(value)


def _limits_behind(error: BaseException) -> set[str]:
    """
    Return the names of the limits that may have caused *error*.
    """
    if isinstance(error, MemoryError):
        return {MEMORY}
    if isinstance(error, RuntimeError) and "new thread" in str(error):
        return {NPROC}
    match attribute(error, "errno"):
        case errno.ENOMEM:
            return {MEMORY}
        case errno.EMFILE:
            return {NOFILE}
        case errno.EAGAIN if _was_starting(error):
            return {NPROC}
    return set()


def _was_starting(error: BaseException) -> bool:
    """
    Say whether *error* comes from starting a process: EAGAIN has many sources.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not _STARTERS.isdisjoint(
        trace.tb_frame.f_code.co_names
    )


def _set_within(number: int, pair: tuple[int, int]) -> None:
    """
    Set the soft limit in *pair*, capped at the hard limit: a test may have lowered it.
    """
    soft, hard = pair[0], resource.getrlimit(number)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(number, (soft if _is_within(soft, hard) else hard, hard))


def _is_within(value: int, hard: int) -> bool:
    return hard == resource.RLIM_INFINITY or 0 <= value <= hard


def _check_hard(limit: Limit, value: int, hard: int) -> None:
    if _is_within(value, hard):
        return
    flag, unit = _ULIMIT[limit.name]
    needed = -(-value // unit)
    raise Unlimited(
        f"{limit} cannot be set",
        f"{limit.name} would be {value}, above its hard limit of {hard}",
        f"write a lower limit, or run ulimit {flag} {needed} as root before pytest",
    )


def _number(limit: Limit) -> int:
    """
    Return the kernel's number for *limit*.
    """
    return int(getattr(resource, limit.name))


@contextlib.contextmanager
def _trial(limit: Limit, soft: int) -> Iterator[None]:
    before = resource.getrlimit(_number(limit))
    _check_hard(limit, soft, before[1])
    resource.setrlimit(_number(limit), (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(_number(limit), before)


def _as_it_is(limit: Limit) -> int:
    return limit.value


def _prepare_memory(limit: Limit) -> int:
    # The kernel treats 0 as the hard limit: mm/vma.c, may_expand_vm().
    with _trial(limit, mmap.PAGESIZE):
        ignored = _has_memory(mmap.PAGESIZE)
    if ignored:
        raise Unlimited(
            f"{limit} does not hold",
            f"the guest still got memory with RLIMIT_DATA at {mmap.PAGESIZE}",
            "boot Linux 4.7 or later without ignore_rlimit_data, or leave memory= out",
        )
    with _trial(limit, limit.value):
        is_enough = _has_memory(_ARENA)
    if not is_enough:
        used = _memory_in_use()
        raise Unlimited(
            f"{limit} is not enough",
            f"the guest is a fork of pytest and already uses {used} MiB (VmData in "
            "/proc/self/status)",
            f'write memory="{used + 16}M" or more',
        )
    return limit.value


def _has_memory(size: int) -> bool:
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def _memory_in_use() -> int:
    """
    Return how much memory of this process counts, in MiB, rounded up.

    The kernel compares VmData with the limit. Source: proc_pid_status(5).
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return -(-int(line.split()[1]) // 1024)
    return -(-resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _prepare_nofile(limit: Limit) -> int:
    # open() returns the lowest free descriptor. Source: open(2).
    free = os.open("/", os.O_PATH | os.O_CLOEXEC)
    os.close(free)
    if free >= limit.value:
        raise Unlimited(
            f"{limit} is not enough",
            f"the guest is a fork of pytest, and its lowest free descriptor is {free}",
            f"write nofile={free + 16} or more",
        )
    return limit.value


def _prepare_nproc(limit: Limit) -> int:
    """
    Return the RLIMIT_NPROC that allows the test *limit* processes, the guest included.

    The kernel also counts other processes of the user: those between, and inits. Their
    number shows only by trying which limit allows one more thread.
    """
    if not _can_start_thread():
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        raise Unlimited(
            f"{limit} cannot be set",
            "the guest cannot start a thread even without this limit (RLIMIT_NPROC is "
            f"{soft})",
            "sudo prlimit --nproc=unlimited --pid $$, or end processes of this user",
        )
    others = -1
    started = False
    while not started:
        others += 1
        with _trial(limit, others + 1):
            started = _can_start_thread()
    if not others:
        # This process alone counts as one, so the thread exceeded the limit.
        raise Unlimited(
            f"{limit} does not hold",
            f"the guest still started a thread with RLIMIT_NPROC at 1: {_privilege()}",
            "run pytest as a user other than root without capabilities, as with "
            "setpriv --reuid=1000 --regid=1000 --clear-groups, or leave nproc= out",
        )
    return others - 1 + limit.value


def _privilege() -> str:
    """
    Return the reason why RLIMIT_NPROC does not apply to this process.

    Source: setrlimit(2), RLIMIT_NPROC: not enforced for processes that have
    CAP_SYS_ADMIN or CAP_SYS_RESOURCE, or run with real user ID 0.
    """
    return (
        "the kernel exempts root and holders of CAP_SYS_ADMIN or CAP_SYS_RESOURCE "
        f"(uid is {os.getuid()}, CapEff {syscalls.capabilities()[0]:016x})"
    )


def _can_start_thread() -> bool:
    """
    Start a thread, if the kernel allows it, and wait until it no longer counts.
    """
    # The C library keeps the stack, which then counts as memory of this process, so it
    # is small.
    size = _thread.stack_size(_STACK)
    before = _threads()
    try:
        _thread.start_new_thread(int, ())
    except RuntimeError:
        return False
    finally:
        _thread.stack_size(size)
    until = time.monotonic() + _THREAD_END
    while _threads() > before and time.monotonic() < until:
        time.sleep(0.0001)
    return True


def _threads() -> int:
    """
    Return how many threads this process has; 0 without a readable /proc.

    The kernel removes a thread from this list after it has stopped counting it.
    """
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


#: In the order in which the limits are set: a thread needs memory.
_PREPARE: dict[str, Callable[[Limit], int]] = {
    NPROC: _prepare_nproc,
    MEMORY: _prepare_memory,
    NOFILE: _prepare_nofile,
    CPU: _as_it_is,
}
