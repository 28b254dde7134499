"""
The supervisor's side of launchers, from which it gets its sandboxes.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import functools
import sys
import threading
from collections.abc import Callable
from marshal import dumps, loads
from pathlib import Path

# Bound here: a fixture may forbid tests to start processes by patching the module.
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import NamedTuple, cast

import pytest_nsisolate
from pytest_nsisolate.launcher import main as launcher
from pytest_nsisolate.launcher.init import DESCRIPTORS
from pytest_nsisolate.linux import (
    ancestry,
    capabilities,
    descriptors,
    namespaces,
    syscalls,
)
from pytest_nsisolate.linux.descriptors import readable
from pytest_nsisolate.linux.namespaces import Namespace
from pytest_nsisolate.linux.pid_for_children import PidForChildren
from pytest_nsisolate.linux.stdlib import EXECUTABLE, os
from pytest_nsisolate.model.checks import Clocks
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import ANSWER_TIMEOUT, LauncherGone, Sandbox

_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from pytest_nsisolate.launcher.main import main; main(*sys.argv[2:])"
    # Into what names it, the debugger of PyCharm does not add itself.
    "  # no pydevd"
)


class Paths(NamedTuple):
    """
    The paths of a session that matter where directories are not the host's.
    """

    kept: tuple[str, ...] = ()
    """What stays the host's, whatever a spec says of what is above it."""
    written: tuple[str, ...] = ()
    """What tests mostly write to, as the rootdir."""


_NO_PATHS = Paths()


def user_namespace_for(spec: Spec) -> UserNamespace:
    """
    Return the kind of user namespace that this process needs for a sandbox for *spec*.

    Raises:
        Refused: There is no way to find out.
    """
    is_same_user = spec.user is None or os.geteuid() == 0
    if is_same_user and _may_return() and not _lacking(spec):
        return UserNamespace.NONE
    return UserNamespace.KEPT if spec.user is None else UserNamespace.ROOT


def lacking(spec: Spec) -> tuple[str, ...]:
    """
    Return the capabilities without which a sandbox for *spec* needs a user namespace.

    CAP_SYS_ADMIN is not among them: no sandbox does without it.
    """
    try:
        return _lacking(spec)
    except Refused:
        # It is only for the text of another refusal.
        return ()


def _lacking(spec: Spec) -> tuple[str, ...]:
    # A spec has made clocks of what was given.
    clocks = cast("Clocks | None", spec.time)
    is_shifted = any(offset for _, offset in clocks or ())
    kinds = [
        one
        for one in _namespaces_of(spec)
        # Only to shift its clocks takes a capability. Source: time_namespaces(7).
        if one is not namespaces.TIME or is_shifted
    ]
    try:
        return capabilities.lacking(kinds)
    except OSError as error:
        raise Refused.from_os_error(error) from None


def _may_return() -> bool:
    """
    Return whether this process could come back from another PID namespace.

    It tries to enter its own. That takes CAP_SYS_ADMIN in the user namespace that owns
    its PID namespace, and with it a process may make all the others. Root in a user
    namespace may have it in that one only.

    Source: setns(2), "PID namespaces".
    """
    try:
        children = PidForChildren()
    except OSError as error:
        raise Refused.from_os_error(error) from None
    try:
        children.restore()
    except OSError:
        return False
    else:
        return True
    finally:
        children.close()


class Launcher:
    """
    The supervisor's handle on a launcher process.

    There may be one open request, so that the next sandbox can be made while a guest
    runs in this one.

    Args:
        user_namespace: The one for its sandboxes: see `user_namespace_for`.
        paths: Returns the paths of the session, as for `Pool`.

    Raises:
        Refused: The process could not be started.
    """

    def __init__(
        self,
        user_namespace: UserNamespace,
        paths: Callable[[], Paths] = Paths,
    ) -> None:
        self.user_namespace = user_namespace
        self._paths = paths
        self._asked: dict[str, object] | None = None
        #: The socket on which its init will answer.
        self._answers: _socket.socket | None = None
        with contextlib.ExitStack() as stack:
            try:
                ours, theirs = descriptors.socketpair()
                unused = stack.enter_context(contextlib.ExitStack())
                unused.callback(ours.close)
                stack.callback(theirs.close)
                supervisor = syscalls.named("pidfd_open()", os.pidfd_open, os.getpid())
                stack.callback(os.close, supervisor)
                self._process = _start(theirs.fileno(), supervisor, user_namespace)
            except OSError as error:
                raise Refused.from_os_error(error, "fork()") from None
            unused.pop_all()
        self._control = ours

    def ask(self, spec: Spec) -> None:
        """
        Request a sandbox for *spec*, but do not wait for it.

        Raises:
            Refused: No descriptors are left.
            LauncherGone: The launcher is gone.
        """
        request = self._request(spec)
        if self._asked == request:
            return
        self._drop_asked()
        try:
            ours, theirs = descriptors.socketpair()
        except OSError as error:
            raise Refused.from_os_error(error) from None
        try:
            descriptors.send(self._control, dumps(request), [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise LauncherGone("send() to the launcher", error.errno or 0) from None
        finally:
            theirs.close()
        self._asked, self._answers = request, ours

    def take(self, spec: Spec) -> Sandbox:
        """
        Return a sandbox for *spec*: the one already requested, or a new one.

        Raises:
            Refused: The sandbox could not be made.
            LauncherGone: The launcher is gone.
        """
        was_prepared = self._asked == self._request(spec)
        self.ask(spec)
        try:
            return self._receive(spec)
        except LauncherGone:
            raise
        except Refused:
            if not was_prepared:
                raise
        # What was in its way at that time may be gone now: others that were dying, or
        # the lack of a directory.
        self.ask(spec)
        return self._receive(spec)

    def _request(self, spec: Spec) -> dict[str, object]:
        """
        Return the `Request` for init: the part of *spec* that it needs.
        """
        is_asked = spec.overlay or spec.readonly
        return _request(spec, self._paths() if is_asked else _NO_PATHS)

    def _drop_asked(self) -> None:
        """
        Wait for the requested sandbox, if there is one, and close it.
        """
        if self._asked is None:
            return
        try:
            self._receive(Spec()).close()
        except LauncherGone:
            raise
        except Refused:
            # That refusal says nothing about the next sandbox.
            return

    def _receive(self, spec: Spec) -> Sandbox:
        """
        Receive the requested sandbox, which is for *spec*.
        """
        assert self._answers is not None
        answers, self._asked, self._answers = self._answers, None, None
        is_plain = self.user_namespace is UserNamespace.NONE
        missing = () if is_plain else lacking(spec)
        with contextlib.ExitStack() as stack:
            stack.callback(answers.close)
            refusal, fds = self._answer(answers)
            for fd in fds:
                stack.callback(os.close, fd)
            if refusal is not None:
                refused = Refused(*refusal)
                refused.user_namespace, refused.lacking = self.user_namespace, missing
                raise refused
            if len(fds) != DESCRIPTORS:
                raise Refused("recvmsg() of descriptors", errno.EMFILE)
            stack.pop_all()
        pidfd, root = fds
        own = _namespaces_of(spec)
        if self.user_namespace is not UserNamespace.NONE:
            own += (namespaces.USER,)
        return Sandbox(
            init=pidfd,
            root=root,
            asker=answers.detach(),
            user_namespace=self.user_namespace,
            namespaces=own,
            lacking=missing,
        )

    def _answer(
        self, answers: _socket.socket
    ) -> tuple[tuple[str, int] | None, list[int]]:
        """
        Return what *answers* has: what was refused, and the descriptors of a sandbox.

        Raises:
            LauncherGone: The launcher or the init is gone.
        """
        if not readable(answers.fileno(), ANSWER_TIMEOUT):
            raise LauncherGone("recvmsg() from the launcher", errno.ETIMEDOUT)
        try:
            message, fds = descriptors.receive(answers, DESCRIPTORS)
        except OSError as error:
            raise LauncherGone(
                "recvmsg() from the launcher", error.errno or 0
            ) from None
        if message:
            return loads(message), fds
        # A launcher that ends closes its socket before its inits close theirs.
        if readable(self._control.fileno(), 0):
            raise LauncherGone("recvmsg() from the launcher", errno.ECONNRESET)
        raise LauncherGone("a sandbox's init", errno.ESRCH)

    def has_ended(self) -> bool:
        """
        Return whether the process has ended, and all of its sandboxes with it.
        """
        return self._process.poll() is not None

    def close_inherited(self) -> None:
        """
        Forget the launcher in a guest, which must not use it.
        """
        self._control.close()
        if self._answers is not None:
            self._answers.close()
        # A Popen that nobody waited for warns when it is garbage-collected.
        self._process.returncode = 0

    def close(self) -> None:
        """
        End the launcher and every sandbox that it made, and wait for that.
        """
        with contextlib.suppress(LauncherGone):
            self._drop_asked()
        with contextlib.suppress(OSError):
            # Not close() alone: a fork may still have the socket open.
            self._control.shutdown(_socket.SHUT_RDWR)
        self._control.close()
        with contextlib.suppress(TimeoutExpired):
            # A launcher that takes longer ends with the supervisor.
            self._process.wait(ANSWER_TIMEOUT)


# Tests in a row mostly ask for the same.
@functools.lru_cache(maxsize=64)
def _namespaces_of(spec: Spec) -> tuple[Namespace, ...]:
    """
    Return the namespaces that a sandbox for *spec* has, without a user namespace.
    """
    return namespaces.asked_for(spec)


@functools.lru_cache(maxsize=64)
def _request(spec: Spec, paths: Paths = _NO_PATHS) -> dict[str, object]:
    request = {one.name: getattr(spec, one.name) for one in KEYWORDS if one.requested}
    own = [one.name for one in _namespaces_of(spec)]
    return {"namespaces": own, **paths._asdict(), **request}


def _start(
    control: int, supervisor: int, user_namespace: UserNamespace
) -> Popen[bytes]:
    directory = str(Path(pytest_nsisolate.__file__).parent.parent)
    command = [EXECUTABLE, "-I", "-S", "-c", _BOOT, directory]
    is_main = threading.current_thread() is threading.main_thread()
    thread = launcher.MAIN if is_main else "other"
    # Init is process 1.
    first = ancestry.pass_over(1, ancestry.taken())
    kind = user_namespace.value
    arguments = [str(control), str(supervisor), kind, thread, str(first)]
    try:
        with _undebugged():
            return Popen(
                [*command, *arguments],
                pass_fds=(control, supervisor),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                cwd="/",
                # Ctrl-C is for the supervisor, which decides when guests end.
                start_new_session=True,
            )
    except OSError as error:
        call = f"execve({error.filename})" if error.filename else "fork()"
        raise OSError(error.errno, error.strerror, call) from None


def _undebugged() -> contextlib.AbstractContextManager[object]:
    """
    Return a context in which the debugger of VS Code adds itself to no Python.

    The launcher must have one thread, and nobody waits for it to be debugged.
    """
    pydevd = sys.modules.get("pydevd")
    skip = getattr(pydevd, "skip_subprocess_arg_patch", contextlib.nullcontext)
    context: contextlib.AbstractContextManager[object] = skip()
    return context
