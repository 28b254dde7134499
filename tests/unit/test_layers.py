"""
The house: packages on floors, imports that only go down, and two doors.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_nsisolate
from pytest_nsisolate.launcher import main
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.model.user_namespace import UserNamespace

PACKAGE = Path(pytest_nsisolate.__file__).parent
NAME = PACKAGE.name

#: The page with the picture of the house.
CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"

#: One floor of that picture: its name, whether it knows pytest, and a description.
FLOOR = re.compile(r"(?P<name>[a-z_]+(?:/|\.py))  +(?P<pytest>pytest|no pytest)  +\S.*")


def floors() -> dict[str, bool]:
    """
    Return the floors of the house from the top, and whether each knows pytest.
    """
    picture = CONTRIBUTING.read_text().partition("```text\n")[2].partition("```")[0]
    found = [FLOOR.fullmatch(line) for line in picture.splitlines()]
    return {
        one["name"].removesuffix(".py").removesuffix("/"): one["pytest"] == "pytest"
        for one in found
        if one is not None
    }


FLOORS = floors()

#: The number of floors above each floor.
DEPTH = {name: depth for depth, name in enumerate(FLOORS)}

FILES = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
MODULES = sorted(
    ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in FILES
)

#: The modules that the launcher's bare interpreter may import: each is already in
#: memory by then, or is an extension module.
BARE = {
    "__future__",
    "_signal",
    "_socket",
    "errno",
    "marshal",
    "os",
    "select",
    "stat",
    "struct",
    "sys",
    "time",
    "types",
}

#: The modules of this package that the launcher imports besides its own.
LAUNCHER = {
    "linux.ancestry",
    "linux.descriptors",
    "linux.namespaces",
    "linux.pid_for_children",
    "linux.stdlib",
    "linux.syscalls",
}
OWN = {module for module in MODULES if module.startswith("launcher.")}

IMPORT = (ast.Import, ast.ImportFrom)

#: The ways to import without an import statement.
IMPORTERS = {"__import__", "import_module", "find_spec", "importlib"}

#: Where modules are imported by their names, since few of them are needed.
BY_NAME = {
    "__init__": {"__import__"},
    "compat.plain_import": {"find_spec"},
    "integrations": {"import_module", "importlib"},
}

#: These modules import within functions what a session needs only if it isolates a
#: test or makes a box, or is told to by an option.
LATE = {"plugin", "runner.factory_fixtures", "runner.roles"}

#: Imported only where they are used, as few sessions need them: optional packages, and
#: psutil, which takes 23 ms.
EXTRAS = {
    "argcomplete.completers.DirectoriesCompleter",
    "argcomplete.completers.FilesCompleter",
    "psutil",
    "pyroute2",
    "pyroute2.IPRoute",
    "pyroute2.NetlinkError",
    "teamcity",
    "teamcity.diff_tools",
    "teamcity.jb_local_exc_store",
}


def parse(module: str) -> ast.Module:
    """
    Return the syntax tree of *module*.
    """
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    """
    Yield the full dotted name of each import in *tree*, at any depth.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import always stays inside the package.
            base = ".".join(filter(None, [NAME if node.level else "", node.module]))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def roots(module: str) -> set[str]:
    """
    Return the top-level names of all imports in *module*.
    """
    return {name.partition(".")[0] for name in imported(parse(module))}


def neighbours(module: str) -> set[str]:
    """
    Return the modules of the package that *module* imports.
    """
    found = set[str]()
    if module == "__init__":
        # It loads the public names on request and imports nothing up front.
        return found
    for name in imported(parse(module)):
        package, *rest = name.split(".")
        if package == NAME:
            tries = [".".join(rest[:end]) for end in range(len(rest), 0, -1)]
            found.add(next((one for one in tries if one in MODULES), "__init__"))
    return found


def floor(module: str) -> str:
    """
    Return the floor that *module* is on.
    """
    return module.partition(".")[0]


def packages() -> dict[str, set[str]]:
    """
    Return the other floors that each floor imports from.
    """
    graph: dict[str, set[str]] = {name: set() for name in FLOORS}
    for module in MODULES:
        if module != "__init__":
            below = {floor(one) for one in neighbours(module)}
            graph[floor(module)] |= below - {floor(module), "__init__"}
    return graph


def words(tree: ast.AST) -> set[str]:
    """
    Return every name, attribute and string of *tree*.
    """
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word):
                found.add(word)
            case ast.Constant(value=str(word)):
                found.add(word)
    return found


def is_for_types(node: ast.AST) -> bool:
    """
    Return whether *node* is ``if TYPE_CHECKING:``, which never runs.
    """
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def is_for_what_may_be_missing(node: ast.AST) -> bool:
    """
    Return whether *node* is ``with contextlib.suppress(ImportError):``.
    """
    return isinstance(node, ast.With) and [
        ast.unparse(item) for item in node.items
    ] == ["contextlib.suppress(ImportError)"]


def test_the_picture_is_of_this_house() -> None:
    """
    The picture in CONTRIBUTING.md shows every package and top-level module once.
    """
    assert sorted(FLOORS) == sorted({floor(one) for one in MODULES} - {"__init__"})


@pytest.mark.parametrize("name", pytest_nsisolate.__all__)
def test_public_names(name: str) -> None:
    """
    Each public name exists, is listed, and can be imported from where it says.
    """
    found = getattr(pytest_nsisolate, name)

    assert name in dir(pytest_nsisolate)
    if isinstance(found, type):
        assert found.__name__ == name
        assert getattr(sys.modules[found.__module__], name) is found


def test_each_public_name_has_a_home() -> None:
    """
    Each public name is listed once with its module, and unknown names raise.
    """
    assert sorted(pytest_nsisolate._HOMES) == pytest_nsisolate.__all__
    with pytest.raises(AttributeError, match="has no attribute 'Bx'"):
        _ = pytest_nsisolate.Bx


def test_a_hidden_import_is_seen() -> None:
    """
    A relative import, or one inside a function, is found.
    """
    hidden = "def function():\n import json\n from . import guest\n from .a import b"

    found = set(imported(ast.parse(hidden)))

    assert found == {"json", f"{NAME}.guest", f"{NAME}.a.b"}


@pytest.mark.parametrize("name", FLOORS)
def test_imports_go_down(name: str) -> None:
    """
    A floor imports only from the floors below it.
    """
    upward = {one for one in packages()[name] if DEPTH[one] < DEPTH[name]}

    assert upward == set()


def test_the_house_is_not_high() -> None:
    """
    Imports lead through at most ten floors from top to bottom.
    """
    graph, height = packages(), dict[str, int]()
    for name in reversed(FLOORS):
        height[name] = 1 + max((height[one] for one in graph[name]), default=0)

    assert max(height.values()) <= 10


def test_there_is_no_cycle() -> None:
    """
    The modules can be sorted so that each imports only earlier ones.
    """
    graph = {module: neighbours(module) for module in MODULES}

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert sorted(order) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top(module: str) -> None:
    """
    Every import is a statement at the top of its module, with few exceptions.
    """
    tree = parse(module)
    top: list[ast.AST] = [tree, *filter(is_for_types, tree.body)]
    top += filter(is_for_what_may_be_missing, tree.body)
    at_top = [one for block in top for one in ast.iter_child_nodes(block)]
    every = [one for one in ast.walk(tree) if isinstance(one, IMPORT)]
    every = [one for one in every if not {*imported(one)} <= EXTRAS]

    assert [one.lineno for one in every if one not in at_top] == [] or module in LATE
    assert words(tree) & IMPORTERS == BY_NAME.get(module, set())


@pytest.mark.parametrize("name", [name for name, knows in FLOORS.items() if not knows])
def test_core_knows_no_pytest(name: str) -> None:
    """
    A floor declared to know no pytest imports neither pytest nor pluggy.
    """
    found = {root for one in MODULES if floor(one) == name for root in roots(one)}

    assert found & {"pytest", "_pytest", "pluggy"} == set()


@pytest.mark.parametrize(
    ("package", "place"), [("_pytest", "compat"), ("ctypes", "linux.syscalls")]
)
def test_one_door(package: str, place: str) -> None:
    """
    pytest's private modules and ctypes are imported in one place each.
    """
    found = [one for one in MODULES if package in roots(one)]

    assert found
    assert [one for one in found if f"{one}.".startswith(f"{place}.") is False] == []


@pytest.mark.parametrize("module", sorted(OWN | LAUNCHER - {"linux.syscalls"}))
def test_launcher_is_bare(module: str) -> None:
    """
    The launcher's modules import only what is cheap to load.
    """
    names = set(imported(parse(module)))
    for node in filter(is_for_types, parse(module).body):
        names -= set(imported(node))
    outside = {name.partition(".")[0] for name in names} - {NAME}

    assert outside <= BARE
    assert neighbours(module) <= OWN | LAUNCHER


#: Slow to import, and memory that each init would get a copy of.
HEAVY = {"collections", "enum", "functools", "re", "signal", "subprocess", "typing"}


def test_launcher_loads_nothing_heavy() -> None:
    """
    Nor do modules that it imports bring in what takes long, besides ctypes.
    """
    command = (
        f"import ctypes, sys; sys.path.append({str(PACKAGE.parent)!r}); "
        "before = {*sys.modules}; "
        f"import {NAME}.launcher.main; print(*{{*sys.modules}} - before)"
    )

    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", command],
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )

    assert HEAVY & {*found.stdout.split()} == set()


def test_launcher_knows_the_user_namespaces() -> None:
    """
    The launcher, which does without the module on them, has the same values.
    """
    names = {one.name: one.value for one in UserNamespace}

    assert {name: getattr(main, name) for name in names} == names


@pytest.mark.parametrize("module", MODULES)
def test_no_system_call_by_number(module: str) -> None:
    """
    No system call is made by number, unless that is the same on all architectures.

    Those from 424 on are, which Linux has had since 5.1. On Alpha they are 110 higher.
    """
    numbers = [value for name, value in vars(syscalls).items() if "_NR_" in name]

    assert numbers
    assert min(numbers) >= 424
    assert "syscall" not in words(parse(module)) or module == "linux.syscalls"


#: Imports each named module in a process of its own, forked before any of them was
#: imported, and prints those that fail. The first argument says whether pytest must
#: not be imported along with it, or is there already.
ALONE = """
import importlib
import os
import sys
import traceback

first, *names = sys.argv[1:]
if first == "pytest":
    import pytest
for name in names:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            importlib.import_module(name)
            code = int(first == "not pytest" and "pytest" in sys.modules)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    if os.waitpid(pid, 0)[1]:
        print(name)
"""


@pytest.mark.parametrize("first", ["not pytest", "pytest"])
def test_imports_alone(first: str) -> None:
    """
    Each module can be imported first, without a warning, and the core without pytest.
    """
    core = first == "not pytest"
    names = [
        NAME if module == "__init__" else f"{NAME}.{module}"
        for module in MODULES
        if FLOORS.get(floor(module), False) != core
    ]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, first, *names],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    assert names
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
