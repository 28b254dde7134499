"""
A run of pytest in a chroot, as package builds do it.
"""

from __future__ import annotations

import sys

import pytest
from ways import PLAIN, WAYS

#: Makes a root directory with one file more than the real one, and runs pytest in it.
CHROOT = """
set -e
mount -t tmpfs tmpfs {box}
for path in /*; do
    if [ -L "$path" ]; then
        cp -P "$path" {box}
    elif [ -d "$path" ] && [ "$path" != /proc ]; then
        mkdir {box}"$path"
        mount --rbind "$path" {box}"$path"
    fi
done
mkdir {box}/proc
mount -t proc proc {box}/proc
touch {box}/only-here
# Not chroot(8), since Debian's users do not have /usr/sbin in their PATH.
exec unshare --root={box} --wd={suite} {python} -m pytest -v
"""


def test_chroot(pytester: pytest.Pytester) -> None:
    """
    The guest has pytest's root directory and working directory.
    """
    box = pytester.mkdir("box")
    suite = pytester.mkdir("suite")
    (suite / "test_root.py").write_text(
        f"""
import os
import psutil

def test_root(isolation):
    assert os.path.exists("/only-here")
    assert os.getcwd() == {str(suite)!r}
    assert psutil.pids() == [1, 2]
"""
    )
    script = CHROOT.format(box=box, suite=suite, python=sys.executable)
    private = ["unshare", "--mount", "--propagation", "private"]
    command = [*WAYS[PLAIN], *private, "sh", "-c", script]

    pytester.run(*command, timeout=60).assert_outcomes(passed=1)

    assert list(box.iterdir()) == []
