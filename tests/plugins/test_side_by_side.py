"""
Plugins whose hooks keep nothing of a test for others, with tests side by side.
"""

from __future__ import annotations

import re

import pytest
from meeting import MEET
from twins import normal

#: What each test does besides.
LINES = {
    "html": "extras.append(pytest_html.extras.text(name))",
    "check": "check.not_equal(name, 'at1')",
    "memray": "bytearray(10_000_000)",
    "hypothesis": "settings(deadline=None)(given(st.integers())(lambda one: None))()",
}

#: The plugins to load for it, the modules to import, and the fixtures to use.
NEEDS = {
    "html": (
        "pytest_metadata.plugin pytest_html.plugin pytest_html.fixtures",
        "extras",
    ),
    "check": ("pytest_check.plugin", "check"),
    "memray": ("pytest_memray.plugin", ""),
    "hypothesis": ("_hypothesis_pytestplugin", ""),
}

OPTIONS = {
    "html": ["--html=page.html", "--self-contained-html"],
    "memray": ["--memray", "--hide-memray-summary"],
}

IMPORTS = {
    "html": "import pytest_html",
    "hypothesis": "from hypothesis import given, settings, strategies as st",
}


@pytest.mark.about("pytest-html")
@pytest.mark.about("pytest-check")
@pytest.mark.about("pytest-memray")
@pytest.mark.about("hypothesis")
@pytest.mark.parametrize("plugin", LINES)
def test_side_by_side(pytester: pytest.Pytester, plugin: str) -> None:
    """
    Tests run at the same time, and show what they do one after the other.
    """
    modules, fixture = NEEDS[plugin]
    pytester.makepyfile(
        f"{MEET}\n{IMPORTS.get(plugin, '')}\n"
        f"""
NAMES = [f"at{{number}}" for number in range(3)]

@pytest.mark.parametrize("name", NAMES)
def test_meets(name, {fixture}):
    {LINES[plugin]}
    if "meet" in os.environ:
        meet(name, *NAMES)
    assert name != "at2", "so it is"
"""
    )
    named = [part for one in ("nsisolate", *modules.split()) for part in ("-p", one)]
    options = [*named, "-rA", *OPTIONS.get(plugin, ())]

    one = pytester.runpytest_subprocess(*options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("meet", "")
        more = pytester.runpytest_subprocess(*options, "--nsisolate-jobs=3")

    more.stdout.fnmatch_lines(["nsisolate: *, 3 jobs"])
    shown = [re.sub(r", 3 jobs$", "", line) for line in more.outlines]
    assert normal("\n".join(shown)) == normal(one.stdout.str())
    assert more.ret == pytest.ExitCode.TESTS_FAILED
