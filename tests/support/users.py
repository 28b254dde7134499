"""
The users that limits on processes differ for, as a fixture of their commands.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ways import WAYS

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
WHO = {**WAYS, "nobody": AS_NOBODY}


@pytest.fixture(params=list(WHO))
def who(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> list[str]:
    """
    Return the command prefix for one of the ways into a sandbox, or for nobody.
    """
    command = WHO[request.param]
    if request.param == "nobody":
        temporary.chmod(0o755)
        monkeypatch.chdir(temporary)
        look = [sys.executable, "-c", "import pytest, pytest_nsisolate.plugin"]
        # Through a shell, since the interpreter itself may be out of reach.
        done = subprocess.run(
            [*command, "sh", "-c", shlex.join(look)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("the lane of users without privilege tests this")
    return command


def is_exempt(way: list[str]) -> bool:
    """
    Return whether the kernel ignores RLIMIT_NPROC for a process started this *way*.
    """
    command = [*way, "prlimit", "--nproc=1:", "sh", "-c", "true & wait $!"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.returncode == 0
