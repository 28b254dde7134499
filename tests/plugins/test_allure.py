"""
Results of allure-pytest.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from artefacts import without_times, written
from twins import Run

pytestmark = pytest.mark.about("allure-pytest")

_CONFTEST = """
    import allure
    import pytest

    @pytest.fixture(scope="session")
    def borrowed():
        with allure.step("in borrowed"):
            allure.attach("of borrowed", name="attached")
        allure.dynamic.label("from", "borrowed")
        print("borrowed set up")
        yield
        with allure.step("out of borrowed"):
            print("borrowed torn down")

    @allure.title("An owned fixture")
    @pytest.fixture
    def owned():
        with allure.step("in owned"):
            pass
        yield
        with allure.step("out of owned"):
            print("owned torn down")
"""

_TESTS = """
    import logging
    import allure
    import pytest

    @allure.severity(allure.severity_level.CRITICAL)
    @allure.title("A title with {letter}")
    @allure.epic("An epic")
    @allure.feature("A feature")
    @allure.issue("1", "an issue")
    @allure.link("http://localhost", name="a link")
    @allure.description("A description")
    @allure.tag("one", "two")
    @pytest.mark.parametrize("letter", ["a", "b"])
    def test_marked(letter, borrowed, owned):
        with allure.step("outer"):
            with allure.step("inner"):
                text = allure.attachment_type.TEXT
                allure.attach("text", name="a text", attachment_type=text)
        allure.attach.file(__file__, name="a file", extension="py")
        print("printed")
        logging.warning("logged")

    def test_dynamic(borrowed):
        allure.dynamic.title("A new title")
        allure.dynamic.severity("minor")
        allure.dynamic.description("A new description")
        allure.dynamic.link("http://localhost/new")
        allure.dynamic.parameter("parameter", 7)
        allure.dynamic.tag("three")

    def test_fail(owned):
        with allure.step("a bad step"):
            assert 0, "a message"

    def test_broken():
        raise ValueError

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    @pytest.mark.xfail(reason="another")
    def test_xfail(): assert 0

    @pytest.fixture
    def breaks():
        yield
        raise ValueError

    def test_breaks(breaks): pass

    @pytest.fixture(scope="module")
    def never_there():
        raise ValueError

    def test_without(never_there, owned): pass

    class TestClass:
        def setup_method(self):
            print("method set up")

        def test_method(self, borrowed): pass

    @pytest.fixture(scope="module")
    def breaks_outside():
        yield
        raise ValueError("outside")

    def test_last(breaks_outside): pass
"""


def _name(result: dict[str, Any]) -> str:
    """
    Return the name of a result, with its parameters.
    """
    values = [one["value"] for one in result.get("parameters", [])]
    return " ".join([result.get("fullName", "?"), *values])


def _read(directory: Path) -> dict[str, Any]:
    """
    Return and remove all results and containers, with the contents of attachments.
    """
    files = {path.name: path.read_text() for path in directory.iterdir()}
    shutil.rmtree(directory)
    results = [json.loads(files[name]) for name in files if "-result" in name]
    names = {one["uuid"]: _name(one) for one in results}

    def resolved(value: Any, key: str = "") -> Any:
        """
        Return *value* with the referenced content in place of random names.
        """
        if isinstance(value, dict):
            return {one: resolved(other, one) for one, other in value.items()}
        if isinstance(value, list):
            return [resolved(one, key) for one in value]
        if key == "source":
            return files[value]
        if key == "children":
            return names.get(value, "unknown")
        # The label for the thread contains the process id.
        return re.sub(r"^\d+-MainThread$", "…", value) if key == "value" else value

    kinds: dict[str, Any] = {"files": sorted(Path(name).suffix for name in files)}
    for kind in ("result", "container"):
        told = [json.loads(files[name]) for name in files if f"-{kind}" in name]
        told = [without_times({**resolved(one), "uuid": "…"}) for one in told]
        kinds[kind] = sorted(told, key=lambda one: json.dumps(one, sort_keys=True))
    return kinds


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keep labels in the same order in each run: the plugin holds them in a set.
    """
    monkeypatch.setenv("PYTHONHASHSEED", "0")


@pytest.mark.parametrize("arguments", [[], ["--allure-no-capture"]])
def test_results(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """
    Results, containers and attachments match a plain run, one result for each test.
    """
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(test_it=_TESTS)

    def read(_: Run) -> dict[str, Any]:
        """
        Return the contents of the directory.
        """
        return _read(pytester.path / "results")

    isolated, plain = written(
        pytester, ["allure_pytest.plugin"], "--alluredir=results", *arguments, read=read
    )
    assert isolated == plain
    assert len(isolated["result"]) == 11
    (borrowed,) = (
        one
        for one in isolated["container"]
        if [before["name"] for before in one["befores"]] == ["borrowed"]
    )
    assert len(borrowed["children"]) == 4


def test_mixed(pytester: pytest.Pytester) -> None:
    """
    Results also match where only some tests of a module are isolated.
    """
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(
        test_it="""
        import pytest

        def test_on_host(borrowed, owned): print("printed")

        @pytest.mark.isolated
        def test_isolated(borrowed, owned): print("printed")

        def test_on_host_again(borrowed, owned): print("printed")
        """
    )
    found = []
    for switch in ([], ["--no-nsisolate"]):
        pytester.runpytest_subprocess(
            *["-p", "nsisolate", "-p", "allure_pytest.plugin"],
            *["--alluredir=results", *switch],
        )
        found.append(_read(pytester.path / "results"))
    assert found[0] == found[1]
    assert len(found[0]["result"]) == 3


def test_crash(pytester: pytest.Pytester) -> None:
    """
    A test that crashes has a result too, which says so.
    """
    pytester.makepyfile(
        """
        import os

        def test_crash():
            os._exit(3)

        def test_after(): pass
        """
    )
    pytester.runpytest_subprocess(
        *["-p", "nsisolate", "-p", "allure_pytest.plugin"],
        *["--alluredir=results", "--nsisolate"],
    )
    results = _read(pytester.path / "results")["result"]
    told = {one["name"]: one for one in results}
    assert {name: one["status"] for name, one in told.items()} == {
        "test_crash": "failed",
        "test_after": "passed",
    }
    assert "exited with code 3" in told["test_crash"]["statusDetails"]["message"]
