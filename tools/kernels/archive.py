"""
The archive of Debian, as the apt of this machine knows it.

Nothing here changes what the machine has installed, or the lists of its own apt.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from commands import CannotRun, run

#: The releases that kernels come from, oldest first.
RELEASES = ("bullseye", "bookworm", "trixie", "sid")

#: The package that depends on the newest kernel of a release for virtual machines.
_NEWEST = "linux-image-cloud-{}"

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror() -> str:
    """
    Return the address of the archive in the sources of this machine's apt.
    """
    for line in run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"]
    ).splitlines():
        label, _, address = line.partition(" ")
        if label == "Debian":
            return address
    raise CannotRun(
        "apt-get indextargets names no archive of Debian: run apt-get update, or "
        "give --mirror"
    )


class Release:
    """
    A release of Debian, with package lists of its own.

    Args:
        name: Its name, such as ``sid``.
        address: The archive.
        folder: The directory for lists and packages.
        processor: What its packages are for, as Debian calls it.
    """

    def __init__(self, name: str, address: str, folder: Path, processor: str) -> None:
        self._folder = folder / name
        self._newest = _NEWEST.format(processor)
        for place in ("lists/partial", "cache/archives/partial", "packages"):
            (self._folder / place).mkdir(parents=True, exist_ok=True)
        sources = self._folder / "sources.list"
        sources.write_text(f"deb [signed-by={_KEYS}] {address} {name} main\n")
        # Nothing counts as installed.
        status = self._folder / "status"
        status.touch()
        settings = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self._folder / "lists",
            "Dir::State::status": status,
            "Dir::Cache": self._folder / "cache",
            "APT::Architecture": processor,
            "APT::Architectures": processor,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            # A mirror may lag behind. What it has is signed all the same.
            "Acquire::Check-Valid-Until": "false",
        }
        self._options = [f"--option={name}={value}" for name, value in settings.items()]
        run(["apt-get", *self._options, "--quiet", "update"])

    def kernel(self) -> Kernel:
        """
        Fetch and unpack the newest kernel of this release.
        """
        (package,) = [
            one
            for one in self._dependencies(self._newest)
            if one.startswith("linux-image-")
        ]
        version = package.removeprefix("linux-image-")
        # Since Linux 7, the image and the modules are in packages of their own.
        others = [one for one in self._dependencies(package) if one.endswith(version)]
        tree = self._folder / version
        if not tree.is_dir():
            # It is complete only when it has its name.
            fresh = self._folder / "kernel.part"
            shutil.rmtree(fresh, ignore_errors=True)
            for name in (package, *others):
                self._unpack(name, fresh)
            fresh.rename(tree)
        return Kernel(version, tree)

    def _dependencies(self, package: str) -> list[str]:
        said = run(["apt-cache", *self._options, "depends", "--important", package])
        return re.findall(r"^ .*Depends: (\S+)$", said, re.MULTILINE)

    def _unpack(self, package: str, tree: Path) -> None:
        packages = self._folder / "packages"
        link = ["apt-get", *self._options, "--print-uris", "download", package]
        # The line is: 'address' file size hash.
        file = packages / run(link).split()[1]
        fetch = 'cd "$1" && shift && exec apt-get "$@"'
        more = [*self._options, "--quiet", "download", package]
        run(["sh", "-c", fetch, "sh", packages, *more])
        run(["dpkg-deb", "--extract", file, tree])


class Kernel:
    """
    An unpacked kernel.

    Args:
        version: What ``uname -r`` says.
        tree: The root of what its packages hold.
    """

    def __init__(self, version: str, tree: Path) -> None:
        self.version = version
        places = [tree / "lib/modules", tree / "usr/lib/modules"]
        (self.modules,) = [one / version for one in places if one.is_dir()]
        images = [tree / "boot" / f"vmlinuz-{version}", self.modules / "vmlinuz"]
        (self.image,) = [one for one in images if one.is_file()]
