"""
What ``pytest --help`` says of the plugin: all of it, in sentences.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_nsisolate

PACKAGE = Path(pytest_nsisolate.__file__).parent

#: The beginning of an option in the help: its name, and its values or its type.
OPTION = re.compile(r"^  (--(?:no-)?nsisolate[\w-]*|nsisolate\w*)(.*?)(?:   +|$)")


def options_in(lines: list[str]) -> dict[str, str]:
    """
    Return what the help says of each option of the plugin.
    """
    texts: dict[str, str] = {}
    name = None
    for line in lines:
        if found := OPTION.match(line):
            name = found[1]
            texts[name] = line[found.end() :]
        elif name and line.startswith("      "):
            texts[name] += f" {line.strip()}"
        else:
            name = None
    return {name: text.strip() for name, text in texts.items()}


@pytest.fixture
def texts(pytester: pytest.Pytester) -> dict[str, str]:
    """
    Provide what the help says of each option, on the command line and in the ini file.
    """
    result = pytester.runpytest("--help")
    assert result.ret == pytest.ExitCode.OK
    return options_in(result.outlines)


def test_each_option_has_a_sentence(texts: dict[str, str]) -> None:
    """
    The help says of each option what it does, in a whole sentence.
    """
    assert len(texts) > 25
    for name, text in texts.items():
        assert re.fullmatch(r"[A-Z][a-z]+ .*[^.]\.", text), name


def test_each_value_has_its_default(texts: dict[str, str]) -> None:
    """
    The help names the default of each option that takes a value.
    """
    without = {"--nsisolate", "--no-nsisolate", "nsisolate"}
    values = {
        name: text
        for name, text in texts.items()
        if name not in without and not name.startswith("--nsisolate-doctor")
    }

    assert len(values) > 20
    assert [name for name, text in values.items() if "(default: " not in text] == []


def test_the_ini_file_has_the_same_texts(texts: dict[str, str]) -> None:
    """
    The help says the same of an ini option as of that on the command line.
    """
    inis = {name: text for name, text in texts.items() if name[0] != "-"}

    assert len(inis) > 10
    for name, text in inis.items():
        assert texts[f"--{name.replace('_', '-')}"] == text


def test_each_variable_is_named(texts: dict[str, str]) -> None:
    """
    The help names each environment variable that the plugin reads.
    """
    variables = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"\bNSISOLATE_[A-Z_]+\b", path.read_text())
    }

    assert variables
    assert [name for name in variables if name not in " ".join(texts.values())] == []
