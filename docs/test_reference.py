"""
The reference pages, compared with the code that they describe.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import keyword_tables
import pytest
import refusals

import pytest_nsisolate
from pytest_nsisolate import hookspecs
from pytest_nsisolate.box.box import Box
from pytest_nsisolate.diagnosis import causes, engines
from pytest_nsisolate.model import ending
from pytest_nsisolate.model.spec import KEYWORDS
from pytest_nsisolate.reporting import usage
from pytest_nsisolate.runner import factory_fixtures
from pytest_nsisolate.runner.sandbox_factory import SandboxFactory
from pytest_nsisolate.sandbox import leaks
from pytest_nsisolate.sandbox.ipc import Ipc
from pytest_nsisolate.settings.isolation import Isolation
from pytest_nsisolate.settings.marker import NAMES

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
TOOLS = DOCS.parent / "tools"
PACKAGE = Path(pytest_nsisolate.__file__).parent

#: The modules that make texts for people.
SPEAKING = (
    "box/explanations",
    "box/pickled",
    "guest/rlimits",
    "model/checks",
    "model/keywords",
    "model/limits",
    "reporting/crash",
    "reporting/leak_policy",
    "reporting/network",
    "reporting/refusals",
    "reporting/shortage",
    "reporting/timeline",
    "runner/sandbox_factory",
    "settings/isolation",
    "settings/marker",
    "settings/options",
    "settings/resolve",
)


#: An environment variable of the plugin.
VARIABLE = re.compile(r"\bNSISOLATE_[A-Z_]+\b")

#: The fixtures that make boxes.
FIXTURES = [name for name in vars(factory_fixtures) if name.endswith("sandbox_factory")]


def first_cells(page: str, heading: str) -> list[str]:
    """
    Return the code in the first column of the table under *heading*.
    """
    table = (REFERENCE / page).read_text().partition(f"| {heading} |")[2]
    rows = table.partition("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def test_readme_has_two_commands() -> None:
    """
    README.md gives newcomers two commands, one line each, and no third one.
    """
    text = (DOCS.parent / "README.md").read_text()
    install = "python3 -m venv .venv && .venv/bin/pip install"

    assert re.findall(r"^python3 -m venv .*", text, re.MULTILINE) == [
        f"{install} . && .venv/bin/pytest -v docs/examples",
        f"{install} '.[test]' && .venv/bin/pytest",
    ]


def test_how_it_works_has_every_package() -> None:
    """
    The page on how it works lists each package of the code once.
    """
    packages = {path.parent.name for path in PACKAGE.glob("*/*.py")}

    assert sorted(first_cells("../explanation/how-it-works.md", "Package")) == sorted(
        packages
    )


def test_marker_page_has_the_signature() -> None:
    """
    The page on the marker lists its keywords in order, and says what their default is.
    """
    keywords = [one.name for one in KEYWORDS]
    text = (REFERENCE / "marker.md").read_text()

    assert f"```text\n{keyword_tables.signature()}```\n" in text
    assert "The default of each keyword is `None`." in text
    assert f"\n\n{keyword_tables.of_marker()}\n" in text, "docs/keyword_tables.py"
    assert first_cells("marker.md", "Keyword") == keywords
    for name in NAMES:
        assert name in text


def test_fixture_page_has_the_fields() -> None:
    """
    The page on the fixture lists the fields of its value in order.
    """
    fields = [field.name for field in dataclasses.fields(Isolation)]

    assert first_cells("fixture.md", "Field") == fields


def test_factory_page_has_the_signature() -> None:
    """
    The page on boxes lists the keywords of the factory and the methods of a box.
    """
    page = (REFERENCE / "sandbox-factory.md").read_text()
    keywords = list(inspect.signature(SandboxFactory.__call__).parameters)[1:]
    methods = [name for name, one in vars(Box).items() if inspect.isfunction(one)]
    public = [name for name in methods if not name.startswith("_")]
    kinds = [field.name for field in dataclasses.fields(Ipc)]

    assert first_cells("sandbox-factory.md", "Keyword") == keywords
    assert f"\n\n{keyword_tables.of_factory()}\n" in page, "docs/keyword_tables.py"
    assert first_cells("sandbox-factory.md", "Field") == kinds
    for name in public:
        assert f"`box.{name}(" in page
    for name in FIXTURES:
        assert f"`{name}`" in page


def test_options_page_has_the_options() -> None:
    """
    The page on the options lists those in pytest's help and no others.
    """
    command = [sys.executable, "-m", "pytest", "-p", "nsisolate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    option = re.compile(r"--(?:no-)?nsisolate[a-z-]*|\bnsisolate(?:_[a-z]+)*\b(?!:)")
    page = (REFERENCE / "options.md").read_text()
    table = page.partition("| Command line |")[2].partition("\n\n")[0]
    helped = re.findall(r"^  (--\S*nsisolate[a-z-]*)", done.stdout, re.MULTILINE)
    inis = re.findall(r"^  (nsisolate\w*) \(", done.stdout, re.MULTILINE)

    assert helped
    assert set(option.findall(table)) == {*helped, *inis}


def test_hooks_page_has_the_hooks() -> None:
    """
    The page on the hooks lists each with its arguments, in order, and explains them.
    """
    hooks = {
        name: list(inspect.signature(hook).parameters)
        for name, hook in vars(hookspecs).items()
        if name.startswith("pytest_")
    }
    sections = (REFERENCE / "hooks.md").read_text().split("\n## ")
    explained = {
        name: re.findall(r"^`(\w+)`\n:", section, re.MULTILINE)
        for section in sections
        if (name := section.partition("\n")[0]) in hooks
    }

    assert first_cells("hooks.md", "Hook") == [
        f"{name}({', '.join(arguments)})" for name, arguments in hooks.items()
    ]
    assert explained == hooks


def test_endings_page_has_the_classes() -> None:
    """
    The page on the endings lists each class of the set with its fields, in order.
    """
    page = (REFERENCE / "endings.md").read_text()
    table = page.partition("| Class |")[2].partition("\n\n")[0]
    rows = {
        (cells := line.split("|"))[1].strip(" `"): re.findall(r"`(\w+)`", cells[2])
        for line in table.splitlines()[2:]
    }

    for name, fields in rows.items():
        kind = getattr(ending, name)
        found = [field.name for field in dataclasses.fields(kind)]
        assert [one for one in fields if not one[0].isupper()][: len(found)] == found
    assert [*rows] == [kind.__name__ for kind in get_args(ending.Ending)]


def is_for_no_person(node: ast.AST) -> bool:
    """
    Say whether *node* is a docstring or type alias, or declares what users type.
    """
    match node:
        case ast.Expr(value=ast.Constant()) | ast.AnnAssign(annotation=ast.Name()):
            return True
        case ast.Assign(targets=[ast.Name(id="_DOCTORS" | "takes")]):
            return True
        case ast.AnnAssign(target=ast.Name(id="_WITH_VALUE")):
            return True
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in {"addoption", "addini", "getgroup"}
        case ast.Call(func=ast.Name(id=name)):
            return name == "keyword"
    return False


def texts_in(path: Path) -> Iterator[str]:
    """
    Yield the literal parts of the texts for people in the module at *path*.

    These have more than two words and are not docstrings, types or help texts.
    """
    tree = ast.parse(path.read_text())
    others = {
        id(part)
        for node in ast.walk(tree)
        if is_for_no_person(node)
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in others:
            continue
        if isinstance(node.value, str) and len(node.value.split()) > 2:
            yield node.value


@pytest.mark.parametrize("module", SPEAKING)
def test_errors_page_has_every_text(module: str) -> None:
    """
    The page on errors has each text for people in the module.
    """
    page = (REFERENCE / "errors.md").read_text()
    texts = list(texts_in(PACKAGE / f"{module}.py"))

    assert texts
    assert [text for text in texts if text.strip() not in page] == []


def test_refusals_page_is_made_from_the_table() -> None:
    """
    The page on refusals is what its script prints, with each reason and fix.
    """
    page = (REFERENCE / "refusals.md").read_text()

    assert page == refusals.page(), "python docs/refusals.py > that page"
    for cause in causes.CAUSES:
        assert f"## {cause.title}\n" in page
        assert cause.fix.format_map(cause.example) in page
    for engine in engines.ENGINES.values():
        for needs in (refusals.ROOT, refusals.USER):
            assert f"{engine.title}: {engine.write(needs)}\n" in page


def test_every_cause_is_made_real_or_listed() -> None:
    """
    The page on compatibility lists the causes that no kernel can be made to have.
    """
    tried = runpy.run_path(str(TOOLS / "kernels/made_real.py"))
    unreal = tried["NOT_REAL"]
    made = {one.cause for one in tried["CASES"] if one.cause and not one.texts}
    assert made | unreal.keys() == {cause.name for cause in causes.CAUSES}
    assert not made & unreal.keys()
    page = (REFERENCE / "compatibility.md").read_text()
    rows = [
        f"| {cause.title} | {unreal[cause.name]} |"
        for cause in causes.CAUSES
        if cause.name in unreal
    ]
    assert "".join(f"{row}\n" for row in ["|---|---|", *rows, ""]) in page


def test_kernels_are_claimed_as_they_were_tried() -> None:
    """
    The page on compatibility has the table of ``tox -e kernels``, README its kernels.
    """
    tool = runpy.run_path(str(TOOLS / "kernels/table.py"))
    guest = runpy.run_path(str(TOOLS / "kernels/guest.py"))
    page = (REFERENCE / "compatibility.md").read_text()
    lines = page.partition("| Kernel | User |")[2].partition("\n\n")[0].splitlines()
    rows = [tool["Row"](*line.strip("| ").split(" | ", 2)) for line in lines[2:]]
    rows = [dataclasses.replace(row, cells=row.cells.split(" | ")) for row in rows]

    assert tool["table"](guest["FULL"], rows) in page
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    assert [(row.kernel, row.user) for row in rows] == list(
        itertools.product(kernels, ["a user", "root"])
    )
    for cell in (cell for row in rows for cell in row.cells):
        assert re.fullmatch(r"ok|\d+ passed(, \d+ skipped)?", cell)
    reasons = re.findall(r"^\* .+, on (\d.+): ", page, re.MULTILINE)
    for row in rows:
        told = any(row.kernel in some.split(", ") for some in reasons)
        assert told or "skipped" not in "".join(row.cells)
    *others, last = [".".join(one.split(".")[:2]) for one in kernels]
    readme = (DOCS.parent / "README.md").read_text()
    assert f"* Linux {others[0]} or later: " in readme
    assert f"kernels {', '.join(others)} and {last} " in readme


def test_kernels_that_were_not_tried_are_told_in_words() -> None:
    """
    The table of ``tox -e kernels`` says what became of a step, and why tests skipped.
    """
    tool = runpy.run_path(str(TOOLS / "kernels/table.py"))
    result = runpy.run_path(str(TOOLS / "kernels/guest.py"))["Result"]
    said = (
        "SKIPPED [1] tests/box/test_link.py:12: this machine has no netem\n"
        "skipped Unknown cause: this kernel has no /proc/sys/kernel/it\n"
        "= 10 passed, 1 skipped, 3 deselected in 4.20s =\n"
    )
    found = {
        "doctor": result("doctor", "root", 0, 1.0, "verdict: 1 passed the time\nok\n"),
        "network": result("network", "root", 0, 1.0, said),
        "queues": result("queues", "root", None, 300.0, ""),
        "refusals": result("refusals", "root", 2, 1.0, "Traceback\nImportError\n"),
    }
    steps = [*found, "examples"]
    row = tool["Row"].of("5.10.0-32", "root", steps, found)

    assert row.user == "root"
    assert row.cells == [
        "ok",
        "10 passed, 1 skipped",
        "took too long",
        "exit code 2",
        "not reached",
    ]
    results = {kernel: list(found.values()) for kernel in ("5.10.0-32", "6.1.0-50")}
    assert tool["skipped"](results) == (
        "* `tests/box/test_link.py`, on 5.10.0-32, 6.1.0-50: "
        "this machine has no netem\n"
        "* Unknown cause, on 5.10.0-32, 6.1.0-50: "
        "this kernel has no /proc/sys/kernel/it\n"
    )


def test_plugins_are_tested_in_the_versions_on_the_page() -> None:
    """
    The page on plugins names the versions that ``tox -e plugins`` installs.
    """
    project = (DOCS.parent / "pyproject.toml").read_text()
    group = project.partition("\nplugins = [")[2].partition("]")[0]
    installed = dict(re.findall(r'"([\w-]+)==([\w.]+)"', group))
    table = (REFERENCE / "plugins.md").read_text().partition("| plugin | tested |")[2]
    rows = table.partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `([\w-]+)` \| (\S+) \|", rows, re.MULTILINE))

    assert len(shown) == len(rows.splitlines()) - 2
    assert shown == {name: installed.get(name) for name in shown}
    assert len(installed) == group.count('"') / 2


def test_public_page_has_every_name() -> None:
    """
    The page on what is public has each name that is exported, on a page that has it.
    """
    page = REFERENCE / "public-api.md"
    lines = page.read_text().partition("\n## Names\n")[2].splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    names = [name for names, _ in rows for name in re.findall(r"`(\w+)`", names)]

    assert sorted(names) == pytest_nsisolate.__all__
    for exported, where in rows:
        for link in re.findall(r"\(([\w./-]+\.md)\)", where):
            text = (REFERENCE / link).read_text()
            assert [
                name
                for name in re.findall(r"`(\w+)`", exported)
                if not re.search(rf"\b{name}\b", text)
            ] == []


def test_public_page_has_what_users_type() -> None:
    """
    The page on what is public has the markers, fixtures, variables and properties.
    """
    page = (REFERENCE / "public-api.md").read_text()
    properties = [leaks.FILE, usage.CPU, usage.PEAK_MEMORY]
    command = [sys.executable, "-m", "pytest_nsisolate", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    for name in [*NAMES, "isolation", *FIXTURES, *properties, *json.loads(done.stdout)]:
        assert f"`{name}`" in page
    assert set(VARIABLE.findall(page)) == {
        name
        for path in PACKAGE.rglob("*.py")
        for name in VARIABLE.findall(path.read_text())
    }


def test_header_is_in_the_reference() -> None:
    """
    The page on the options has each line that the header may have.
    """
    page = (REFERENCE / "options.md").read_text()
    texts = list(texts_in(PACKAGE / "settings/header.py"))

    assert texts
    assert [text for text in texts if text.strip() not in page] == []


def test_each_way_to_start_a_container_is_shown() -> None:
    """
    The page on CI has a line for each row that ``tox -e containers`` tries, in order.
    """
    rows = runpy.run_path(str(DOCS.parent / "tools/containers/rows.py"))["ROWS"]
    page = (DOCS / "how-to/run-in-ci.md").read_text()
    commands = "docker run|podman run|bwrap|systemd-nspawn|chroot"

    shown = re.findall(rf"^\| `(?:{commands}) ?(.*?)` \|", page, re.MULTILINE)

    assert shown == [row.options for row in rows]
