"""
Stories: where the events of tests and fixtures take place, inside or outside.

This is a plugin, so that its asserts are explained and its fixture is found.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twins import run_once

#: A line of the file ``story``: one event and where it took place.
STORY = """
    import os
    import pytest

    def tell(event):
        inside = os.readlink("/proc/self/ns/pid") != os.environ["HOST_PID"]
        with open(os.environ["STORY"], "a") as stream:
            print(event, "inside" if inside else "outside", file=stream)

    def fixture(scope, **more):
        @pytest.fixture(scope=scope, name=scope, **more)
        def made(request):
            tell(f"+{scope}")
            yield scope
            tell(f"-{scope}")
        return made
"""


@pytest.fixture
def story(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Return where the inner tests record what happened.
    """
    path = pytester.path / "story"
    path.touch()
    monkeypatch.setenv("STORY", str(path))
    monkeypatch.setenv("HOST_PID", str(Path("/proc/self/ns/pid").readlink()))
    return path


def tell_twice(pytester: pytest.Pytester, story: Path, *arguments: str) -> list[str]:
    """
    Run the tests plain and isolated; expect the same events in the same order.

    Tests that run side by side tell of their events at the same time.

    Returns:
        The events of the isolated run.
    """
    stories = []
    for switch in ("--no-nsisolate", "--nsisolate"):
        story.write_text("")
        run_once(pytester, [switch, *arguments])
        stories.append(story.read_text().splitlines())
    plain, isolated = ([line.split()[0] for line in one] for one in stories)
    if os.environ.get("NSISOLATE_JOBS", "1") != "1":
        isolated.sort()
        plain.sort()
    assert isolated == plain
    return stories[1]
