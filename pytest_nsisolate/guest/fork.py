"""
The fork of a process into a sandbox.
"""

from __future__ import annotations

from typing import TypeVar

from pytest_nsisolate.guest import absent
from pytest_nsisolate.guest.channel import Reader
from pytest_nsisolate.guest.entry import Entry, InGuest
from pytest_nsisolate.guest.handle import Guest
from pytest_nsisolate.guest.messages import OF_GUEST, Grammar
from pytest_nsisolate.guest.process import GuestProcess
from pytest_nsisolate.linux import ancestry
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.signals import Blocked
from pytest_nsisolate.linux.stdlib import os
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

_M = TypeVar("_M")


def fork_guest(sandbox: Sandbox) -> Guest:
    """
    Fork a guest into *sandbox*, where it waits to be released.

    Args:
        sandbox: The sandbox to enter. The guest owns it from here on.

    Raises:
        InGuest: In the guest.
        Refused: The supervisor could not fork.
        LauncherGone: The sandbox is dead.
    """
    try:
        with absent.at_the_fork() as threads:
            process = fork_into(sandbox, OF_GUEST, confined=is_confined(sandbox))
    except InGuest:
        absent.leave_behind(threads)
        # The supervisor ends the sandbox. A guest only closes its descriptors.
        sandbox.close_inherited()
        raise
    except BaseException:
        sandbox.close()
        raise
    return Guest(sandbox=sandbox, process=process, absent=tuple(threads))


def fork_into(
    sandbox: Sandbox, grammar: Grammar[_M], *, confined: bool = False
) -> GuestProcess[_M]:
    """
    Fork a process into *sandbox*, which sends messages of *grammar* from there.

    Args:
        sandbox: The sandbox to enter.
        grammar: What the process may say.
        confined: Whether it may send signals only to itself and to what it starts.

    Raises:
        InGuest: In that process, where all signals are blocked.
        Refused: This process could not fork.
        LauncherGone: The sandbox is dead.
    """
    with Blocked() as signals:
        try:
            process = _fork(sandbox, grammar, signals, confined=confined)
        except OSError as error:
            refused = Refused.from_os_error(error, "fork()")
            raise sandbox.classify(refused) from None
        try:
            # A Ctrl-C that arrived in the meantime raises here.
            signals.restore()
        except BaseException:
            process.kill()
            process.reap()
            raise
    return process


def _fork(
    sandbox: Sandbox, grammar: Grammar[_M], signals: Blocked, *, confined: bool
) -> GuestProcess[_M]:
    with Pipe() as channel, Pipe() as gate:
        for fd in (channel.read, gate.write):
            os.set_blocking(fd, False)
        taken = ancestry.taken()
        entry = Entry(sandbox, channel.write, gate.read, signals, taken, confined)
        try:
            pid, status = entry.fork()
        except InGuest:
            channel.take_write()
            gate.take_read()
            raise
        inlet = Reader(channel.take_read(), grammar)
        return GuestProcess.of(pid, status, inlet, gate.take_write())


def is_confined(sandbox: Sandbox) -> bool:
    """
    Say whether a guest in *sandbox* is to be kept from process 1, as this process is.

    Besides init there are only its own processes inside, unless it is lent the sandbox.
    """
    if sandbox.lent or sandbox.user_namespace is UserNamespace.ROOT:
        return False
    try:
        os.kill(1, 0)
    except PermissionError:
        return True
    return False
