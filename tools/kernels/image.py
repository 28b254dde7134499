"""
The file system that kernels boot, and the archive that finds it.
"""

from __future__ import annotations

import lzma
import shutil
import sys
from pathlib import Path

from archive import Kernel
from commands import run
from machine import Machine

CHECKOUT = Path(__file__).resolve().parents[2]

#: The release that the image is of, its Python, and what tests need besides it.
BASE, PYTHON = "bookworm", "3.11"
_PACKAGES = (
    "apparmor",
    "bubblewrap",
    "busybox-static",
    "hostname",
    "iproute2",
    "kmod",
    "procps",
    "python3",
    "strace",
    "sudo",
)

#: What the guests need of this project besides the wheel.
_PROJECT = (
    "docs/examples",
    "pyproject.toml",
    "tests/box",
    "tests/conftest.py",
    "tests/sandbox",
    "tests/support",
    "tools/kernels",
)

#: The user without privilege.
USER = 1000

#: Loads what the image is read with, and starts the trials.
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for one in /modules/*; do /bin/busybox insmod "$one"; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /usr/bin/python3 /trials/tools/kernels/guest.py
"""


class Tree:
    """
    The root of the guests, made by debootstrap.

    Args:
        folder: The directory for it; one that is there already is used again.
        address: The archive of Debian.
        machine: What it is for.
    """

    def __init__(self, folder: Path, address: str, machine: Machine) -> None:
        self.root, self._platforms = folder / "root", machine.platforms
        packages = ",".join(_PACKAGES)
        # What it was made of: a newer checkout may want more.
        stamp = self.root / "packages"
        if stamp.is_file() and stamp.read_text() == packages:
            return
        shutil.rmtree(self.root, ignore_errors=True)
        # It is complete only when it has its name.
        fresh = folder / "root.part"
        shutil.rmtree(fresh, ignore_errors=True)
        options = [f"--arch={machine.processor}", "--variant=minbase"]
        options += [f"--include={packages}"]
        run(["debootstrap", *options, BASE, fresh, address], 1200.0)
        shutil.rmtree(fresh / "var/cache/apt")
        # Not locked, since sudo refuses such users.
        user = ["useradd", "--create-home", f"--uid={USER}", "--password=*", "tester"]
        run(["chroot", fresh, *user])
        sudoers = fresh / "etc/sudoers.d/tester"
        sudoers.write_text("tester ALL=(ALL:ALL) NOPASSWD: ALL\n")
        (fresh / "packages").write_text(packages)
        fresh.rename(self.root)

    def install(self, wheel: Path | None) -> None:
        """
        Install this project as *wheel*, or as it is, with what its tests need.
        """
        site = self.root / "usr/local/lib" / f"python{PYTHON}" / "dist-packages"
        shutil.rmtree(site, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        if wheel is None:
            built = self.root.with_name("wheel")
            shutil.rmtree(built, ignore_errors=True)
            run([*pip, "wheel", "--no-deps", "--wheel-dir", built, CHECKOUT])
            (wheel,) = built.iterdir()
        options = ["--only-binary=:all:", f"--python-version={PYTHON}"]
        options += [f"--platform={one}" for one in self._platforms]
        run([*pip, "install", *options, "--target", site, f"{wheel}[test]"])
        trials = self.root / "trials"
        shutil.rmtree(trials, ignore_errors=True)
        for name in _PROJECT:
            copy = trials / name
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, copy)
            else:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / name, copy)
        shutil.copy(CHECKOUT / "tests/support/seccomp.py", trials / "tools/kernels")
        # Compile all only once: an emulated processor takes long for that, and each
        # guest begins with what is in the image.
        collect = "cd /trials && python3 -m pytest --collect-only -qq . tools/kernels"
        run(["chroot", self.root, "sh", "-c", collect])

    def versions(self) -> list[str]:
        """
        Return the Python and the pytest that are installed, with their versions.
        """
        ask = "import platform, pytest; print(platform.python_version())"
        ask += "; print(pytest.__version__)"
        python, pytest = run(["chroot", self.root, "python3", "-c", ask]).split()
        return [f"CPython {python}", f"pytest {pytest}"]

    def add(self, kernel: Kernel) -> None:
        """
        Add the modules of *kernel*.
        """
        place = self.root / "usr/lib/modules" / kernel.version
        if not place.is_dir():
            place.parent.mkdir(exist_ok=True)
            shutil.copytree(kernel.modules, place)
        run(["chroot", self.root, "depmod", kernel.version])

    def write(self, disk: Path) -> None:
        """
        Write the tree to *disk*, a file for the guests to read.
        """
        disk.unlink(missing_ok=True)
        run(["mke2fs", "-q", "-t", "ext4", "-d", self.root, disk, "2G"])

    def start(self, kernel: Kernel, place: Path) -> Path:
        """
        Write the archive that *kernel* starts with to *place*, and return it.
        """
        shutil.rmtree(place, ignore_errors=True)
        for name in ("bin", "dev", "modules", "root"):
            (place / name).mkdir(parents=True)
        shutil.copy(self.root / "usr/bin/busybox", place / "bin")
        (place / "init").write_text(_INIT)
        (place / "init").chmod(0o755)
        for number, file in enumerate(self._modules(kernel)):
            content = file.read_bytes()
            if file.suffix == ".xz":
                content = lzma.decompress(content)
            name = f"{number:02}-{file.name.removesuffix('.xz')}"
            (place / "modules" / name).write_bytes(content)
        archive = Path(f"{place}.cpio")
        pack = 'cd "$1" && find . | /bin/busybox cpio -o -H newc >"$2"'
        run(["sh", "-c", pack, "sh", place, archive])
        return archive

    def _modules(self, kernel: Kernel) -> list[Path]:
        """
        Return the modules for virtual disks, each after those that it needs.
        """
        top = self.root / "usr/lib/modules" / kernel.version
        found: list[Path] = []
        lines = (top / "modules.dep").read_text().splitlines()
        for wanted in ("virtio_pci", "virtio_blk"):
            for line in lines:
                module, _, needed = line.partition(":")
                if Path(module).name.partition(".")[0] == wanted:
                    names = [*reversed(needed.split()), module]
                    found += [top / one for one in names if top / one not in found]
        return found
