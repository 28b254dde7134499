"""
Benchmarks of pytest-benchmark.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from artefacts import json_file, written
from twins import Run, WithPlugins

pytestmark = pytest.mark.about("pytest-benchmark")

_PLUGINS = ["pytest_benchmark.plugin"]
_QUICK = ("--benchmark-max-time=0.001", "--benchmark-min-rounds=3")

_CONFTEST = """
    def pytest_benchmark_generate_machine_info(config):
        return {"machine": 1}

    def pytest_benchmark_update_json(config, benchmarks, output_json):
        output_json["number"] = len(benchmarks)
"""

_TESTS = """
    import time
    import pytest

    def work():
        return sum(range(50))

    def test_plain(benchmark):
        assert benchmark(work) == 1225
        assert benchmark.stats["rounds"] >= 3

    @pytest.mark.benchmark(group="a group", disable_gc=True, timer=time.process_time)
    def test_marked(benchmark):
        benchmark.extra_info["extra"] = {"list": [1, 2]}
        benchmark(work)

    def test_pedantic(benchmark):
        benchmark.pedantic(work, rounds=4, iterations=2, warmup_rounds=1)

    @pytest.mark.parametrize("number", [1, 2])
    def test_parametrized(benchmark, number):
        benchmark.group = "numbers"
        benchmark(lambda: number)

    @pytest.fixture
    def informed(benchmark):
        yield benchmark
        benchmark.extra_info["late"] = 1

    def test_informed(informed):
        informed(work)

    def test_fail_afterwards(benchmark):
        benchmark(work)
        assert 0

    def test_fail_inside(benchmark):
        benchmark(lambda: 1 / 0)

    def test_unused(benchmark): pass

    def test_none(): pass
"""


@pytest.fixture(autouse=True)
def _benchmarks(pytester: pytest.Pytester) -> None:
    """
    Write benchmarks of every kind.
    """
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(_TESTS)


def _without_figures(report: dict[str, Any]) -> dict[str, Any]:
    """
    Return *report* with each measured value replaced by its type.
    """
    del report["datetime"]
    for one in report["benchmarks"]:
        one["stats"] = {
            name: value
            # Other benchmarks run as many rounds as there is time for.
            if name == "rounds" and one["name"] == "test_pedantic"
            else type(value).__name__
            for name, value in one["stats"].items()
        }
        for called in one.get("cprofile", ()):
            for name in ("tottime", "cumtime", "tottime_per", "cumtime_per"):
                del called[name]
        one.get("cprofile", []).sort(key=lambda called: str(called["function_name"]))
    return report


@pytest.mark.parametrize(
    "arguments", [[], ["--benchmark-cprofile=ncalls"], ["--benchmark-save-data"]]
)
def test_json(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """
    Apart from figures, the JSON is the same: groups, extras, options and parameters.
    """
    isolated, plain = written(
        pytester,
        _PLUGINS,
        *_QUICK,
        *arguments,
        "--benchmark-json=all.json",
        read=json_file(pytester, "all.json"),
    )
    assert _without_figures(isolated) == _without_figures(plain)
    names = [one["name"] for one in isolated["benchmarks"]]
    assert names[-2:] == ["test_informed", "test_fail_afterwards"]
    assert isolated["number"] == len(names) == 7
    if "--benchmark-cprofile=ncalls" in arguments:
        assert isolated["benchmarks"][0]["cprofile"]


def test_table(pytester: pytest.Pytester) -> None:
    """
    The tables have the same rows, and the tests the same outcomes.
    """

    def read(run: Run) -> tuple[list[str], dict[str, int], list[tuple[str, str]]]:
        """
        Return the rows of the tables and the outcomes of the tests.
        """
        found = re.findall(
            r"^(-.* tests? -|test_\w+\S*(?= ))", run.stdout, re.MULTILINE
        )
        rows = [re.sub("-+", "-", one) for one in found]
        return rows, run.result.parseoutcomes(), run.outcomes

    arguments = [*_QUICK, "--benchmark-sort=name", "--benchmark-columns=min,rounds"]
    isolated, plain = written(pytester, _PLUGINS, *arguments, read=read)
    assert isolated == plain
    assert "test_parametrized[1]" in isolated[0]


def test_compare(pytester: pytest.Pytester) -> None:
    """
    A run is saved, and the next run compares the same tests with it.
    """

    def read(run: Run) -> tuple[list[str], list[str]]:
        """
        Return which tests have been saved and which are in the tables.
        """
        saved = pytester.path / "kept"
        names = []
        for path in sorted(saved.glob("*/*.json")):
            told = json.loads(path.read_text())
            names += [one["fullname"] for one in told["benchmarks"]]
        compared = re.findall(r"^(test_\S+) \((\w+)", run.stdout, re.MULTILINE)
        return names, sorted(f"{name} {which}" for name, which in compared)

    arguments = [*_QUICK, "--benchmark-storage=kept", "--benchmark-autosave"]
    isolated, plain = written(pytester, _PLUGINS, *arguments, read=read)
    # The first run has saved these, and the second has saved the same again.
    assert plain[0] == isolated[0] * 2
    assert len(isolated[0]) == 7
    isolated, plain = written(
        pytester,
        _PLUGINS,
        *_QUICK,
        "--benchmark-storage=kept",
        "--benchmark-compare",
        read=read,
    )
    assert isolated == plain
    assert "test_plain NOW" in plain[1]


@pytest.mark.parametrize("switch", ["--benchmark-disable", "--benchmark-skip"])
def test_switched_off(with_plugins: WithPlugins, switch: str) -> None:
    """
    Without timing, everything is as in a plain run, to the letter.
    """
    run = with_plugins(*_PLUGINS)(switch)
    assert "test_none" not in run.stdout
    assert "Rounds" not in run.stdout
