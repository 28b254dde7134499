"""
A cgroup that may have too few processes for a sandbox.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import pytest_command

#: How many processes and threads the cgroup may have. pytest is one of them.
FEW = "4"


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """
    Provide a cgroup that may have few processes, and has none.
    """
    place = next(filter(None, map(_made, _places())), None)
    if place is None:
        pytest.skip("no cgroup with limits on processes can be made here")
    yield place
    for pid in (place / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(int(pid))
            select.select([pidfd], [], [], 30)
            os.close(pidfd)
    place.rmdir()


def _places() -> Iterator[Path]:
    """
    Yield where such a cgroup may be made. Source: cgroups(7).
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = f"nsisolate-{os.getpid()}"
        if not controllers:
            # Not below one that has processes, but beside it.
            yield Path("/sys/fs/cgroup", path.lstrip("/")).parent / name
        elif "pids" in controllers.split(","):
            yield Path("/sys/fs/cgroup/pids", path.lstrip("/")) / name


def _made(place: Path) -> Path | None:
    """
    Make the cgroup *place* and return it, None if that fails.
    """
    with contextlib.suppress(OSError):
        place.mkdir()
        try:
            # Not write_text(), which would create the file where it is missing.
            with (place / "pids.max").open("r+") as file:
                file.write(FEW)
        except OSError:
            place.rmdir()
            raise
        return place
    return None


def test_too_few_processes(pytester: pytest.Pytester, small_cgroup: Path) -> None:
    """
    The cgroup and its limit are named, and with a higher limit the test runs.
    """
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.isolated
        def test_it(): pass
        """
    )
    join = f'echo $$ > "{small_cgroup}/cgroup.procs"; exec "$@"'
    command = pytest_command(["sh", "-c", join, "sh"], "test_it.py")
    result = pytester.run(*command, timeout=60)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: fork() failed: EAGAIN",
            (
                f"why: the cgroup {small_cgroup} may have {FEW} processes and threads "
                "(pids.max), and more were asked for (pids.events)"
            ),
            (
                f"fix: echo max | sudo tee {small_cgroup}/pids.max, or start pytest "
                "with a higher limit: systemd-run -p TasksMax=, docker run --pids-limit"
            ),
        ]
    )
    (small_cgroup / "pids.max").write_text("max")
    pytester.run(*command, timeout=60).assert_outcomes(passed=1)
