"""
The documentation's page on plugins, compared with the tests about each plugin.

This runs after those tests, in the same session.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

DIRECTORY = Path(__file__).parent
PAGE = DIRECTORY.parents[1] / "docs" / "reference" / "plugins.md"

#: What a row may say, given the outcomes of the tests about its plugin.
VERDICTS = {
    frozenset({"passed"}): "works",
    frozenset({"passed", "xfailed"}): "in part",
    frozenset({"xfailed"}): "cannot",
}


class Row(NamedTuple):
    """
    What the table says of a plugin.
    """

    version: str
    verdict: str
    note: str


def rows() -> dict[str, Row]:
    """
    Return what the table says of each plugin.
    """
    table = PAGE.read_text().partition("| plugin | tested | works | note |")[2]
    lines = table.partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert len({name for name, *_ in cells}) == len(cells)
    return {name.strip("`"): Row(*others) for name, *others in cells}


def seen(config: pytest.Config) -> dict[str, set[str]]:
    """
    Return the outcomes of the tests about each plugin, as far as they have run.
    """
    # Not imported: the directory above has a module with the same name.
    conftest: Any = config.pluginmanager.get_plugin(str(DIRECTORY / "conftest.py"))
    return cast("dict[str, set[str]]", config.stash[conftest.seen])


def is_narrowed(config: pytest.Config) -> bool:
    """
    Say whether some of the tests about a plugin may have been left out.
    """
    options = ("keyword", "markexpr", "deselect", "lf", "stepwise")
    return (
        any(config.getoption(option, default=None) for option in options)
        or any("::" in argument for argument in config.args)
        # Each process of pytest-xdist has run some.
        or hasattr(config, "workerinput")
    )


def is_whole(session: pytest.Session) -> bool:
    """
    Say whether all modules of this directory are run.
    """
    here = {item.path for item in session.items}
    return not is_narrowed(session.config) and here.issuperset(
        DIRECTORY.glob("test_*.py")
    )


@pytest.mark.parametrize("plugin", rows())
def test_row(request: pytest.FixtureRequest, plugin: str) -> None:
    """
    The page says that a plugin works, works in part or fails, as its tests show.
    """
    if is_narrowed(request.config):
        pytest.skip("not all tests about a plugin are run")
    outcomes = seen(request.config).get(plugin, set())
    if not outcomes and not is_whole(request.session):
        pytest.skip("no test about it is run")
    assert outcomes, f"no test is about {plugin}"
    # A skip shows only what this environment cannot run.
    if shown := outcomes - {"skipped"}:
        verdict = VERDICTS.get(frozenset(shown), f"its tests have {sorted(shown)}")
        assert rows()[plugin].verdict == verdict


@pytest.mark.parametrize("plugin", rows())
def test_version(plugin: str) -> None:
    """
    The page names the version of a plugin that is installed here, if it is.
    """
    try:
        installed = metadata.version(plugin)
    except metadata.PackageNotFoundError:
        pytest.skip("it is not installed")
    assert rows()[plugin].version == installed


def test_every_plugin_has_a_row(request: pytest.FixtureRequest) -> None:
    """
    Each plugin that a test is about is on the page.
    """
    assert seen(request.config).keys() <= rows().keys()


def test_rows_say_one_of_three() -> None:
    """
    Each row has a verdict, and each verdict but the best has a note.
    """
    assert len(rows()) > 25
    assert {row.verdict for row in rows().values()} <= set(VERDICTS.values())
    assert [
        name for name, row in rows().items() if not row.note and row.verdict != "works"
    ] == []
