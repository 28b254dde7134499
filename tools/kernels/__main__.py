"""
Trial of the plugin on other kernels: Debian's, each booted in qemu.

Usage: python3 tools/kernels [options] [release ...]

For each release of Debian it fetches the newest kernel for virtual machines by its
package name, and boots it from an image that debootstrap makes, with this project and
its tests. In it runs, as root and as a user: the doctor; the examples; the tests about
isolation, about networks and links with netem, and about POSIX queues with a real
``/dev/mqueue``; and refusals, which are made real one by one.

At the end it prints the table of docs/reference/compatibility.md, to be pasted there.

It needs root, apt with an archive of Debian among its sources, and the packages
qemu-system-x86, debootstrap and busybox-static. For ``--processor arm64`` it needs
qemu-system-arm instead, and qemu-user-static, which lets debootstrap run programs of
that processor. It exits 1 if anything failed or could not be run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import archive
import emulator
from archive import Release
from commands import CannotRun
from guest import BRIEF, FULL, STEPS, USERS
from image import Tree
from machine import MACHINES
from table import Row, skipped, table


def main() -> int:
    """
    Boot and try as the module's docstring says, and return the exit code.
    """
    options, good = _options(), True
    # On SIGTERM too, the directory below must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Users of the guests must be able to read what is made for them.
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="kernels-") as name:
        folder = Path(options.folder or name).resolve()
        folder.mkdir(exist_ok=True)
        address = options.mirror or archive.mirror()
        machine = MACHINES[options.processor]
        tree = Tree(folder, address, machine)
        tree.install(options.wheel)
        kernels = []
        for release in options.releases:
            source = Release(release, address, folder, machine.processor)
            kernels.append(source.kernel())
            tree.add(kernels[-1])
        disk = folder / "disk"
        tree.write(disk)
        rows: list[Row] = []
        every = {}
        for kernel in kernels:
            since = time.monotonic()
            start = tree.start(kernel, folder / f"start-{kernel.version}")
            try:
                results = emulator.boot(
                    machine,
                    kernel,
                    disk,
                    start,
                    steps=options.steps,
                    timeout=options.timeout,
                )
            except CannotRun as why:
                print(f"{kernel.version} could not be tried: {why}", flush=True)
                results = []
            print(f"{kernel.version}: {time.monotonic() - since:.0f} s", flush=True)
            every[kernel.version] = results
            for user in USERS:
                found = {one.step: one for one in results if one.user == user}
                good &= all(
                    step in found and found[step].is_good for step in options.steps
                )
                rows.append(Row.of(kernel.version, user, options.steps, found))
                for one in found.values():
                    print(f"{one.user}, {one.step}: {one.seconds:.0f} s")
                    if not one.is_good:
                        print(one.output, flush=True)
        versions = [*tree.versions(), emulator.version(machine)]
    today = dt.datetime.now(dt.timezone.utc).date()
    print(f"\nTried on {today} with {', '.join(versions)}:\n")
    print(table(options.steps, rows))
    if without := skipped(every):
        print(f"Skipped:\n\n{without}")
    print("all good" if good else "NOT GOOD: see above")
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kernels", allow_abbrev=False)
    add = parser.add_argument
    add("releases", nargs="*", default=archive.RELEASES, help="Releases of Debian")
    add("--brief", action="store_true", help="Only two examples and a few tests")
    add("--steps", type=lambda text: text.split(","), help="Only these, with commas")
    add("--wheel", type=Path, help="This project, already built")
    add("--mirror", help="The archive, if apt does not know it")
    add("--processor", choices=MACHINES, default="amd64", help="What to emulate")
    add("--folder", help="Where to keep what is fetched and made")
    add("--timeout", type=float, default=7200.0, help="Seconds for each kernel")
    options = parser.parse_args()
    options.steps = options.steps or (BRIEF if options.brief else FULL)
    for step in options.steps:
        if step not in STEPS:
            parser.error(f"{step} is not one of {', '.join(STEPS)}")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotRun as why:
        sys.exit(f"kernels: {why}")
