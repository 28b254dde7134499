"""
Memory, descriptors and processes that must not grow over many isolated tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

#: What the supervisor held at several moments, by kind.
Looks = list[dict[str, int]]

COUNT, WARM = 2000, 100

#: How many times in a row to look at the supervisor. What it holds at one moment
#: depends on how far along the next sandbox is, and how far gone the last one.
LOOKS = 10

#: The last test that another one follows, so that a sandbox is made ahead for it.
LAST = COUNT - 1

#: Records what the supervisor holds after each of `LOOKS` tests from number `WARM` on,
#: and after each of as many tests at the end.
CONFTEST = f"""
import gc
import json
import os
from pathlib import Path
import psutil

seen = {{"early": [], "late": []}}
count = 0

def namespaces(family):
    kinds = "ipc", "mnt", "pid", "pid_for_children", "user", "uts"
    outside = {{os.readlink(f"/proc/self/ns/{{kind}}") for kind in kinds}}
    for one in family:
        for kind in kinds:
            try:
                space = os.readlink(f"/proc/{{one.pid}}/ns/{{kind}}")
            except OSError:
                continue
            if space not in outside:
                yield space

def is_zombie(one):
    try:
        return one.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        # The last sandbox, or what has made the next one.
        return False

def look():
    gc.collect()
    me = psutil.Process()
    family = me.children(recursive=True)
    zombies = list(filter(is_zombie, family))
    return {{
        "descriptors": me.num_fds(),
        "threads": me.num_threads(),
        "zombies": len(zombies),
        "children": len(me.children()),
        "memory": me.memory_info().rss,
        "namespaces": len(list(namespaces([me, *family]))),
    }}

def pytest_runtest_logfinish(nodeid):
    global count
    count += 1
    if {WARM} <= count < {WARM + LOOKS}:
        seen["early"].append(look())
    elif {LAST - LOOKS} < count <= {LAST}:
        seen["late"].append(look())

def pytest_sessionfinish():
    Path("seen.json").write_text(json.dumps(seen))
"""


def _of_session(token: str) -> list[int]:
    """
    Return the processes left by a session with *token* in its environment.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if token.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _run(pytester: pytest.Pytester, *options: str) -> tuple[Looks, Looks]:
    """
    Return what the supervisor held after about `WARM` tests and `LAST`, all passing.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = pytester.run(*command, *options, timeout=400)
    result.assert_outcomes(passed=COUNT)
    seen = json.loads((pytester.path / "seen.json").read_text())
    assert len(seen["early"]) == len(seen["late"]) == LOOKS
    return seen["early"], seen["late"]


def _growth(early: Looks, late: Looks) -> int:
    """
    Return how many bytes the resident memory grew.
    """
    return late[-1]["memory"] - early[0]["memory"]


def test_nothing_grows(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    2,000 isolated tests add no process or descriptor, and at most 5 MB over plain ones.
    """
    name, value = "NSISOLATE_TOKEN", f"{os.getpid()}-{time.time()}"
    monkeypatch.setenv(name, value)
    token = f"{name}={value}"
    mounts = Path("/proc/self/mounts").read_text()
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.isolated
        @pytest.mark.parametrize("number", range({COUNT}))
        def test_it(number):
            assert number >= 0
        """
    )
    # pytest itself keeps the reports of all tests, so memory grows on the host too.
    kept = _growth(*_run(pytester, "--no-nsisolate"))
    early, late = _run(pytester)
    for what in ("descriptors", "threads", "children", "zombies", "namespaces"):
        before = max(one[what] for one in early)
        assert min(one[what] for one in late) <= before, what
    assert _growth(early, late) - kept < 5 << 20
    monkeypatch.delenv(name)
    end = time.monotonic() + 20
    while _of_session(token) and time.monotonic() < end:
        time.sleep(0.01)
    assert _of_session(token) == []
    assert Path("/proc/self/mounts").read_text() == mounts


SHARED = """
    def pytest_runtest_logreport(report):
        reports.append(report)

    def pytest_sessionfinish(session):
        items = {item.nodeid: item for item in session.items}
        for report in reports:
            item = items[report.nodeid]
            assert report.nodeid is item.nodeid
            assert report.location is item.location
            names = {id(name) for name in item.keywords}
            assert names >= {id(name) for name in report.keywords}
        print(f"{len(reports)} share")

    reports = []
"""


def test_nothing_is_kept_twice(pytester: pytest.Pytester) -> None:
    """
    A report shares the node id, location and keywords of its item and copies none.
    """
    pytester.makeconftest(SHARED)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated
        @pytest.mark.parametrize("number", range(2))
        def test_it(number): pass
        """
    )
    result = pytester.runpytest_subprocess("-s", timeout=30)
    result.stdout.fnmatch_lines(["*6 share"])
