"""
Isolated tests under pytest-xdist.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest
from twins import Run, normal, run_once
from ways import WITHOUT_NET

import pytest_nsisolate

pytestmark = pytest.mark.about("pytest-xdist")

NAMED = ("-p", "nsisolate", "-p", "xdist")

#: Attributes of reports, and words in texts, that name the process that ran a test.
WHO = {"node", "worker_id", "testrun_uid", "item_index"}
GATEWAY = re.compile(r"\[gw\d\]|popen-gw\d")

TESTS = """
    import os
    import warnings
    import pytest

    @pytest.fixture(scope="session")
    def wide(tmp_path_factory):
        return tmp_path_factory.getbasetemp()

    @pytest.fixture(scope="module", params=["a", "b"])
    def param(request, wide):
        return request.param

    def test_param(param): print(param)

    def test_basetemp(tmp_path, wide, worker_id, testrun_uid):
        assert tmp_path.parent == wide
        assert wide.name == f"popen-{worker_id}"
        assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
        assert testrun_uid == os.environ["PYTEST_XDIST_TESTRUNUID"]

    class TestGroup:
        @pytest.mark.parametrize("number", range(4))
        def test_number(self, number, record_property):
            record_property("number", number)
            assert number != 2

    @pytest.mark.xdist_group("one")
    def test_warns(): warnings.warn("careful")

    @pytest.mark.xdist_group("one")
    def test_skips(): pytest.skip("for a reason")

    @pytest.mark.xfail
    def test_xfails(): assert 0
"""


def told(run: Run) -> list[str]:
    """
    Return what *run* reports of its tests, sorted.
    """
    events = [
        {key: one for key, one in event[1].items() if key not in WHO}
        if event[0] == "report"
        else event
        for event in run.events
    ]
    return sorted(GATEWAY.sub("[gw]", json.dumps(event)) for event in events)


def lines(run: Run) -> list[str]:
    """
    Return the lines of *run* in alphabetical order, and its dots likewise.
    """
    return sorted(
        "".join(sorted(line)) if line.endswith("%]") else GATEWAY.sub("[gw]", line)
        for line in normal(run.stdout)
    )


def cases(run: Run) -> list[str]:
    """
    Return the test cases in the JUnit XML of *run*, sorted.
    """
    found = ET.fromstring(run.file).iter("testcase")
    return sorted("\n".join(normal(ET.tostring(one, "unicode"))) for one in found)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        pytest.param([], 1, id="one-job"),
        pytest.param(["--nsisolate-jobs=4"], 1, id="load"),
        *(
            pytest.param(
                ["--nsisolate-jobs=4", f"--dist={mode}"],
                2 if mode == "each" else 1,
                id=mode,
            )
            for mode in ("loadscope", "loadfile", "loadgroup", "worksteal", "each")
        ),
    ],
)
def test_same(pytester: pytest.Pytester, options: list[str], times: int) -> None:
    """
    Two processes report isolated tests as they report others.

    Python warns of forks in a process with threads, as these are; that warning is not
    reported as one of the test.
    """
    pytester.makepyfile(TESTS)
    arguments = [*NAMED, "-n2", "-rA", "--junitxml=out.xml", *options]
    arguments += ["-Werror", "-Wdefault:careful:UserWarning"]
    plain, isolated = (
        run_once(pytester, [switch, *arguments], apart=True, file="out.xml")
        for switch in ("--no-nsisolate", "--nsisolate")
    )
    assert all(plain.places)
    assert not any(isolated.places)
    assert told(isolated) == told(plain)
    assert lines(isolated) == lines(plain)
    assert isolated.warnings == plain.warnings
    assert cases(isolated) == cases(plain)
    assert isolated.result.ret == plain.result.ret == 1
    isolated.result.assert_outcomes(
        passed=7 * times,
        failed=times,
        skipped=times,
        xfailed=times,
        warnings=times,
    )


@pytest.mark.parametrize(
    "mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "each"]
)
def test_modes(mode: str, pytester: pytest.Pytester) -> None:
    """
    Each mode of distribution treats isolated tests as it promises.
    """
    pytester.makepyfile(TESTS)
    arguments = [*NAMED, "--nsisolate", "-n2", f"--dist={mode}"]
    run = run_once(pytester, arguments, apart=True)
    assert not any(run.places)
    by: dict[str, list[str]] = collections.defaultdict(list)
    for report in run.reports:
        if report["when"] == "setup":
            by[report["location"]].append(report["worker_id"])
    assert len(by) == 10
    times = 2 if mode == "each" else 1
    assert all(len(set(one)) == len(one) == times for one in by.values())
    runners = {
        name: {who for where, whose in by.items() if name in where for who in whose}
        for name in ("TestGroup", "test_warns", "test_skips", "test_")
    }
    if mode == "loadscope":
        assert len(runners["TestGroup"]) == 1
    elif mode == "loadgroup" and "@one" in str(run.events):
        # For one, it is not so with pytest-xdist 3.8 and pytest 9.2.
        assert runners["test_warns"] == runners["test_skips"]
    elif mode == "loadfile":
        assert len(runners["test_"]) == 1


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile"])
def test_shared(mode: str, pytester: pytest.Pytester) -> None:
    """
    Tests that share a sandbox and reach one process share it there, in each mode.
    """
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.isolated(scope="class")
        class Base:
            seen = []
            @pytest.fixture(scope="class", autouse=True)
            def once(self):
                yield
                self.seen.clear()
            @pytest.mark.parametrize("number", range(8))
            def test_number(self, number):
                self.seen.append(number)
                assert number != 5
        class TestOne(Base): seen = []
        class TestTwo(Base):
            seen = []
            def test_all(self): print("seen", len(self.seen))
        """
    )
    arguments = [*NAMED, "-n2", f"--dist={mode}", "-rP"]
    run = run_once(pytester, arguments, apart=True)
    run.result.assert_outcomes(passed=15, failed=2)
    assert not any(run.places)
    if mode != "load":
        run.result.stdout.fnmatch_lines(["seen 8"])


@pytest.mark.parametrize("limit", ["-x", "--maxfail=2"])
def test_maxfail(limit: str, pytester: pytest.Pytester) -> None:
    """
    The session ends after as many failures as without isolation.
    """
    pytester.makepyfile(
        """
        import time
        import pytest

        @pytest.mark.parametrize("number", range(40))
        def test_one(number):
            time.sleep(0.05)
            assert 0
        """
    )
    run = run_once(pytester, [*NAMED, "--nsisolate", "-n2", limit], apart=True)
    number = 1 if limit == "-x" else 2
    assert f"stopping after {number} failures" in run.stdout
    assert number <= run.result.parseoutcomes()["failed"] < 10
    assert run.result.ret == 2


def test_refusals(pytester: pytest.Pytester) -> None:
    """
    The reason of tests refused in several processes is told once, by the session.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.isolated(net=True)
        @pytest.mark.parametrize("number", range(8))
        def test_one(number): pass
        """
    )
    arguments = [sys.executable, "-m", "pytest", *NAMED, "-n2", "--junitxml=junit.xml"]
    result = pytester.run(*WITHOUT_NET, *arguments, timeout=60)
    result.assert_outcomes(errors=8)
    text = result.stdout.str()
    before, summary = text.split(" tests that could not be isolated ")
    assert before.count("\nwhy: ") == 1
    first = re.findall("; why and fix: see (.*)\n", before)
    assert len(first) == 7
    assert len(set(first)) == 1
    assert first[0].endswith(before.partition("ERROR at setup of ")[2].split()[0])
    assert "\ncannot isolate 8 tests: " in summary
    assert summary.count("\nwhy: ") == 1
    xml = ET.parse(pytester.path / "junit.xml")
    assert all("\nwhy: " in (one.text or "") for one in xml.findall(".//error"))


def other_python(pytester: pytest.Pytester) -> str | None:
    """
    Return another version of Python that can import pytest from its place here.
    """
    for minor in range(11, 15):
        found = shutil.which(f"python3.{minor}")
        if found is None or minor == sys.version_info.minor:
            continue
        modules = "import pytest, xdist, psutil; import pytest_nsisolate.plugin"
        if pytester.run(found, "-c", modules).ret == 0:
            return found
    return None


#: For a Python that was given the path of another one, standard library included.
OWN_PATH = """
    import sys
    import sysconfig

    where = sysconfig.get_paths()
    if where["stdlib"] not in sys.path:
        sys.path[:0] = [where["stdlib"], where["platstdlib"] + "/lib-dynload"]
"""


def test_other_python(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tests may run in another version of Python than the session.
    """
    where = [
        Path(module.__file__ or "").parent.parent
        for module in (pytest_nsisolate, pytest, psutil)
    ]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, where)))
    python = other_python(pytester)
    if python is None:
        pytest.skip("no other version of Python finds pytest and psutil")
    pytester.makepyfile(own_path=OWN_PATH)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p own_path")
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_one(number, record_property):
            record_property("version", sys.version_info.minor)
            assert number != 1
        """
    )
    arguments = ["--tx", f"2*popen//python={python}", "--dist=load", "-Werror"]
    run = run_once(pytester, [*NAMED, "--nsisolate", *arguments], apart=True)
    run.result.assert_outcomes(passed=3, failed=1)
    assert not any(run.places)
    properties = {one["user_properties"] for one in run.reports}
    assert f"[('version', {sys.version_info.minor})]" not in properties


def test_leaks(pytester: pytest.Pytester) -> None:
    """
    The table of leaks includes those of all processes.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(number):
            open("/dev/shm/left", "x").close()
        """
    )
    arguments = [*NAMED, "-n", "2", "--nsisolate", "--nsisolate-leaks=warn"]
    run = run_once(pytester, arguments, apart=True)
    run.result.assert_outcomes(passed=4, warnings=4)
    for number in range(4):
        assert (
            f"::test_it[{number}]\n    1 file in /dev/shm (left, 0 bytes)" in run.stdout
        )
    assert "4 tests left something" in run.stdout


def test_changed_files(pytester: pytest.Pytester) -> None:
    """
    So does the table of changed files.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(number):
            open("new", "x").close()
        """
    )
    arguments = [*NAMED, "-n", "2", "--nsisolate", "--nsisolate-files=report"]
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=4)
    for number in range(4):
        lines = [f"*::test_it[[]{number}]", f"    created {pytester.path}/new"]
        result.stdout.fnmatch_lines(lines, consecutive=True)
    result.stdout.fnmatch_lines(["4 tests changed files"])


def test_flavours_and_usage(pytester: pytest.Pytester) -> None:
    """
    Processes share out both flavours, and the usage table covers all processes.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(number): pass
        """
    )
    arguments = [*NAMED, "-n", "2", "--nsisolate", "--nsisolate-usage=0"]
    arguments += ["--nsisolate-flavours=host,isolated"]
    run = run_once(pytester, arguments, apart=True)
    run.result.assert_outcomes(passed=4)
    assert sorted(run.places) == [False] * 2 + [True] * 2
    assert "isolated tests by processor time: top 2 of 2" in run.stdout
    for number in range(2):
        assert run.stdout.count(f"::test_it[{number}-isolated]\n") == 2
        assert f"::test_it[{number}-host]\n" not in run.stdout


def test_differences(pytester: pytest.Pytester) -> None:
    """
    The process with the terminal compares the flavours of tests in other processes.
    """
    pytester.makepyfile(
        test_it="""
        import os
        import pytest

        PID = os.getpid()

        @pytest.mark.parametrize("number", range(4))
        def test_it(number): assert number != 2 or os.getpid() == PID
        """
    )
    options = ["-n2", "--nsisolate", "--nsisolate-flavours=host,isolated"]
    result = pytester.runpytest_subprocess(*NAMED, *options)
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(
        ["test_it.py::test_it[[]2]: host passed, isolated failed", "1 of 4 tests *"],
        consecutive=True,
    )


def test_beside(pytester: pytest.Pytester) -> None:
    """
    Nothing is alone while another process runs tests, so that flavour is refused.
    """
    pytester.makepyfile("def test_it(isolation): pass")
    options = ["-n2", "--nsisolate-flavours=alone,beside", "--nsisolate-jobs=4"]
    result = pytester.runpytest_subprocess(*NAMED, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: cannot use the flavour beside with pytest-xdist",
            "why: its other processes run tests beside those that are to run alone",
            "fix: add -n 0, or run without the flavour beside",
        ]
    )
