"""
Questions: the rows of the tables, and how each answer follows from what was seen.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable

from peers import Way
from processes import CannotRun
from sessions import FAILED, PASSED, Seen
from trials import Trial

YES, NO, HANGS = "yes", "no", "the run hangs"

#: The cell where this machine lacks what it takes.
UNKNOWN = "cannot be tried here"

#: What Docker says of a limit where no memory controller is mounted.
_DISCARDED = "Limitation discarded"

#: What tests say of what they share with others.
_SHARED = "SHARED"

#: The names of signals, as crashes are told.
_SIGNALS = re.compile(
    r"SIG[A-Z]{3,}|[Ss]ignal:? -?\d+|Segmentation fault|exit code -\d+"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """
    A row of a table.
    """

    key: str
    """A short name; if no other probe is named, that of the probe."""
    title: str
    """The first cell of the row."""
    answer: Callable[[Trial, Trial, str], str]
    """Returns the cell of a peer, given it, plain pytest and the key."""
    plain: str = ""
    """What must be found of plain pytest, or the probe finds nothing."""


def _isolated(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say in which way, if in any, one test does not see what another did.
    """
    return _first(trial, key, _is_apart)


def _first(trial: Trial, key: str, good: Callable[[Seen], bool]) -> str:
    """
    Return the first way in which *key* is *good*.
    """
    refusal = ""
    for way in trial.peer.ways_for(key):
        seen = trial.run(key, way)
        reason = _refusal(seen)
        if reason:
            refusal = refusal or reason
        elif good(seen):
            return with_label(way)
    return refusal or NO


def with_label(way: Way) -> str:
    """
    Return a cell that says that it is so, in this way.
    """
    return f"with {way.label}" if way.label else YES


def _refusal(seen: Seen) -> str:
    """
    Return why the first test could not even do what it tried, or why none looked.
    """
    if None in seen.codes and "test_2_looks" not in seen.cases:
        return HANGS
    for name, case in seen.cases.items():
        if name == "test_1_changes" and case.outcome != PASSED:
            found = re.findall(r"^E? *(\w+Error\b.*)$", case.text, re.MULTILINE)
            return f"refused: {found[-1].strip()[:60] if found else case.outcome}"
    return ""


def _is_apart(seen: Seen) -> bool:
    """
    Say whether the test that looks saw nothing.
    """
    case = seen.cases.get("test_2_looks")
    if case is None or (case.outcome != PASSED and _SHARED not in case.text):
        raise CannotRun(f"{seen.place.name} said nothing of use:\n{seen.printed}")
    return case.outcome == PASSED


def _at_once(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say in which way, if in any, two tests run at the same time.
    """
    return _first(
        trial,
        key,
        lambda seen: all(one.outcome == PASSED for one in seen.cases.values()),
    )


def _ended(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say what ends a process that a test leaves.
    """
    apart = _first(trial, "daemon", _is_apart)
    if apart == HANGS:
        return apart
    if apart == YES:
        return "its test"
    usual = trial.run("daemon")
    if not usual.left:
        also = "" if apart == NO else f"; {apart}, its test"
        return f"the run{also}"
    return "nothing" if apart == NO else f"nothing; {apart}, its test"


def _survived(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say what becomes of the tests around one that goes wrong.
    """
    told = []
    discarded = False
    usual, *others = trial.peer.ways_for(key)
    # Without a limit, what hangs takes as long as it may.
    ways = others if key == "hang" and key in trial.peer.more else [usual, *others]
    for way in ways:
        seen = trial.run(key, way)
        said = _of_wrong(seen, way)
        told.append((said, way))
        discarded |= _DISCARDED in seen.printed
        if said == "fails":
            break
    said, way = told[-1]
    if said == "fails":
        return said if not way.label else f"fails, with {way.label}"
    said, way = told[0]
    if key == "memory_limit" and said == "PASSES":
        # Nothing went wrong: it got what it asked for.
        return UNKNOWN if discarded else "not limited"
    return said


def _of_wrong(seen: Seen, way: Way) -> str:
    outcomes = [
        seen.cases[name].outcome if name in seen.cases else ""
        for name in ("test_1_before", "test_2_wrong", "test_3_after")
    ]
    if way.each and not outcomes[1]:
        # Whoever starts the sessions knows the exit code.
        code = seen.codes[1]
        outcomes[1] = "" if code is None else PASSED if code == 0 else FAILED
    match outcomes:
        case ["passed", "failed" | "error", "passed"]:
            return "fails"
        case ["passed", "passed", "passed"]:
            return "PASSES"
    code = seen.codes[-1]
    if code is None:
        return HANGS
    return f"the run ends, exit code {code}"


def _told_signal(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether the report of a test names the signal that ended it.
    """
    case = trial.run("segfault").cases.get("test_2_wrong")
    if case is None:
        return "no report"
    found = _SIGNALS.search(case.text)
    return f"`{found[0]}`" if found else NO


def _told_place(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether the report of a test that crashed has the line of Python.
    """
    seen = trial.run("segfault")
    line = re.compile(r"line \d+ in test_2_wrong")
    case = seen.cases.get("test_2_wrong")
    if case is not None and line.search(case.text):
        return "in its report"
    return "on the terminal" if line.search(seen.printed) else NO


def _diff(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether an assertion is explained as in a plain run.
    """
    mine, theirs = (
        set(re.findall(r"^E .*$", _text(one, "test_1_diff"), re.MULTILINE))
        for one in (trial, plain)
    )
    if theirs <= mine:
        return YES
    return "in part" if theirs & mine else NO


def _output(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether the output of a failing test is in its report.
    """
    lines = ("printed by Python", "said by Python", "printed by a program")
    printed = _reports(trial).printed
    sections = printed.partition("FAILURES")[2].partition("short test summary")[0]
    found = [line for line in lines if re.search(f"^{line}$", sections, re.MULTILINE)]
    return _part(len(found), len(lines))


def _outcomes(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether skips, expected failures and errors are what they are in a plain run.
    """
    names = ("4_xfail", "5_xpass", "6_skip", "9_teardown")
    mine, theirs = (_summary(_reports(one)) for one in (trial, plain))
    same = [name for name in names if mine.get(name) == theirs[name]]
    different = [
        f"{name[2:]} is {_joined(mine.get(name, []))}"
        for name in names
        if name not in same
    ]
    return "; ".join(different) or YES


def _joined(words: list[str]) -> str:
    return " and ".join(words) or "missing"


def _subtests(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say how many of the failing subtests are reported.
    """
    return _part(
        *(
            len(re.findall(r"^SUBFAILED", _reports(one).printed, re.MULTILINE))
            for one in (trial, plain)
        )
    )


def _warnings(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether the summary has the warning.
    """
    summary = _reports(trial).printed.partition("warnings summary")[2]
    return YES if "mind the step" in summary else NO


def _junit(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say in what the JUnit file differs from that of a plain run.
    """
    mine, theirs = (_facts(_reports(one)) for one in (trial, plain))
    different = [name for name, fact in theirs.items() if mine.get(name) != fact]
    return f"differs: {', '.join(different)}" if different else "as plain"


def _fixture(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say how often a session fixture of four tests is set up and finalised.
    """
    way = trial.peer.more.get(key, (trial.peer.usual,))[0]
    seen = trial.run(key, way)
    counts = [seen.count(name) for name in ("set-ups", "finalisers")]
    if counts[0] == counts[1]:
        return _times(counts[0])
    return f"{_times(counts[0])}, finalised {_times(counts[1])}"


def _covered(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say how many of the lines that tests run pytest-cov finds.
    """
    mine, theirs = (
        _lines(one.run("covered", None, "--cov=subject", "--cov-report=json"))
        for one in (trial, plain)
    )
    return _part(len(mine & theirs), len(theirs))


def _stops(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether -x stops at the first failure.
    """
    seen = trial.run("failing", None, "-x")
    return YES if _ran(seen) == "1 2" else f"ran {_ran(seen)}"


def _again(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether --lf runs the failing test alone in a second session.
    """
    seen = trial.run("failing", None, "--lf", times=2)
    return YES if _ran(seen) == "1 2 3 2" else f"ran {_ran(seen)}"


def _as_user(trial: Trial, plain: Trial, key: str) -> str:
    """
    Say whether an ordinary user can run it.
    """
    seen = trial.run("trifle", user="nobody")
    good = [one.outcome for one in seen.cases.values()] == [PASSED]
    return YES if good else NO


def _ran(seen: Seen) -> str:
    path = seen.place / "ran"
    return path.read_text().strip() if path.exists() else "nothing"


def _lines(seen: Seen) -> set[int]:
    path = seen.place / "coverage.json"
    if not path.exists():
        return set()
    files = json.loads(path.read_text())["files"]
    return set(files.get("subject.py", {}).get("executed_lines", ()))


def _part(found: int, wanted: int) -> str:
    """
    Return how much of what was wanted was found.
    """
    if found >= wanted:
        return YES
    return f"{found} of {wanted}" if found else NO


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _reports(trial: Trial) -> Seen:
    """
    Return what a peer made of many kinds of tests.
    """
    return trial.run("reports", None, "-rA")


def _text(trial: Trial, test: str) -> str:
    case = _reports(trial).cases.get(test)
    return case.text if case else ""


def _summary(seen: Seen) -> dict[str, list[str]]:
    """
    Return the words of the short summary for each test.
    """
    text = seen.printed.partition("short test summary")[2]
    found: dict[str, list[str]] = {}
    pattern = r"^([A-Z]+) (?:\[\d\] )?test_probe\.py::test_(\w+)"
    for word, name in re.findall(pattern, text, re.MULTILINE):
        found.setdefault(name, []).append(word)
    # It has the place, and not the name.
    if re.search(r"^SKIPPED \[1\] test_probe\.py:\d+: ", text, re.MULTILINE):
        found["6_skip"] = ["SKIPPED"]
    return {name: sorted(words) for name, words in found.items()}


def _facts(seen: Seen) -> dict[str, object]:
    """
    Return what matters of a JUnit file.
    """
    root = seen.junit
    if root is None:
        return {}
    suite = next(root.iter("testsuite"))
    counts = ("tests", "failures", "errors", "skipped")
    return {
        "counts": [suite.get(name) for name in counts],
        "names": sorted(one.get("name", "") for one in root.iter("testcase")),
        "properties": [one.attrib for one in root.iter("property")],
        "messages": sorted(
            _stable(one.get("message", ""))
            for kind in ("failure", "error", "skipped")
            for one in root.iter(kind)
        ),
        "output": sorted(
            (node.tag, *sorted((node.text or "").split()))
            for node in root.iter()
            if node.tag in {"system-out", "system-err"}
        ),
    }


def _stable(text: str) -> str:
    return re.sub(r"/\S+/", "", text)


def _system(trial: Trial, plain: Trial, key: str) -> str:
    # A program that starts pytest has no package of its own.
    own = "" if trial.peer.package else trial.systems
    return own or "does not say"


def _with_pytest(trial: Trial, plain: Trial, key: str) -> str:
    return trial.pytest


ISOLATED = (
    Question(key="hostname", title="hostname", answer=_isolated, plain=NO),
    Question(key="sysv", title="SysV shared memory", answer=_isolated, plain=NO),
    Question(
        key="posix_memory", title="POSIX shared memory", answer=_isolated, plain=NO
    ),
    Question(
        key="posix_queue", title="POSIX message queues", answer=_isolated, plain=NO
    ),
    Question(
        key="visible_processes",
        title="processes of the machine are hidden",
        answer=_isolated,
        plain=NO,
    ),
    Question(
        key="memory",
        title="environment and memory of the process",
        answer=_isolated,
        plain=NO,
    ),
    Question(key="port", title="ports", answer=_isolated, plain=NO),
    Question(
        key="project_files", title="files of the project", answer=_isolated, plain=NO
    ),
    Question(key="tmp_files", title="files in `/tmp`", answer=_isolated, plain=NO),
    Question(
        key="clock", title="time since boot can differ", answer=_isolated, plain=NO
    ),
    Question(
        key="daemon",
        title="a process that a test leaves is ended by",
        answer=_ended,
        plain="nothing",
    ),
)

CRASHES = (
    Question(key="segfault", title="a test that crashes", answer=_survived),
    Question(key="kill", title="a test that is killed", answer=_survived),
    Question(key="exit", title="a test that calls `os._exit(0)`", answer=_survived),
    Question(key="hang", title="a test that hangs", answer=_survived),
    Question(
        key="memory_limit",
        title="a test that takes 600 MB, limited to 300",
        answer=_survived,
    ),
    Question(key="signal", title="a crash: the signal is named", answer=_told_signal),
    Question(key="where", title="a crash: the line of Python", answer=_told_place),
)

REPORTS = (
    Question(key="diff", title="assertion diff", answer=_diff, plain=YES),
    Question(key="output", title="captured output", answer=_output, plain=YES),
    Question(
        key="outcomes",
        title="xfail, xpass, skip, failing teardown",
        answer=_outcomes,
        plain=YES,
    ),
    Question(key="subtests", title="failing subtests", answer=_subtests, plain=YES),
    Question(key="warnings", title="warnings", answer=_warnings, plain=YES),
    Question(key="junit", title="JUnit file", answer=_junit, plain="as plain"),
    Question(
        key="session_fixture",
        title="session fixture of four tests is set up",
        answer=_fixture,
        plain="once",
    ),
    Question(key="covered", title="coverage (pytest-cov)", answer=_covered, plain=YES),
    Question(key="stops", title="`-x` stops", answer=_stops, plain=YES),
    Question(key="again", title="`--lf`", answer=_again, plain=YES),
)

PLACES = (
    Question(key="same_time", title="tests at the same time", answer=_at_once),
    Question(key="user", title="run by an ordinary user", answer=_as_user),
    Question(key="pytest", title="newest pytest it works with", answer=_with_pytest),
    Question(key="systems", title="for, as its package says", answer=_system),
)

TABLES = {
    "What each test has to itself": ISOLATED,
    "What becomes of a test that goes wrong": CRASHES,
    "What is reported": REPORTS,
    "Where and how it runs": PLACES,
}
