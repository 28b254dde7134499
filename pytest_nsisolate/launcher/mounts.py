"""
The mounts that init makes in every sandbox: /proc, /dev/shm, /dev/mqueue.

This runs in a bare interpreter, and imports only `linux`.
"""

from __future__ import annotations

import errno
import os
import stat

from pytest_nsisolate.linux import syscalls

_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV


def detach_mounts() -> None:
    """
    Hide all mounts that are made here from now on from the outside.

    In a chroot, this can change the working directory to its root.
    """
    # Slave, not private: the host must still be able to unmount its file systems.
    flags = syscalls.MS_REC | syscalls.MS_SLAVE
    try:
        syscalls.mount("none", "/", None, flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The root is no mount point: this is a chroot. Source: mount(2).
        root = syscalls.named("open(/)", os.open, "/", os.O_PATH | os.O_CLOEXEC)
        _leave_chroot()
        syscalls.mount("none", "/", None, flags)
        syscalls.named("fchdir()", os.fchdir, root)
        syscalls.named("chroot()", os.chroot, ".")
        os.close(root)


def _leave_chroot() -> None:
    """
    Change to the root of the mount namespace, by joining it once more.

    Source: setns(2), "Mount namespaces".
    """
    pidfd = syscalls.named("pidfd_open()", os.pidfd_open, os.getpid())
    syscalls.setns(pidfd, syscalls.CLONE_NEWNS)
    os.close(pidfd)


def mount_proc() -> None:
    """
    Mount a ``/proc`` that shows the processes of the caller's PID namespace.
    """
    syscalls.mount("proc", "/proc", "proc", _QUIET | syscalls.MS_NOEXEC)


def mount_mqueue() -> None:
    """
    Make ``/dev/mqueue``, if there is one, show the queues of the IPC namespace.

    The namespace has its own queues even without this. Source: mq_overview(7).
    """
    try:
        syscalls.mount("mqueue", "/dev/mqueue", "mqueue", _QUIET | syscalls.MS_NOEXEC)
    except OSError as error:
        # What is missing, or is no directory.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
            raise


def mount_shm() -> None:
    """
    Give the sandbox a ``/dev/shm`` of its own, as large as the one it hides.

    POSIX shared memory and semaphores live there, outside of any IPC namespace. Source:
    shm_overview(7), sem_overview(7).
    """
    # Not the functions of os.path, which take long when they are executed once only.
    try:
        here = os.stat("/dev/shm")
    except OSError:
        return
    if not stat.S_ISDIR(here.st_mode):
        return
    data = "mode=1777"
    if here.st_dev != os.stat("/dev").st_dev or os.path.ismount("/dev/shm"):
        facts = syscalls.named("statvfs(/dev/shm)", os.statvfs, "/dev/shm")
        data += f",size={facts.f_blocks * facts.f_frsize}"
    syscalls.mount("tmpfs", "/dev/shm", "tmpfs", _QUIET, data)
