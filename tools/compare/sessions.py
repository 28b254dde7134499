"""
Sessions: one way of a peer, tried with one probe on a fresh machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from processes import CannotRun

_HERE = Path(__file__).resolve().parent
_PROBES = _HERE / "probes"

#: Makes a fresh machine, with a /tmp and a /dev/shm of its own.
_OWN = 'for one in /dev/shm /tmp; do mount -t tmpfs -o mode=1777 none "$one"; done'
_MACHINE = (
    *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
    *("sh", "-e", "-c"),
    f'{_OWN}; exec "$@"',
    "sh",
)

#: The most that a session may take, in seconds, and what is enough for a test that
#: hangs: one must be told from a busy machine.
LIMIT, LIMIT_HANG = 120.0, 45.0

PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"


@dataclasses.dataclass(frozen=True)
class Case:
    """
    What the JUnit file says of a test.
    """

    outcome: str
    """How it ended."""
    text: str
    """Why."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """
    What came of one trial.
    """

    place: Path
    """The directory of the suite."""
    cases: Mapping[str, Case]
    """What each test came to."""
    codes: list[int | None]
    """The exit code of each session, or None if it had to be stopped."""
    printed: str
    """What they printed."""
    left: bool
    """Whether a process lived on after them."""

    def count(self, name: str) -> int:
        """
        Return the size of the file *name*, which tests write to.
        """
        path = self.place / name
        return path.stat().st_size if path.exists() else 0

    @property
    def junit(self) -> ET.Element | None:
        """
        The JUnit file, if there is one.
        """
        path = self.place / "junit-0.xml"
        return ET.parse(path).getroot() if path.exists() else None  # noqa: S314 - pytest wrote it


def suite(place: Path, probe: str, head: str) -> list[str]:
    """
    Write the suite with *probe* and return its tests.

    Args:
        place: Its directory, which must not exist.
        probe: The name of the module.
        head: Text that comes behind the module's docstring.
    """
    place.mkdir()
    place.chmod(0o777)
    text = (_PROBES / f"{probe}.py").read_text()
    docstring, quotes, rest = text[3:].partition('"""\n')
    (place / "test_probe.py").write_text(f'"""{docstring}{quotes}{head}{rest}')
    shutil.copy(_PROBES / "subject.py", place)
    # This checkout may be in /tmp, where that machine has nothing.
    shutil.copy(_HERE / "host.py", place)
    (place / "pytest.ini").write_text("[pytest]\n")
    return re.findall(r"^def (test_\w+)", text, re.MULTILINE)


def try_out(
    place: Path,
    commands: list[list[str]],
    variables: Mapping[str, str],
    user: list[str],
    limit: float,
) -> Seen:
    """
    Run *commands* in *place*, one after the other, on a fresh machine.
    """
    answer = place / "answer.json"
    order = {
        "commands": [[*user, *command] for command in commands],
        "limit": limit,
        "variables": dict(variables),
        "answer": str(answer),
    }
    (place / "order.json").write_text(json.dumps(order))
    host = [*_MACHINE, sys.executable, "host.py", "order.json"]
    done = subprocess.run(
        host, cwd=place, capture_output=True, check=False, text=True, timeout=600
    )
    if not answer.exists():
        raise CannotRun(f"no answer from {place}: {done.stderr}")
    told: dict[str, Any] = json.loads(answer.read_text())
    cases: dict[str, Case] = {}
    for path in sorted(place.glob("junit-*.xml")):
        cases |= _cases(path)
    return Seen(
        place,
        cases,
        [one["code"] for one in told["sessions"]],
        "".join(one["printed"] for one in told["sessions"]),
        told["left"],
    )


def clean_environment() -> dict[str, str]:
    """
    Return the environment without what changes how pytest and Python work.
    """
    unwanted = ("PYTEST_", "NSISOLATE_", "PYTHON", "PIP_", "COVERAGE_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted)
    }


def _cases(path: Path) -> dict[str, Case]:
    """
    Return what the file *path* says of each test.
    """
    found: dict[str, Case] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest wrote it
        outcome, text = PASSED, ""
        for kind, name in (("skipped", SKIPPED), ("error", ERROR), ("failure", FAILED)):
            for node in case.iter(kind):
                outcome = name
                text += f"{node.get('message', '')}\n{node.text or ''}"
        found[case.get("name", "")] = Case(outcome, text)
    return found
