"""
The number of isolated tests that run at the same time in a session, and why it is 1.

With pytest-xdist, it is that in each process that runs tests. The process that has the
terminal tells them what they cannot know: how tests are shared out.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsisolate.compat import hooks, xdist
from pytest_nsisolate.linux import processors
from pytest_nsisolate.model.errors import Explanation
from pytest_nsisolate.reporting import memory
from pytest_nsisolate.reporting.terms import package_of
from pytest_nsisolate.settings import options


def number_of_jobs(config: pytest.Config) -> int:
    """
    Return how many isolated tests may run at the same time.
    """
    return 1 if why_one(config) else _asked(config)


def _asked(config: pytest.Config) -> int:
    """
    Return how many were asked for.
    """
    number = config.stash[options.key].jobs
    if number is not None:
        return number
    # All processes together are to have as many as one alone would.
    return max(1, processors.usable() // (_processes(config) or 1))


def _processes(config: pytest.Config) -> int:
    """
    Return the number of pytest-xdist's processes that run tests; 0 without it.
    """
    if hasattr(config, "workerinput"):
        return int(config.workerinput["workercount"])
    if config.getoption("dist", "no") == "no":
        return 0
    specs = [one.partition("*") for one in config.getoption("tx", None) or ()]
    return sum(int(times) if times.isdecimal() else 1 for times, _, _ in specs)


def words(config: pytest.Config) -> str:
    """
    Return what to add to the line in pytest's header.
    """
    asked, where = _asked(config), ""
    if config.getoption("dist", "no") != "no":
        where = " in each process of pytest-xdist"
    if asked == 1:
        # It may not be what was meant by --nsisolate-jobs=auto.
        is_auto = config.stash[options.key].jobs is None
        return f", one job{where}" if where and is_auto else ""
    why = why_one(config)
    if why:
        return f", one job{where} instead of {asked} ({why})"
    return f", {asked} jobs{where}"


def tell(node: Any) -> None:  # noqa: ANN401 - it has no type
    """
    Tell *node*, a process of pytest-xdist that is to run tests, how it gets them.
    """
    node.workerinput[_TOLD] = _why_one_with_xdist(node.config)


def _why_one_with_xdist(config: pytest.Config) -> str:
    """
    Return the part of `why_one` that is about pytest-xdist.
    """
    if hasattr(config, "workerinput"):
        told = config.workerinput.get(_TOLD)
        if told is None or (not told and xdist.queue_of(config) is None):
            return "pytest-xdist"
        return str(told)
    dist = config.getoption("dist", "no")
    if dist == "no":
        return ""
    if dist not in _NEVER_TAKE_BACK:
        # A test that is taken back may have started, and runs elsewhere again.
        return f"--dist={dist}"
    for impl in hooks.implementations(config, _SCHEDULER):
        module = impl.function.__module__
        if package_of(module) != "xdist":
            return f"{_SCHEDULER}() of {module}"
    return "" if xdist.is_known() else "this version of pytest-xdist"


def why_one(config: pytest.Config) -> str:
    """
    Return why tests run one after the other, in a few words; empty if they need not.
    """
    why = _why_one_with_xdist(config)
    if why:
        return why
    capture = config.getoption("capture", "no")
    if capture != "fd":
        # What tests print goes past pytest, which could not put it in order.
        return f"--capture={capture}"
    for name, option in _ONE_AT_A_TIME.items():
        if config.getoption(name, default=None):
            return option
    independent = _KEEP_NOTHING | config.stash[options.key].independent_hooks
    for impl in memory.keepers(config):
        # The next test may look at what it has kept of this one.
        module = impl.function.__module__
        if independent.isdisjoint({module, package_of(module)}):
            return f"pytest_runtest_makereport() of {module}"
    return ""


def refuse_one(config: pytest.Config) -> None:
    """
    Refuse to start if the flavour ``beside`` is asked for, and none can be beside.

    A test would pass in that flavour without having been tried.

    Raises:
        pytest.UsageError: Tests run one after the other.
    """
    if "beside" not in config.stash[options.key].flavours:
        return
    if _processes(config):
        raise pytest.UsageError(
            Explanation(
                what="cannot use the flavour beside with pytest-xdist",
                why="its other processes run tests beside those that are to run alone",
                fix="add -n 0, or run without the flavour beside",
            )
        )
    if number_of_jobs(config) > 1:
        return
    why, fix = why_one(config), "run without that, or without the flavour beside"
    if not why:
        why, fix = "there is one job", "add --nsisolate-jobs=4"
    raise pytest.UsageError(
        Explanation(
            what="cannot use the flavour beside: no test runs beside another",
            why=f"tests run one after the other: {why}",
            fix=fix,
        )
    )


#: Where the process that has the terminal tells others why they have one job.
_TOLD = "nsisolate_why_one"

#: The modes of pytest-xdist in which a process runs whatever it was sent.
_NEVER_TAKE_BACK = {"each", "load", "loadfile", "loadgroup", "loadscope"}

#: The hook for other ways to share out tests.
_SCHEDULER = "pytest_xdist_make_scheduler"

#: Plugins with that hook that keep nothing of a test, or only on the test itself.
#: Looked at: pytest-check 3.0, pytest-error-for-skips 2.0, pytest-fail-slow 0.6,
#: pytest-html 4.2, Hypothesis 6, pytest-memray 1.11, pytest-mh 1.0, pytest-monitor 1.6,
#: pytest-playwright 0.10, pytest-qt 4.5, pytest-spec 6.1.
_KEEP_NOTHING = {
    "_hypothesis_pytestplugin",
    "pytest_check",
    "pytest_error_for_skips",
    "pytest_fail_slow",
    "pytest_html",
    "pytest_memray",
    "pytest_mh",
    "pytest_monitor",
    "pytest_playwright",
    "pytest_spec",
    "pytestqt",
}

#: Options with which tests write to the terminal themselves, or read from it.
_ONE_AT_A_TIME = {
    "setupshow": "--setup-show",
    "usepdb": "--pdb",
    "trace": "--trace",
}
