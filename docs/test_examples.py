"""
The examples, run plain and isolated, as their pages describe them.
"""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "examples"


#: The last line of each without isolation, on a machine where nothing else is. What
#: they come to isolated is on their pages.
OUTCOMES = {
    "both_ways": "1 failed, 2 passed",
    "cluster": "3 passed",
    "crash": "",
    "databases": "3 passed",
    "hostname": "5 failed, 1 passed",
    "leak": "1 passed",
    "pid_file": "4 passed",
    "shared_memory": "4 passed",
    "side_by_side": "6 passed",
    "sysv_ipc": "2 failed, 7 passed",
}


def run_example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run pytest in the folder of the example *name*, or skip this test if that skips.
    """
    command = [sys.executable, "-m", "pytest", "-p", "nsisolate"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-q", "--color=no", *arguments],
        cwd=EXAMPLES / name,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lacks = re.search(r"^SKIPPED .*?: (.*)", done.stdout, re.MULTILINE)
    if lacks:
        pytest.skip(lacks[1])
    return done


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """
    Return the last line that pytest printed, without the time.
    """
    return done.stdout.rstrip().rpartition("\n")[2].partition(" in ")[0]


# A sandbox takes along what the example leaves.
@pytest.mark.kernel
@pytest.mark.isolated(hostname="host", net=True, tmpfs=["/run"], leaks="ignore")
@pytest.mark.parametrize("name", OUTCOMES)
def test_plain(name: str) -> None:
    """
    Without isolation some examples fail, as their pages say.
    """
    result = run_example(name, "--no-nsisolate")

    if name == "crash":
        assert result.returncode == -signal.SIGSEGV
    else:
        assert last_line(result) == OUTCOMES[name], result.stdout


@pytest.mark.python
@pytest.mark.isolated(leaks="ignore")
def test_clash_fails_on_one_machine() -> None:
    """
    Without isolation the second test on each key fails with EEXIST.
    """
    result = run_example("sysv_ipc", "--no-nsisolate")

    assert result.stdout.count("FileExistsError: [Errno 17] File exists") >= 2
    for kind in ("queue", "segment"):
        failed = rf"^FAILED \S*test_sysv_clash.py::test_logout_makes_the_{kind} "
        assert re.search(failed, result.stdout, re.MULTILINE)


@pytest.mark.python
@pytest.mark.isolated
def test_clash_is_gone_with_isolation() -> None:
    """
    Isolated, all tests pass, again and again, and leave nothing on the machine.
    """
    for _ in range(2):
        result = run_example("sysv_ipc")

        assert result.returncode == pytest.ExitCode.OK, result.stdout
    for kind in ("msg", "sem", "shm"):
        # Only the headings. Source: sysvipc(7).
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        assert len(lines) == 1


def test_each_example_is_listed_and_told() -> None:
    """
    The page with the list has each folder once, and each has a short page of its own.
    """
    listed = re.findall(
        r"^\| \[`(\w+)`\]\(\1/README\.md\) \|",
        (EXAMPLES / "README.md").read_text(),
        re.MULTILINE,
    )

    assert sorted(listed) == sorted(OUTCOMES)
    assert {path.parent.name for path in EXAMPLES.glob("*/test_*.py")} == {*listed}
    for name in listed:
        text, _, shown = (EXAMPLES / name / "README.md").read_text().partition("```")
        assert shown.startswith("console\n$ pytest ") or name == "shared_memory"
        assert len(text.splitlines()) <= 5
        # Each file is named.
        for path in (EXAMPLES / name).glob("*.py"):
            assert f"]({path.name})" in text


def test_each_example_is_found_from_what_it_shows() -> None:
    """
    Each example leads to a page on what it shows, and that page leads to the example.
    """
    for name in OUTCOMES:
        readme = EXAMPLES / name / "README.md"
        pages = re.findall(r"\]\((\.\./\.\./[^)]+\.md)\)", readme.read_text())
        texts = [(readme.parent / page).read_text() for page in pages]
        assert any(f"examples/{name}/README.md)" in text for text in texts), name
