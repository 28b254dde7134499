"""
Preparation of a suite, and its runs.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from pathlib import Path

from accounts import Lane, wait
from commands import CannotRun, run
from known import Suite
from packages import environment, fetch, install, unpack, versions
from results import Result, read

_COVERAGE = """\
[run]
branch = true
data_file = {data}
parallel = true
source_pkgs = {modules}
{more}
[json]
output = {report}
"""

#: The end of the line in pytest's header that says whether tests run side by side.
_JOBS = re.compile(r"nsisolate: .*, (\d+ jobs|one job instead of \d+ \((?P<why>.*)\))")


@dataclasses.dataclass(frozen=True)
class Manner:
    """
    Settings for all runs.
    """

    coverage: bool
    """Whether to measure coverage."""
    patch: str
    """What coverage.py is to patch."""
    timeout: float
    """The time limit of a run, in seconds."""


@dataclasses.dataclass(frozen=True)
class Way:
    """
    A way to run a suite.
    """

    isolated: bool
    jobs: int = 1
    """How many tests run at the same time; if not isolated, by pytest-xdist."""

    def __str__(self) -> str:
        if self.jobs == 1:
            return "isolated" if self.isolated else "plain"
        return f"{self.jobs} jobs" if self.isolated else f"xdist -n {self.jobs}"

    def arguments(self) -> list[str]:
        """
        Return the arguments for pytest.
        """
        if self.isolated:
            # A warning about what a test leaves has no counterpart in a plain run.
            isolating = ["--nsisolate", "--nsisolate-leaks=ignore"]
            return [*isolating, f"--nsisolate-jobs={self.jobs}"]
        beside = [] if self.jobs == 1 else ["-n", str(self.jobs)]
        return ["-p", "no:nsisolate", *beside]


@dataclasses.dataclass(frozen=True)
class Ready:
    """
    A suite that is ready to run.
    """

    suite: Suite
    programs: Path
    """The directory with its interpreter and pytest."""
    source: Path
    """The top directory of the source distribution."""


def prepare(
    suite: Suite, python: str, work: Path, plugin: Path, *, xdist: bool
) -> Ready:
    """
    Fetch *suite*; install it, what its tests need, and this project.

    Args:
        suite: The suite to install.
        python: The interpreter for the environment.
        work: The directory to work in.
        plugin: The wheel of this project.
        xdist: Whether to install pytest-xdist too.

    Raises:
        CannotRun: A step failed or took too long.
    """
    place = work / suite.name
    interpreter = environment(python, place / "venv")
    wanted = f"{suite.name}=={suite.version}"
    archive = fetch(interpreter, suite.name, wanted, place / "dist")
    source = unpack(archive, place / "source")
    project = wanted if suite.binary else str(archive)
    if suite.extras:
        project = f"{project}[{','.join(suite.extras)}]"
    groups = [f"--group={source / 'pyproject.toml'}:{one}" for one in suite.groups]
    needed = ["pytest>=8", "coverage>=7.10", *suite.requirements]
    needed += ["pytest-xdist"] if xdist else []
    install(interpreter, project, plugin, *needed, *groups)
    for name in suite.remove:
        shutil.rmtree(source / name)
    names = [suite.name, "pytest", "coverage", "pytest-nsisolate"]
    known = versions(interpreter, names)
    facts = [f"{n} {v}" for n, v in zip(names, known, strict=True)]
    print(", ".join([*facts, run([interpreter, "-V"], 60).strip()]), flush=True)
    return Ready(suite, interpreter.parent, source)


def run_once(ready: Ready, lane: Lane, manner: Manner, way: Way) -> Result:
    """
    Run the suite *ready* in *lane* in this *way*, in a fresh copy of its source.

    Raises:
        CannotRun: The run had no result, or tests did not run where they should have.
    """
    place = lane.own / ready.suite.name
    _make(place, ready.source, lane)
    settings = place / "coveragerc"
    report = place / "coverage.json"
    modules = ready.suite.modules or (ready.suite.name,)
    settings.write_text(
        _COVERAGE.format(
            data=place / "out/coverage",
            modules=", ".join(modules),
            more=f"patch = {manner.patch}\n" if manner.patch else "",
            report=report,
        )
    )
    # Not python -m pytest, which would put the working directory first on sys.path.
    pytest = [str(ready.programs / "python"), str(ready.programs / "pytest")]
    if manner.coverage:
        pytest[1:1] = ["-m", "coverage", "run", f"--rcfile={settings}"]
    pytest += ["-p", "record", "-p", "no:cacheprovider", *ready.suite.arguments]
    pytest += way.arguments()
    log = place / "log"
    since = time.monotonic()
    process = lane.start(
        pytest,
        cwd=place / "source",
        log=log,
        environment={
            "PATH": f"{ready.programs}:{lane.environment['PATH']}",
            "PYTHONHASHSEED": "0",
            "SUITES_RECORD": str(place / "out/record.json"),
            "TMPDIR": str(place / "tmp"),
        },
    )
    try:
        wait(process, since + manner.timeout, log)
        seconds = time.monotonic() - since
        _check_nothing_left(lane, patience=10.0 if way.isolated else 0.0)
    finally:
        lane.kill()
    if manner.coverage:
        coverage = [ready.programs / "python", "-m", "coverage"]
        run([*coverage, "combine", f"--rcfile={settings}"], manner.timeout)
        run([*coverage, "json", "-q", f"--rcfile={settings}"], manner.timeout)
    return read(
        place / "out/record.json",
        report if manner.coverage else None,
        seconds=seconds,
        isolated=way.isolated,
        one_job=_why_one_job(log) if way.isolated and way.jobs > 1 else "",
    )


def _why_one_job(log: Path) -> str:
    """
    Return why tests ran one after the other, by the header in *log*; empty if not so.
    """
    for line in log.read_text(errors="replace").splitlines():
        if said := _JOBS.fullmatch(line):
            return said["why"] or ""
    raise CannotRun("the header does not say how many jobs there are")


def _make(place: Path, source: Path, lane: Lane) -> None:
    """
    Make *place* anew, always at the same path, as it shows in reports and warnings.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(source, place / "source")
    for name in ("out", "tmp"):
        (place / name).mkdir()
    if os.geteuid() == 0:
        uid, gid = lane.account.pw_uid, lane.account.pw_gid
        for path in [place, *place.rglob("*")]:
            os.chown(path, uid, gid)


def _check_nothing_left(lane: Lane, *, patience: float) -> None:
    """
    Make sure that an isolated run, the one with *patience*, has left no process.
    """
    deadline = time.monotonic() + patience
    while patience and (left := list(lane.processes())):
        if time.monotonic() > deadline:
            raise CannotRun(f"it left processes behind: {left}")
        time.sleep(0.1)
