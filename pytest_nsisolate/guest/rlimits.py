"""
The resource limits of a test, which its guest sets, and lifts while pytest works.

Only soft limits are lowered, so that the guest can lift them itself while pytest makes
its reports. Processor time is the exception: its hard limit ends a test that ignores
the first signal. Source: setrlimit(2).
"""

from __future__ import annotations

import _thread
import contextlib
import mmap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.linux.stdlib import os, time
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


class Confinement:
    """
    The limits of one test in this process. They take effect with `hold`.

    Args:
        limits: The limits from the marker.

    Raises:
        Unlimited: One of them cannot hold.
    """

    def __init__(self, limits: Iterable[Limit]) -> None:
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
                self._set(self.limits[name], prepare(self.limits[name]))

    def _set(self, limit: Limit, value: int) -> None:
        before = resource.getrlimit(limit.number)
        _check_hard(limit, value, before[1])
        self.values[limit.name] = value
        if limit.name == CPU:
            hard = value + 1 if _is_within(value + 1, before[1]) else before[1]
            resource.setrlimit(limit.number, (value, hard))
        else:
            self._lifted[limit.number] = before
            self._held[limit.number] = (value, before[1])

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


@contextlib.contextmanager
def _trial(limit: Limit, soft: int) -> Iterator[None]:
    before = resource.getrlimit(limit.number)
    _check_hard(limit, soft, before[1])
    resource.setrlimit(limit.number, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit.number, before)


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
            "ulimit -u unlimited, or end processes of this user",
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
