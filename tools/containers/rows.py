"""
The rows of the table: the ways to start a container that are tried.
"""

from __future__ import annotations

import dataclasses

ROOT, USER = "root", "user"

#: The file with the seccomp profile of this project, as it is typed.
PROFILE = "nsisolate.json"


@dataclasses.dataclass(frozen=True)
class Row:
    """
    A way to start a container.
    """

    engine: str
    """The key of the engine."""
    options: str = ""
    """What is typed after its command."""
    users: tuple[str, ...] = (ROOT, USER)
    """Who runs pytest inside."""


_UNCONFINED = "--security-opt seccomp=unconfined"
_PROFILE = f"--security-opt seccomp={PROFILE}"
_ADMIN = "--cap-add SYS_ADMIN"
_NETWORK = f"{_ADMIN} --cap-add NET_ADMIN"


def _rows(engine: str, unmask: str) -> list[Row]:
    """
    Return the rows of an engine with Docker's options.
    """
    unmask = f"--security-opt {unmask}"
    read_only = "--read-only --tmpfs /tmp"
    every = [
        "",
        _UNCONFINED,
        unmask,
        f"{_UNCONFINED} {unmask}",
        _PROFILE,
        f"{_PROFILE} {unmask}",
        _ADMIN,
        _NETWORK,
        f"{_NETWORK} --cap-add SYS_TIME",
        "--cap-drop ALL",
        f"--cap-drop ALL {_ADMIN}",
        f"--cap-drop ALL {_PROFILE} {unmask}",
        read_only,
        f"{read_only} {_PROFILE} {unmask}",
        f"{read_only} {_NETWORK}",
    ]
    return [Row(engine, options) for options in every]


ROWS = (
    *_rows("docker", "systempaths=unconfined"),
    Row("remapped"),
    Row("remapped", f"{_PROFILE} --security-opt systempaths=unconfined"),
    Row("remapped", _NETWORK),
    *_rows("podman", "unmask=ALL"),
    Row("podman", "--userns=keep-id"),
    Row("podman", f"--userns=keep-id {_PROFILE} --security-opt unmask=ALL"),
    Row("podman", f"--userns=keep-id {_NETWORK}"),
    Row("bwrap"),
    Row("bwrap", "--unshare-all"),
    Row("bwrap", "--unshare-user --uid 0", (ROOT,)),
    Row("bwrap", "--unshare-user --uid 0 --cap-add ALL", (ROOT,)),
    Row("bwrap", "--unshare-user --disable-userns"),
    Row("nspawn"),
    Row("nspawn", "--private-network"),
    Row("nspawn", "--private-network --capability=CAP_SYS_TIME"),
    Row("directory"),
    Row("mountpoint"),
)
