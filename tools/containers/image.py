"""
The image: a tree of Debian with Python, pytest and the wheel of this project.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from processes import CannotRun, run

#: The checkout with this script and the plugin to try.
CHECKOUT = Path(__file__).resolve().parents[2]

#: The interpreter and the tests, inside.
PYTHON = "/opt/trial/bin/python"
TRIAL = "/opt/trial.py"

#: The uid of the user inside.
UID = 1000

_TIME = 1200.0


def make(
    tree: Path,
    suite: str,
    interpreter: Path,
    wanted: Sequence[str] = (f"{CHECKOUT}[link]",),
) -> None:
    """
    Make the image as the directory *tree*.

    Args:
        tree: The directory, which must not exist.
        suite: The release of Debian.
        interpreter: An interpreter with pip, for the wheels.
        wanted: What pip installs.
    """
    packages = "--include=python3,python3-venv"
    run(["debootstrap", "--variant=minbase", packages, suite, tree, _mirror()], _TIME)
    wheels = tree / "wheels"
    pip = [interpreter, "-m", "pip", "--disable-pip-version-check"]
    # Nothing here is compiled for one version of Python.
    run([*pip, "wheel", "--wheel-dir", wheels, *wanted], _TIME)
    place = Path(PYTHON).parents[1]
    _inside(tree, "python3", "-m", "venv", place)
    made = sorted(f"/wheels/{one.name}" for one in wheels.iterdir())
    _inside(tree, PYTHON, "-m", "pip", "install", "--no-index", *made)
    _inside(tree, "useradd", "--create-home", "--uid", UID, "tester")
    shutil.rmtree(wheels)
    shutil.copy(Path(__file__).with_name("trial.py"), f"{tree}{TRIAL}")
    tree.chmod(0o755)


def pack(tree: Path, archive: Path) -> None:
    """
    Pack the directory *tree* into *archive*, for engines to import.
    """
    run(["tar", "--create", "--file", archive, "--directory", tree, "."], _TIME)
    archive.chmod(0o644)


def settle_mounts() -> None:
    """
    Make what engines write to private to this process, which has mounts of its own.
    """
    run(["mount", "--make-rshared", "/"], 60)
    run(["mount", "-t", "tmpfs", "none", "/run"], 60)
    # crun refuses to work where there are both versions of cgroups.
    run(["umount", "--recursive", "--lazy", "/sys/fs/cgroup"], 60)
    run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], 60)


def own_suite() -> str:
    """
    Return the release of Debian that this machine has.
    """
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _mirror() -> str:
    """
    Return where this machine has its own packages from, as apt is set up.
    """
    wanted = ["--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    sites = run(["apt-get", "indextargets", *wanted], 60).split()
    if not sites:
        raise CannotRun("apt-get indextargets names no mirror of Debian")
    return sites[0]


def _inside(tree: Path, *command: object) -> None:
    # Nothing of this machine's settings, for example of pip, holds inside.
    environment = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
    run(["chroot", tree, *command], _TIME, environment=environment)
