"""
pytest in mounts of its own, in which something has been changed.
"""

from __future__ import annotations

from killing import pytest_command
from ways import KEEP, LOSE, PLAIN, WAYS

#: A mount namespace for what follows, in which each command must succeed.
PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")

#: The directory /dev without any of its file systems, and with the usual devices.
#: An empty directory tmp is needed for it.
BARE_DEV = """
mount -t tmpfs -o mode=755 none tmp
for name in null zero full random urandom tty; do
    touch tmp/$name
    mount --bind /dev/$name tmp/$name
done
mount --rbind tmp /dev
test ! -e /dev/shm && test ! -e /dev/mqueue
"""


def changed(way: str, script: str, *options: str) -> list[str]:
    """
    Return the command that runs pytest in *way*, after *script*, in mounts of its own.
    """
    # Mounts take CAP_SYS_ADMIN, which is lost afterwards where it must be.
    lose = LOSE.split() if way == KEEP else []
    prefix = [*WAYS[PLAIN], *PRIVATE, f'{script}\nexec "$@"', "sh"]
    return [*prefix, *pytest_command(lose, *options)]


#: A user namespace for what follows, with mounts of its own.
SPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def masked(way: str) -> list[str]:
    """
    Return the command that hides a part of ``/proc``, as containers do.

    Args:
        way: By which pytest is to go into its sandboxes then.
    """
    mask = 'mount -t tmpfs none /proc/irq && exec "$@"'
    # A mask counts where it cannot be taken off: in a user namespace further in.
    # Source: mount_namespaces(7), "Restrictions on mount namespaces".
    inner = [*SPACE, "--pid", "--fork", "--kill-child"] if way == PLAIN else []
    return [*SPACE, "sh", "-c", mask, "sh", *inner]
