"""
The files in the repository that tools and services read: they agree with each other.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

_REQUIREMENT = re.compile(r"\b([a-z][\w-]*(?:[<>=~]=[\w.]+))")


def group(name: str) -> set[str]:
    """
    Return the requirements of a dependency group.
    """
    project = (ROOT / "pyproject.toml").read_text().partition("[dependency-groups]")[2]
    found = re.search(rf"^{name} = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)
    assert found is not None
    return set(_REQUIREMENT.findall(found[1]))


def test_pre_commit_has_the_versions_of_the_lanes() -> None:
    """
    What pre-commit installs is what the lanes lint and type install.
    """
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    hooks = text.split("      - id: ")[1:]
    for_mypy = [hook for hook in hooks if hook.startswith("mypy")]
    others = {one for hook in hooks for one in _REQUIREMENT.findall(hook)} - group(
        "type"
    )

    assert [set(_REQUIREMENT.findall(hook)) for hook in for_mypy] == [group("type")]
    assert others
    assert others <= group("lint")


def test_pre_commit_calls_mypy_as_the_lane_does() -> None:
    """
    pre-commit and the lane type check the same files with the same options.
    """
    tox = (ROOT / "tox.ini").read_text()
    path = re.search(r"^set_env = (MYPYPATH) = (.*)$", tox, re.MULTILINE)
    command = re.search(r"^    (mypy .* pytest_nsisolate tests)$", tox, re.MULTILINE)

    assert path is not None
    assert command is not None
    assert (
        f"entry: env {path[1]}={path[2]} {command[1]}\n"
        in (ROOT / ".pre-commit-config.yaml").read_text()
    )


def test_actions_are_pinned() -> None:
    """
    Each action is named by its commit, with the version beside it, the same everywhere.
    """
    uses = {
        line.split("uses: ")[1]
        for path in WORKFLOWS
        for line in path.read_text().splitlines()
        if "uses: " in line
    }

    assert len(uses) >= 4
    assert [
        one
        for one in uses
        if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)
    ] == []
    assert len({one.partition("@")[0] for one in uses}) == len(uses)


def test_release_publishes_without_a_token() -> None:
    """
    Only the last job of a release may prove who it is, and nothing else may write.
    """
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    others, _, publish = text.partition("\n  publish:\n")

    assert "\npermissions: {}\n" in others
    assert "write" not in others
    assert re.findall(r"^ +[\w-]+: write$", publish, re.MULTILINE) == [
        "      id-token: write"
    ]
    assert "    environment: release\n" in publish
    assert "    needs: [build, test]\n" in publish
    assert "attestations: true\n" in publish
    assert "secrets." not in text


def test_forms_ask_for_the_doctor() -> None:
    """
    The forms for a bug and a refusal ask for what the doctor prints as JSON.
    """
    for name in ("bug", "refusal"):
        form = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text()
        doctor = form.partition("    id: doctor\n")[2].partition("  - type:")[0]
        assert "`python -m pytest_nsisolate --json`" in doctor
        assert "render: json\n" in doctor
        assert "required: true\n" in doctor


def test_read_the_docs_installs_what_the_lane_installs() -> None:
    """
    Read the Docs and the lanes that build the documentation read the same requirements.
    """
    name = "docs/requirements.txt"
    tox = (ROOT / "tox.ini").read_text()
    conf = (ROOT / "docs/conf.py").read_text()
    extensions = re.search(r"^extensions = \[(.*?)\]$", conf, re.MULTILINE | re.DOTALL)

    assert f"- requirements: {name}\n" in (ROOT / ".readthedocs.yaml").read_text()
    assert tox.count(f"deps = -r {name}\n") == 2
    assert extensions is not None
    required = (ROOT / name).read_text()
    found = re.findall(r'"([\w.]+)"', extensions[1])
    assert found
    for extension in found:
        package = {"notfound.extension": "sphinx-notfound-page"}.get(
            extension, extension
        )
        assert f"\n{re.sub('[_.]', '-', package)}>=" in required
