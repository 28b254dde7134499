"""
pytest in mounts of its own, in which something has been changed.
"""

from __future__ import annotations

from conftest import LOSE, WAYS
from killing import pytest_command

from pytest_nsisolate import launcher

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
    lose = LOSE.split() if way == launcher.KEEP else []
    prefix = [*WAYS[launcher.PLAIN], *PRIVATE, f'{script}\nexec "$@"', "sh"]
    return [*prefix, *pytest_command(lose, *options)]
