"""
The machines that qemu emulates, one for each kind of processor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Machine:
    """
    What differs between kinds of processors.
    """

    processor: str
    """What Debian calls it."""
    platforms: Sequence[str]
    """The platforms that built packages of Python are for. Source: PEP 600."""
    program: Sequence[str]
    """qemu, with its arguments."""
    words: str
    """For the kernel."""
    console: str
    """The serial port on which the kernel speaks."""
    port: str
    """The serial port for results, which ``program`` may have to add."""


_AMD64 = Machine(
    processor="amd64",
    platforms=("manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    # Not KVM: on some virtual machines it is there, but what it runs never starts.
    program=(
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi"),
        *("-cpu", "max,la57=off", "-serial", "chardev:console"),
        *("-serial", "chardev:results"),
    ),
    words="mitigations=off tsc=reliable nmi_watchdog=0",
    console="ttyS0",
    port="ttyS1",
)

_ARM64 = Machine(
    processor="arm64",
    platforms=("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    # Not the newest processor: signed pointers take qemu very long.
    program=(
        *("qemu-system-aarch64", "-machine", "virt", "-accel", "tcg,thread=multi"),
        *("-cpu", "cortex-a72", "-serial", "chardev:console"),
        *("-device", "pci-serial,chardev=results"),
    ),
    words="mitigations=off",
    console="ttyAMA0",
    port="ttyS0",
)

MACHINES = {one.processor: one for one in (_AMD64, _ARM64)}
