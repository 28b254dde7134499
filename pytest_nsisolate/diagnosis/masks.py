"""
The masks on /proc, and whether they are in the way of root.

They are only where they are locked: where another, more privileged user namespace owns
the mount namespace that they come from. An engine makes them in the mount namespace of
the container, and so root of the container could take them away.

Source: mount_namespaces(7), "Restrictions on mount namespaces"; mount_too_revealing()
in Linux, fs/namespace.c.
"""

from __future__ import annotations

import contextlib
import errno
import os

from pytest_nsisolate.diagnosis import machine, steps
from pytest_nsisolate.linux import capabilities
from pytest_nsisolate.model.user_namespace import UserNamespace

# Windows does not have it, nor masks.
with contextlib.suppress(ImportError):
    import fcntl

#: Gets the user namespace that owns a namespace. Source: ioctl_ns(2), since Linux 4.9.
_NS_GET_USERNS = 0xB701


def hinder_root() -> bool:
    """
    Say whether root has to have /proc unmasked to do without a user namespace.
    """
    if machine.is_initial_user_namespace() is not False:
        return False
    if machine.has_capability(capabilities.SYS_ADMIN):
        refused = steps.try_step(steps.PROC, UserNamespace.NONE)
        if refused is None:
            return False
        if refused.call == "mount(proc, /proc)" and refused.number == errno.EPERM:
            return True
    return not _are_own_mounts()


def _are_own_mounts() -> bool:
    """
    Say whether the user namespace of this process owns its mount namespace.
    """
    own = "/proc/self/ns/user"
    try:
        with open("/proc/self/ns/mnt") as mounts:
            # It refuses to get the one of a process above. Source: ioctl_ns(2), EPERM.
            owner = fcntl.ioctl(mounts, _NS_GET_USERNS)
        try:
            return os.path.samestat(os.fstat(owner), os.stat(own))
        finally:
            os.close(owner)
    except OSError:
        return False
