"""
The seccomp filter of this process, and whether it is what refuses a call.

A filter answers a call before the kernel looks at its arguments (seccomp(2)). So wrong
arguments tell them apart: the kernel gives an errno of its own for them, whatever the
capabilities, and nothing changes.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

from pytest_nsisolate.diagnosis import machine
from pytest_nsisolate.diagnosis.throwaway import attempt
from pytest_nsisolate.linux import namespaces, syscalls
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.stdlib import os

#: A bit that unshare(2) never takes: part of the signal in the flags of clone(2).
_NO_FLAG = 0x1

#: A process id that no process can have.
_NO_PID = -1


def is_on() -> bool:
    """
    Say whether a filter is on this process. Source: proc_pid_status(5), Seccomp.
    """
    return machine.status("Seccomp") == "2"


def _unshare(flags: int) -> None:
    syscalls.unshare(flags | _NO_FLAG)


def _setns(flags: int) -> None:
    with Pipe() as pipe:
        syscalls.setns(pipe.read, flags)


def _mount(_: int) -> None:
    syscalls.mount("none", "", None, 0)


def _chroot(_: int) -> None:
    os.chroot("")


def _pidfd_open(_: int) -> None:
    os.pidfd_open(_NO_PID)


#: By the name of a call: a form of it that takes no capability, and the errno that the
#: kernel gives. Sources: unshare(2), setns(2), mount(2), chroot(2), pidfd_open(2).
_HARMLESS: dict[str, tuple[Callable[[int], None], int]] = {
    "unshare": (_unshare, errno.EINVAL),
    "setns": (_setns, errno.EINVAL),
    "mount": (_mount, errno.ENOENT),
    "chroot": (_chroot, errno.ENOENT),
    "pidfd_open": (_pidfd_open, errno.EINVAL),
}


def expected(call: str) -> int:
    """
    Return the errno that the kernel gives for *call* with wrong arguments, 0 if none.
    """
    _, number = _HARMLESS.get(call.partition("(")[0], (_pidfd_open, 0))
    return number


def refuses(call: str, number: int) -> bool | None:
    """
    Say whether a filter refuses *call* with the errno *number*.

    Args:
        call: The call, as in `Refused.call`.
        number: The errno.

    Returns:
        None if nothing shows it.
    """
    kernels = expected(call)
    if kernels in {0, number} or not is_on():
        return None
    harmless, _ = _HARMLESS[call.partition("(")[0]]
    flags = sum(
        one.flag
        for one in namespaces.TABLE
        if one.clone_name in re.findall(r"CLONE_\w+", call)
    )
    # In a process of its own, which a filter may kill.
    answer = attempt(lambda: harmless(flags))
    if answer is None or answer.number not in {number, kernels}:
        return None
    return answer.number == number
