"""
The launcher: a small process that makes sandboxes.

It is small because a fork costs what the forking process weighs. The supervisor starts
it in a bare interpreter (``python -I -S``), and it imports only what costs next to
nothing.

It is two processes. The outer one makes the user namespace,
if one is needed, and waits. The inner one is PID 1 of a PID namespace that holds every
sandbox of the session: when it dies, for whatever reason, all of them and all guests
die. Source: pid_namespaces(7), "The namespace init process".
"""

from __future__ import annotations

import marshal
import os
import select
from _socket import socket

from pytest_nsisolate.launcher import init
from pytest_nsisolate.linux import descriptors, syscalls
from pytest_nsisolate.linux.descriptors import Pipe
from pytest_nsisolate.linux.pid_for_children import PidForChildren

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import NoReturn
else:
    # The module signal imports enum, functools and collections.
    import _signal as signal

#: The values of `UserNamespace`, which imports enum.
NONE, KEPT, ROOT = "none", "kept", "root"

#: The name of the thread that lasts as long as its process.
MAIN = "main"


def main(
    control_fd: str, supervisor: str, user_namespace: str, thread: str, first: str
) -> NoReturn:
    """
    Make sandboxes on request until the supervisor is gone.

    Args:
        control_fd: The number of the socket to the supervisor.
        supervisor: The number of a pidfd of the supervisor.
        user_namespace: `NONE`, `KEPT` or `ROOT`.
        thread: `MAIN` if the main thread of the supervisor has started this process.
        first: The process id of the first process after the init of each sandbox.
    """
    control = socket(fileno=int(control_fd))
    # If pytest ignores it, this process does so too, and could wait for no other.
    # Source: execve(2), wait(2).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if thread == MAIN:
            # It comes when the thread ends that has started this process, and kills it
            # even while it is stopped. Source: prctl(2), PR_SET_PDEATHSIG.
            syscalls.set_parent_death_signal(signal.SIGKILL)
        if user_namespace != NONE:
            enter_user_namespace(user_namespace)
        syscalls.unshare(syscalls.CLONE_NEWPID)
        inner = syscalls.named("fork()", os.fork)
    except OSError as error:
        _refuse_first(control, error)
    if not inner:
        _serve(control, int(supervisor), int(first))
    control.close()
    os.waitpid(inner, 0)
    os._exit(0)


def _serve(control: socket, supervisor: int, first: int) -> NoReturn:
    """
    Make a sandbox for each request on *control* until *supervisor* has ended.
    """
    # Inits keep this: the kernel reaps all orphans that they inherit. Source: wait(2),
    # "Linux notes".
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A test may send signals to PID 1. The kernel ignores those without a handler, but
    # Python's own handler for SIGINT would end init.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        children = PidForChildren()
        # Only a test that going back is possible.
        children.restore()
    except OSError as error:
        _refuse_first(control, error)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    # The socket alone is not enough: a fork that a test left behind holds it open.
    poll.register(supervisor, select.POLLIN)
    own = (control.fileno(), supervisor, children.fileno())
    while all(fd != supervisor for fd, _ in poll.poll()):
        message, fds = descriptors.receive(control, 1)
        if not message:
            break
        for fd in fds:
            answers = init.answers_on(fd)
            request = marshal.loads(message)
            _make(answers, request, first, children, own)
            answers.close()
    os._exit(0)


def _make(
    answers: socket,
    request: init.Request,
    first: int,
    children: PidForChildren,
    own: tuple[int, ...],
) -> None:
    """
    Fork an init for *request*, which answers on the socket *answers* and closes *own*.
    """
    try:
        children.unshare()
        # Nothing is registered for a fork in a bare interpreter. What Python would do
        # in the new process for other threads, which there are not, costs as much as
        # the fork.
        made = syscalls.fork_alone(is_told=False)
    except OSError as error:
        init.tell_refusal(answers, error)
    else:
        if not made:
            init.run(answers, request, first, own)
    children.restore()


def _refuse_first(control: socket, error: OSError) -> NoReturn:
    """
    Answer the first request with *error* and exit.
    """
    _, fds = descriptors.receive(control, 1)
    for fd in fds:
        init.tell_refusal(init.answers_on(fd), error)
    os._exit(1)


def enter_user_namespace(kind: str) -> None:
    """
    Move to a user namespace in which this process may make the others.

    A process that stays outside writes the maps. If it has CAP_SETUID and CAP_SETGID it
    can map all ids, and then a test sees no difference. Without them only the caller's
    own uid and gid can be mapped: its supplementary groups still count, but show as the
    overflow gid.

    Args:
        kind: `KEPT` or `ROOT`.

    Source: user_namespaces(7), "Defining user and group ID mappings".
    """
    pid, inside = os.getpid(), {"uid_map": os.geteuid(), "gid_map": os.getegid()}
    outside = dict(inside)
    if kind == ROOT:
        inside = dict.fromkeys(inside, 0)
    ready = Pipe()
    mapper = syscalls.named("fork()", os.fork)
    if not mapper:
        ready.close_write()
        entered = os.read(ready.read, 1)
        maps_all = entered and kind == KEPT
        os._exit(_map_all(pid) if maps_all else 0)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(ready.write, b"1")
    finally:
        ready.close_write()
        ready.close_read()
        _, status = syscalls.named("waitpid()", os.waitpid, mapper, 0)
    mapped = os.waitstatus_to_exitcode(status)
    if mapped < 0:
        # It was killed, and nobody knows what it has mapped.
        os._exit(1)
    for bit, name in _MAPS.items():
        if mapped & bit:
            continue
        if name == "gid_map":
            # Source: user_namespaces(7), "The /proc/pid/setgroups file".
            _write("/proc/self/setgroups", "deny")
        _write(f"/proc/self/{name}", f"{inside[name]} {outside[name]} 1")


_MAPS = {1: "uid_map", 2: "gid_map"}


def _map_all(pid: int) -> int:
    """
    Map every id to itself in the user namespace of *pid*.

    Returns:
        The maps that could be written, as bits of `_MAPS`.
    """
    done = 0
    for bit, name in _MAPS.items():
        try:
            with open(f"/proc/self/{name}") as file:
                ranges = [line.split() for line in file]
            same = "\n".join(f"{first} {first} {count}" for first, _, count in ranges)
            _write(f"/proc/{pid}/{name}", same)
        except OSError:
            continue
        done |= bit
    return done


def _write(path: str, text: str) -> None:
    # One write(2), since the kernel takes a map in one piece.
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"write({path})") from None
