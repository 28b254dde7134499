"""
The examples, run plain and isolated, as the pages describe them.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.python

EXAMPLES = Path(__file__).parent / "examples"


def run_example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run pytest on the example *name*.
    """
    command = [sys.executable, "-m", "pytest", "-p", "nsisolate"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments, EXAMPLES / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# A sandbox takes along what the example leaves.
@pytest.mark.isolated(leaks="ignore")
def test_clash_fails_on_one_machine() -> None:
    """
    Without isolation the second test on each key fails with EEXIST.
    """
    result = run_example("test_sysv_clash.py", "--no-nsisolate")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 2 passed" in result.stdout
    assert result.stdout.count("FileExistsError: [Errno 17] File exists") >= 2
    for kind in ("queue", "segment"):
        failed = rf"^FAILED \S*test_sysv_clash.py::test_logout_makes_the_{kind} "
        assert re.search(failed, result.stdout, re.MULTILINE)


@pytest.mark.isolated
def test_clash_is_gone_with_isolation() -> None:
    """
    Isolated, all four tests pass and leave nothing on the machine.
    """
    for _ in range(2):
        result = run_example("test_sysv_clash.py")

        assert result.returncode == pytest.ExitCode.OK, result.stdout
        assert "4 passed" in result.stdout
    for kind in ("msg", "shm"):
        # Only the headings. Source: sysvipc(7).
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        assert len(lines) == 1


def test_hostname_fails_on_one_machine() -> None:
    """
    Without isolation the machine is called neither t1 nor t2.
    """
    result = run_example("test_hostname.py", "--no-nsisolate")

    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed" in result.stdout
