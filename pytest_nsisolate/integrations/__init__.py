"""
Carriers: what a plugin keeps in its process comes from a guest into the supervisor.

One module a plugin, on the hooks of `pytest_nsisolate.hookspecs` and nothing else.
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

#: By the package without which a carrier would have nothing to do.
_CARRIERS = {
    "_pytest.junitxml": junitxml.Carrier,
    "_pytest.subtests": subtests.Carrier,
    "allure_pytest": allure.Carrier,
    "django": django.Carrier,
    "flaky": flaky.Carrier,
    "inline_snapshot": inline_snapshot.Carrier,
    "pytest_bdd": bdd.Carrier,
    "pytest_benchmark": benchmark.Carrier,
    "pytest_jsonreport": jsonreport.Carrier,
    "pytest_randomly": randomly.Carrier,
    "pytest_rerunfailures": rerunfailures.Carrier,
    "pytest_timeout": timeout.Carrier,
    "syrupy": syrupy.Carrier,
}


def register(config: pytest.Config) -> None:
    """
    Register those carriers that this session has a use for.
    """
    # Whoever starts to measure, or a loop, may do so later.
    carriers = {"coverage": coverage.Carrier, "asyncio": asyncio.Carrier}
    carriers |= {
        package.rpartition(".")[2]: carrier
        for package, carrier in _CARRIERS.items()
        if package in sys.modules
    }
    for name, carrier in carriers.items():
        config.pluginmanager.register(carrier(), f"nsisolate-{name}")
