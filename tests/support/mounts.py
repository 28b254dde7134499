"""
Runs of pytest in a mount namespace in which something has been changed.
"""

from __future__ import annotations

import subprocess

from killing import pytest_command
from ways import KEEP, LOSE, PLAIN, WAYS, cannot

#: A mount namespace for a script in which each command must succeed.
PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")

#: Makes a /dev without its file systems and with the usual devices. It needs an empty
#: directory tmp.
BARE_DEV = """
mount -t tmpfs -o mode=755 none tmp
for name in null zero full random urandom tty; do
    touch tmp/$name
    mount --bind /dev/$name tmp/$name
done
mount --rbind tmp /dev
test ! -e /dev/shm && test ! -e /dev/mqueue
"""

#: Makes a root directory with the directories of the machine, for a shell that then
#: leaves the other one. That is no chroot, where there would be no user namespaces.
#: Its $0 is an empty directory.
NEW_ROOT = """
mount -t tmpfs -o mode=755 none "$0"
# It is not to be in itself, which would hold its mount points.
mount --make-unbindable "$0"
for path in /*; do
    if [ -L "$path" ]; then cp -P "$path" "$0"
    elif [ -d "$path" ]; then mkdir "$0$path" && mount --rbind "$path" "$0$path"
    fi
done
here=$PWD
cd "$0"
# Debian's users do not have /usr/sbin in their PATH.
PATH=$PATH:/usr/sbin:/sbin pivot_root . .
umount --lazy .
cd "$here"
"""


def changed(way: str, script: str, *options: str) -> list[str]:
    """
    Return the command that runs pytest by *way* after *script*, in its own mounts.
    """
    # Mounts take CAP_SYS_ADMIN, which is dropped afterwards where it must be.
    lose = LOSE.split() if way == KEEP else []
    prefix = [*WAYS[PLAIN], *PRIVATE, f'{script}\nexec "$@"', "sh"]
    return [*prefix, *pytest_command(lose, *options)]


#: A user namespace with its own mounts.
SPACE = ["unshare", "--user", "--map-root-user", "--mount"]

#: Masks a part of ``/proc`` as containers do, then runs a command. Other programs may
#: have mounted a procfs elsewhere, and one without a mask is enough for the kernel to
#: allow a fresh one. Source: mount_namespaces(7), "Restrictions on mount namespaces".
MASK = """
findmnt --raw --noheadings --output TARGET --types proc | sort -u |
    while read -r point; do mount -t tmpfs none "$point/irq"; done
exec "$@"
"""


def masked(way: str) -> list[str]:
    """
    Return the command that hides a part of ``/proc``, as containers do.

    Args:
        way: The way in which pytest is then to enter its sandboxes.
    """
    mask = [*SPACE, "sh", "-ec", MASK, "sh"]
    tried = subprocess.run([*mask, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        cannot(f"not every procfs can be masked: {tried.stderr}")
    # A mask counts only where it cannot be removed: in an inner user namespace.
    # Source: mount_namespaces(7), "Restrictions on mount namespaces".
    inner = [*SPACE, "--pid", "--fork", "--kill-child"] if way == PLAIN else []
    return [*mask, *inner]
