"""
Features and scenarios of pytest-bdd.
"""

from __future__ import annotations

import pytest
from artefacts import json_file, without_times, written
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-bdd")

_FEATURE = """
@shop
Feature: Shop
  Where things are sold.

  Background:
    Given a shop

  @good
  Scenario: Selling
    Given a thing called "lamp"
    When I buy it
    Then it is mine

  Scenario: Failing
    When I buy nothing
    Then it is mine

  Scenario Outline: Counting
    Given there are <before> things
    When I buy <number>
    Then there are <after> left

    Examples:
    | before | number | after |
    | 12     | 5      | 7     |
    | 5      | 4      | 0     |

  Scenario: Missing
    Given a step that is nowhere

  Rule: Closing
    Scenario: Closed
      Given a thing called "door"
"""

_CONFTEST = """
    def pytest_bdd_before_scenario(request, feature, scenario):
        print("before", scenario.name)

    def pytest_bdd_after_scenario(request, feature, scenario):
        print("after", scenario.name)

    def pytest_bdd_before_step(request, feature, scenario, step, step_func):
        print("step", step.name)

    def pytest_bdd_step_error(
        request, feature, scenario, step, step_func, step_func_args, exception
    ):
        print("error in", step.name)
"""

_TESTS = """
    from pytest_bdd import given, parsers, scenarios, then, when

    @given("a shop", target_fixture="shop")
    def shop():
        return {}

    @given(parsers.parse('a thing called "{name}"'), target_fixture="thing")
    def thing(name):
        return name

    @when("I buy it")
    def buy(shop, thing):
        shop["bought"] = thing

    @when("I buy nothing")
    def buy_nothing():
        assert 0, "nothing"

    @then("it is mine")
    def mine(shop, thing):
        assert shop["bought"] == thing

    @given(parsers.parse("there are {before:d} things"), target_fixture="left")
    def before(before):
        return [before]

    @when(parsers.parse("I buy {number:d}"))
    def buy_some(left, number):
        left.append(left[-1] - number)

    @then(parsers.parse("there are {after:d} left"))
    def after(left, after):
        assert left[-1] == after

    scenarios("shop.feature")
"""


@pytest.fixture(autouse=True)
def _shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Write a feature with scenarios of every kind.
    """
    # The plugin keeps tags in a set, in random order.
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    (pytester.path / "shop.feature").write_text(_FEATURE)
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(test_shop=_TESTS)


@pytest.mark.parametrize("verbosity", ["-q", "-v", "-vv"])
def test_terminal(with_plugins: WithPlugins, verbosity: str) -> None:
    """
    The terminal shows features, scenarios and steps as in a plain run.
    """
    twins = with_plugins("pytest_bdd.plugin")
    run = twins("--gherkin-terminal-reporter", "-rA", verbosity)
    run.result.assert_outcomes(passed=3, failed=3)
    assert ("Scenario: Selling" in run.stdout) is (verbosity != "-q")


def test_without_reporter(with_plugins: WithPlugins) -> None:
    """
    Scenarios have the same outcomes and call the same hooks of a conftest file.
    """
    run = with_plugins("pytest_bdd.plugin")("-v", "-rA")
    run.result.assert_outcomes(passed=3, failed=3)


def test_cucumber(pytester: pytest.Pytester) -> None:
    """
    The JSON for Cucumber has the same steps with the same results.
    """
    isolated, plain = written(
        pytester,
        ["pytest_bdd.plugin"],
        "--cucumberjson=cucumber.json",
        read=json_file(pytester, "cucumber.json"),
    )
    assert without_times(isolated) == without_times(plain)
    (feature,) = isolated
    assert len(feature["elements"]) == 6
