"""
A kernel, booted in qemu.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from archive import Kernel
from commands import CannotRun, run
from guest import Result
from machine import Machine

#: For the kernel. A panic ends qemu: it reboots at once, and qemu must not.
_WORDS = "panic=-1 quiet"


def version(machine: Machine) -> str:
    """
    Return the name of qemu, with its version.
    """
    said = run([machine.program[0], "--version"])
    return re.sub(r" emulator version | \(.*", " ", said.partition("\n")[0]).strip()


def boot(
    machine: Machine,
    kernel: Kernel,
    disk: Path,
    start: Path,
    *,
    steps: Sequence[str],
    timeout: float,
) -> list[Result]:
    """
    Boot *kernel* and return the results of *steps*; those that it did not reach lack.

    Args:
        machine: What to emulate.
        kernel: The kernel.
        disk: The image, which is not changed.
        start: The archive that the kernel starts with.
        steps: Names of `guest.STEPS`.
        timeout: The time limit in seconds.

    Raises:
        CannotRun: No step came to an end.
    """
    console, port = (Path(f"{start}.{one}") for one in ("console", "results"))
    port.unlink(missing_ok=True)
    size = ["-smp", "2", "-m", "3G"]
    screen = ["-nodefaults", "-display", "none", "-no-reboot"]
    serial = ["-chardev", f"file,id=console,path={console}"]
    serial += ["-chardev", f"file,id=results,path={port}"]
    drive = ["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"]
    words = f"console={machine.console} results={machine.port} trials={','.join(steps)}"
    words = f"{_WORDS} {machine.words} {words}"
    what = ["-kernel", kernel.image, "-initrd", start, "-append", words]
    program = [*machine.program, *size, *screen, *serial, *drive, *what]
    ended = "it ended"
    try:
        run(program, timeout)
    except CannotRun as error:
        ended = str(error)
    said = port.read_text(errors="replace") if port.exists() else ""
    # The last line may have been cut short.
    lines = said.rpartition("\n")[0].splitlines()
    results = [Result(**json.loads(line)) for line in lines]
    if not results:
        text = console.read_text(errors="replace")[-3000:] if console.exists() else ""
        raise CannotRun(f"{ended}\n{text}")
    return results
