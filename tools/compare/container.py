"""
A container engine of its own, with an image that has pytest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import image
from engines import Docker
from processes import CannotRun, run

#: The programs that are needed.
_NEEDED = ("docker", "dockerd", "runc", "debootstrap")


@contextlib.contextmanager
def started(work: Path) -> Iterator[Docker]:
    """
    Start Docker with the image.

    Raises:
        CannotRun: This machine, or this user, cannot.
    """
    if not is_root():
        raise CannotRun("only root can start an engine")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        raise CannotRun(f"{', '.join(missing)} not installed")
    image.settle_mounts()
    tree, archive = work / "image", work / "image.tar"
    run([sys.executable, "-m", "venv", work / "build"], 600)
    packages = ["pytest", "pytest-cov"]
    try:
        image.make(tree, image.own_suite(), work / "build/bin/python", packages)
        image.pack(tree, archive)
    except CannotRun as why:
        # The page must not have what only holds on this machine.
        print(why, flush=True)
        raise CannotRun("the image could not be made") from why
    with contextlib.ExitStack() as stack:
        engine = Docker(work / "docker", archive, "Docker")
        stack.enter_context(engine.started())
        # The command finds its daemon there, as on most machines.
        yield engine


def is_root() -> bool:
    """
    Say whether this is the root of the machine, and not of a user namespace alone.
    """
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return os.geteuid() == 0 and (inside, outside) == ("0", "0") and int(count) > 1
