"""
Integrations with other plugins: one module for each of them.

A plugin that keeps its results in memory would lose them when the guest ends. Its
integration sends them to the supervisor, or makes the plugin work in the guest. Each is
written on the hooks of `pytest_nsisolate.hookspecs` alone.
"""

from __future__ import annotations

import importlib
import sys

import pytest

from pytest_nsisolate.compat import builtin_plugins
from pytest_nsisolate.compat.plain_import import as_at_the_start

#: By the module that must be loaded for an integration to be needed, its module here.
_INTEGRATIONS = {
    "_pytest.junitxml": "junitxml",
    "_pytest.subtests": "subtests",
    "allure_pytest": "allure",
    "django": "django",
    "flaky": "flaky",
    "inline_snapshot": "inline_snapshot",
    "pytest_bdd": "bdd",
    "pytest_benchmark": "benchmark",
    "pytest_durations": "durations",
    "pytest_harvest.results_bags": "harvest",
    "pytest_httpserver": "httpserver",
    "pytest_jsonreport": "jsonreport",
    "pytest_profiling": "profiling",
    "pytest_randomly": "randomly",
    "pytest_rerunfailures": "rerunfailures",
    "pytest_timeout": "timeout",
    "syrupy": "syrupy",
    "teamcity": "teamcity",
    "testmon": "testmon",
    "vscode_pytest": "vscode",
}

#: The same for what any test or plugin may load later.
_LATE = {
    "asyncio": "asyncio",
    "concurrent.futures.thread": "asyncio",
    "coverage": "coverage",
    "pydevd": "pydevd",
}


def serves(package: str) -> bool:
    """
    Say whether an integration carries what the plugin *package* keeps.
    """
    return package in _INTEGRATIONS


def register(config: pytest.Config) -> None:
    """
    Import and register the integrations that this session needs.
    """
    needed = {
        package.rpartition(".")[2]: module
        for package, module in _INTEGRATIONS.items()
        if package in sys.modules
    }
    if not builtin_plugins.writes_xml(config):
        # pytest always loads that plugin, and each guest would call ours in vain.
        needed.pop("junitxml", None)
    for name, module in needed.items():
        _register(config, name, module)
    register_late(config)


def register_late(config: pytest.Config) -> None:
    """
    Do so, before a fork, for what was loaded since: guests call what is registered.
    """
    for package, module in _LATE.items():
        if package in sys.modules and not config.pluginmanager.has_plugin(
            f"nsisolate-{module}"
        ):
            _register(config, module, module)


def _register(config: pytest.Config, name: str, module: str) -> None:
    with as_at_the_start():
        # By its name, for a session needs few of them and would import them all.
        integration = importlib.import_module(f"{__name__}.{module}").Integration
    config.pluginmanager.register(integration(), f"nsisolate-{name}")
