"""
Integrations with other plugins: one module for each of them.

A plugin that keeps its results in memory would lose them when the guest ends. Its
integration sends them to the supervisor, or makes the plugin work in the guest. Each is
written on the hooks of `pytest_nsisolate.hookspecs` alone.
"""

from __future__ import annotations

import sys

import pytest

from pytest_nsisolate.integrations import (
    allure,
    asyncio,
    bdd,
    benchmark,
    coverage,
    django,
    flaky,
    inline_snapshot,
    jsonreport,
    junitxml,
    randomly,
    rerunfailures,
    subtests,
    syrupy,
    timeout,
)

#: By the module that must be loaded for the integration to be needed.
_INTEGRATIONS = {
    "_pytest.junitxml": junitxml.Integration,
    "_pytest.subtests": subtests.Integration,
    "allure_pytest": allure.Integration,
    "django": django.Integration,
    "flaky": flaky.Integration,
    "inline_snapshot": inline_snapshot.Integration,
    "pytest_bdd": bdd.Integration,
    "pytest_benchmark": benchmark.Integration,
    "pytest_jsonreport": jsonreport.Integration,
    "pytest_randomly": randomly.Integration,
    "pytest_rerunfailures": rerunfailures.Integration,
    "pytest_timeout": timeout.Integration,
    "syrupy": syrupy.Integration,
}


def register(config: pytest.Config) -> None:
    """
    Register the integrations that this session needs.
    """
    # A measurement or an event loop may also start later.
    needed = {"coverage": coverage.Integration, "asyncio": asyncio.Integration}
    needed |= {
        package.rpartition(".")[2]: integration
        for package, integration in _INTEGRATIONS.items()
        if package in sys.modules
    }
    for name, integration in needed.items():
        config.pluginmanager.register(integration(), f"nsisolate-{name}")
