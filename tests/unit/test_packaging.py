"""
The wheel and the source distribution: complete, with nothing superfluous.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import pytest_nsisolate

ROOT = Path(__file__).parents[2]
VERSION = pytest_nsisolate.__version__


def build(target: str, directory: Path) -> Path:
    """
    Build *target*, wheel or sdist, from this checkout without network access.
    """
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", directory],
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    (path,) = directory.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """
    Provide the names and texts of the files in the wheel.
    """
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """
    Provide the names of the files in the sdist, without its top directory.
    """
    with tarfile.open(build("sdist", tmp_path_factory.mktemp("sdist"))) as file:
        return {name.partition("/")[2] for name in file.getnames()}


@pytest.fixture
def facts(wheel: dict[str, str]) -> Message:
    """
    Provide the metadata in the wheel.
    """
    return Parser().parsestr(wheel[f"pytest_nsisolate-{VERSION}.dist-info/METADATA"])


def test_wheel_holds_the_package_alone(wheel: dict[str, str]) -> None:
    """
    The wheel has every file of the package and the licences, and nothing else.
    """
    info = f"pytest_nsisolate-{VERSION}.dist-info"
    files = {str(path.relative_to(ROOT)) for path in package_files()}
    for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt"):
        files.add(f"{info}/{name}")
    for name in ("LICENSE", "LICENSES/Apache-2.0.txt", "NOTICE"):
        files.add(f"{info}/licenses/{name}")

    assert set(wheel) == files
    assert "pytest_nsisolate/py.typed" in files
    assert "pytest_nsisolate/seccomp/docker-default.json" in files


def package_files() -> list[Path]:
    """
    Return the files of the package in this checkout.
    """
    every = (ROOT / "pytest_nsisolate").rglob("*")
    return [path for path in every if path.is_file() and path.suffix != ".pyc"]


def test_wheel_announces_the_plugin(wheel: dict[str, str]) -> None:
    """
    pytest finds the plugin through the entry point nsisolate.
    """
    points = wheel[f"pytest_nsisolate-{VERSION}.dist-info/entry_points.txt"]

    assert points.split("\n")[:2] == [
        "[pytest11]",
        "nsisolate = pytest_nsisolate.plugin",
    ]


def test_metadata_says_what_it_is(facts: Message) -> None:
    """
    The metadata has the name, version, licence, oldest Python and classifier.
    """
    assert facts["Name"] == "pytest-nsisolate"
    assert facts["Version"] == VERSION
    assert facts["License-Expression"] == "MIT AND Apache-2.0"
    assert facts["Requires-Python"] == ">=3.10"
    assert "Framework :: Pytest" in facts.get_all("Classifier", [])


def test_description_leads_to_the_repository(facts: Message) -> None:
    """
    Each link and picture in the description is absolute, and its file exists.
    """
    description = str(facts.get_payload())
    link = re.compile(r'\]\(([^)\s]+)|\b(?:src|srcset|href)="([^"]+)"')
    links = ["".join(groups) for groups in link.findall(description)]
    files = f"/pytest-nsisolate/pytest-nsisolate/(?:blob/)?v{re.escape(VERSION)}/"
    found = [
        match
        for one in links
        if (match := re.match(rf"https://[\w.]+{files}([^#]+)", one))
    ]

    assert facts["Description-Content-Type"] == "text/markdown"
    assert [one for one in links if not re.match("https://|#", one)] == []
    assert len(found) > 10
    assert [match[1] for match in found if not (ROOT / match[1]).exists()] == []


def test_addresses_are_the_same_everywhere(facts: Message) -> None:
    """
    All texts name the repository that the metadata names as the source.
    """
    urls = dict(one.split(", ") for one in facts.get_all("Project-URL", []))
    ours = re.compile(r"https://github\.com/[\w-]+/pytest-nsisolate\b")
    texts = [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        *ROOT.glob("docs/conf.py"),
        *ROOT.glob("tests/site/*.py"),
        *ROOT.glob(".github/**/*.yml"),
    ]

    assert {one for path in texts for one in ours.findall(path.read_text())} == {
        urls["Source"]
    }
    assert set(urls) == {"Changelog", "Documentation", "Issues", "Security", "Source"}


def test_pythons_are_the_same_everywhere(facts: Message) -> None:
    """
    Classifiers, tox, the workflow and the pages name the same versions of Python.
    """
    every = "\n".join(facts.get_all("Classifier", []))
    minors = re.findall(r":: Python :: 3\.(\d+)$", every, re.MULTILINE)
    workflow = json.dumps([f"3.{minor}" for minor in minors])
    said = {
        "tox.ini": f"py{{{', '.join(f'3{minor}' for minor in minors)}}}-pytest",
        ".github/workflows/ci.yml": f"python: {workflow}\n",
        "README.md": f"CPython 3.{minors[0]} to 3.{minors[-1]} ",
        "docs/reference/compatibility.md": f"3.{minors[0]} to 3.{minors[-1]},",
    }

    assert facts["Requires-Python"] == f">=3.{minors[0]}"
    for path, text in said.items():
        assert text in (ROOT / path).read_text(), path


def test_runtime_dependencies_are_three(facts: Message) -> None:
    """
    Installing the plugin installs pytest, pluggy and psutil too.
    """
    needed = [
        re.match(r"[\w-]+", one)
        for one in facts.get_all("Requires-Dist", [])
        if "extra ==" not in one
    ]

    assert sorted(one[0] for one in needed if one) == ["pluggy", "psutil", "pytest"]


def test_sdist_can_be_tested(sdist: set[str]) -> None:
    """
    The source distribution has everything needed to build and test it.
    """
    wanted = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"}
    for directory in ("pytest_nsisolate", "tests", "docs"):
        for path in (ROOT / directory).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not {"__pycache__", "_build"} & set(parts):
                wanted.add("/".join(parts))

    assert wanted - sdist == set()
    assert any(re.match(r"docs/examples/\w+/test_", name) for name in sdist)


def test_sdist_has_nothing_of_this_machine(sdist: set[str]) -> None:
    """
    Caches, environments and build results stay out of the source distribution.
    """
    unwanted = re.compile(r"(^|/)(\.venv|\.tox|\.git|__pycache__|[^/]*_cache|_build)/")

    assert [name for name in sorted(sdist) if unwanted.search(name)] == []


def test_installed_version_is_the_package_s() -> None:
    """
    The version of the installed distribution is that of the package.
    """
    assert metadata.version("pytest-nsisolate") == VERSION
