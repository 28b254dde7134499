"""
The number of isolated tests that run at the same time in a session, and why it is 1.
"""

from __future__ import annotations

import pytest

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
    return processors.usable() if number is None else number


def words(config: pytest.Config) -> str:
    """
    Return what to add to the line in pytest's header.
    """
    asked = _asked(config)
    if asked == 1:
        return ""
    why = why_one(config)
    return f", one job instead of {asked} ({why})" if why else f", {asked} jobs"


def why_one(config: pytest.Config) -> str:
    """
    Return why tests run one after the other, in a few words; empty if they need not.
    """
    if hasattr(config, "workerinput") or config.getoption("dist", "no") != "no":
        # Which tests its processes run next is known to it alone.
        return "pytest-xdist"
    capture = config.getoption("capture", "no")
    if capture != "fd":
        # What tests print goes past pytest, which could not put it in order.
        return f"--capture={capture}"
    for name, option in _ONE_AT_A_TIME.items():
        if config.getoption(name, default=None):
            return option
    most = config.getoption("maxfail", None) or 0
    if most > 1:
        # A test with subtests stops at one of them, by how many have failed before.
        return f"--maxfail={most}"
    if config.pluginmanager.has_plugin("logging-plugin") and (
        config.getoption("log_file") or config.getini("log_file")
    ):
        return "log_file"
    for impl in memory.keepers(config):
        # The next test may look at what it has kept of this one.
        module = impl.function.__module__
        if package_of(module) not in _KEEP_NOTHING:
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


#: Plugins with that hook that keep nothing of a test for others.
_KEEP_NOTHING = {"_hypothesis_pytestplugin"}

#: Options with which tests write to the terminal themselves, or read from it.
_ONE_AT_A_TIME = {
    "setupshow": "--setup-show",
    "usepdb": "--pdb",
    "trace": "--trace",
}
