"""
The modules form layers, and imports go down only.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_nsisolate

PACKAGE = Path(pytest_nsisolate.__file__).parent
NAME = PACKAGE.name

LINUX, CORE, PYTEST_SIDE, PLUGIN = range(4)

#: Where each module belongs, and the one sub-package. A new module is entered here.
LAYER = {
    "__init__": LINUX,
    "linux": LINUX,
    "namespaces": LINUX,
    "__main__": CORE,
    "attempt": CORE,
    "box": CORE,
    "call": CORE,
    "carriage": CORE,
    "cause": CORE,
    "audit": CORE,
    "channel": CORE,
    "checks": CORE,
    "deadline": CORE,
    "descriptors": LINUX,
    "rlimits": CORE,
    "contents": CORE,
    "diagnosis": CORE,
    "doctor": CORE,
    "ending": CORE,
    "entry": CORE,
    "fork": CORE,
    "process": CORE,
    "errors": CORE,
    "facts": CORE,
    "guest": CORE,
    "inherited": CORE,
    "init": CORE,
    "interrupt": CORE,
    "isolation": CORE,
    "keywords": CORE,
    "launcher": CORE,
    "launching": CORE,
    "link": CORE,
    "leaks": CORE,
    "limits": CORE,
    "credentials": CORE,
    "messages": CORE,
    "pid_for_children": LINUX,
    "pool": CORE,
    "probe": CORE,
    "crash_output": CORE,
    "remedies": CORE,
    "sandbox": CORE,
    "signals": LINUX,
    "spec": CORE,
    "start": CORE,
    "streams": CORE,
    "trial": CORE,
    "trouble": CORE,
    "user_namespace": CORE,
    "untouched": LINUX,
    "usage": CORE,
    "terminal": CORE,
    "wire": CORE,
    "account": PYTEST_SIDE,
    "fresh": CORE,
    "values": CORE,
    "borrowing": PYTEST_SIDE,
    "breach": PYTEST_SIDE,
    "builtin": PYTEST_SIDE,
    "carrier": PYTEST_SIDE,
    "clash": PYTEST_SIDE,
    "test_run": PYTEST_SIDE,
    "cover": PYTEST_SIDE,
    "crash": PYTEST_SIDE,
    "factory": PYTEST_SIDE,
    "flavours": PYTEST_SIDE,
    "events": PYTEST_SIDE,
    "header": PYTEST_SIDE,
    "hookspecs": PYTEST_SIDE,
    "guest_side": PYTEST_SIDE,
    "leak_policy": PYTEST_SIDE,
    "marker": PYTEST_SIDE,
    "options": PYTEST_SIDE,
    "output": PYTEST_SIDE,
    "private": PYTEST_SIDE,
    "relay": PYTEST_SIDE,
    "report_schema": PYTEST_SIDE,
    "reports": PYTEST_SIDE,
    "scopes": PYTEST_SIDE,
    "scheduler": PYTEST_SIDE,
    "supervisor": PYTEST_SIDE,
    "turns": PYTEST_SIDE,
    "wish": PYTEST_SIDE,
    "plugin": PLUGIN,
}

FILES = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
MODULES = sorted(
    ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in FILES
)

#: What the bare interpreter of a launcher may import: all of it is in memory by then,
#: or is an extension module.
BARE = {
    "__future__",
    "_socket",
    "array",
    "enum",
    "marshal",
    "os",
    "select",
    "signal",
    "stat",
    "struct",
    "sys",
    "time",
    "types",
}

#: What of this package a launcher imports.
LAUNCHER = {
    "audit",
    "descriptors",
    "fresh",
    "init",
    "linux",
    "namespaces",
    "pid_for_children",
    "untouched",
    "user_namespace",
}

IMPORT = (ast.Import, ast.ImportFrom)

#: How a module is imported without a statement.
IMPORTERS = {"__import__", "import_module", "find_spec", "importlib"}

#: What is no dependency, and is imported by who asks for it, where that happens.
EXTRAS = {"pyroute2", "pyroute2.IPRoute", "pyroute2.NetlinkError"}


def parse(module: str) -> ast.Module:
    """
    Return the syntax tree of *module*.
    """
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    """
    Yield what *tree* imports, anywhere in it, by full dotted names.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # No relative import leads anywhere but into the package itself.
            base = ".".join(filter(None, [NAME if node.level else "", node.module]))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def roots(module: str) -> set[str]:
    """
    Return the top-level names of all that *module* imports.
    """
    return {name.partition(".")[0] for name in imported(parse(module))}


def neighbours(module: str) -> set[str]:
    """
    Return the modules of the package that *module* imports.
    """
    found = set()
    for name in imported(parse(module)):
        package, *rest = name.split(".")
        if package == NAME:
            tries = [".".join(rest[:end]) for end in range(len(rest), 0, -1)]
            found.add(next((one for one in tries if one in MODULES), "__init__"))
    return found


def layer(module: str) -> int:
    """
    Return the layer of *module*, or of the sub-package that it is in.
    """
    return LAYER[module.partition(".")[0]]


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
    Say whether *node* is ``if TYPE_CHECKING:``, which is never run.
    """
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def is_for_what_may_be_missing(node: ast.AST) -> bool:
    """
    Say whether *node* is ``with contextlib.suppress(ImportError):``.
    """
    return isinstance(node, ast.With) and [
        ast.unparse(item) for item in node.items
    ] == ["contextlib.suppress(ImportError)"]


def test_every_module_has_a_layer() -> None:
    """
    The table names each module of the package and nothing else.
    """
    assert sorted(LAYER) == [one for one in MODULES if "." not in one]


def test_there_is_one_sub_package() -> None:
    """
    All modules but the carriers are in the package itself.
    """
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} == {"carrier"}


def test_a_hidden_import_is_seen() -> None:
    """
    An import inside a function, or a relative one, counts as an import.
    """
    hidden = "def function():\n import json\n from . import guest\n from .a import b"

    found = set(imported(ast.parse(hidden)))

    assert found == {"json", f"{NAME}.guest", f"{NAME}.a.b"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    """
    A module imports from its own layer and those below it.
    """
    upward = {one for one in neighbours(module) if layer(one) > layer(module)}

    assert upward == set()


def test_there_is_no_cycle() -> None:
    """
    The modules can be put in an order in which each imports only earlier ones.
    """
    graph = {module: neighbours(module) for module in MODULES}

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert sorted(order) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_stand_at_the_top(module: str) -> None:
    """
    No import is in a function or a class, or made by a call, but those of extras.
    """
    tree = parse(module)
    top: list[ast.AST] = [tree, *filter(is_for_types, tree.body)]
    top += filter(is_for_what_may_be_missing, tree.body)
    at_top = [one for block in top for one in ast.iter_child_nodes(block)]
    every = [one for one in ast.walk(tree) if isinstance(one, IMPORT)]
    every = [one for one in every if not {*imported(one)} <= EXTRAS]

    assert [one.lineno for one in every if one not in at_top] == []
    assert words(tree) & IMPORTERS == set()


@pytest.mark.parametrize(
    "module", [one for one in MODULES if layer(one) in {LINUX, CORE}]
)
def test_core_knows_no_pytest(module: str) -> None:
    """
    The core and what is below it import neither pytest nor pluggy.
    """
    assert roots(module) & {"pytest", "_pytest", "pluggy"} == set()


@pytest.mark.parametrize(
    ("package", "module"), [("_pytest", "private"), ("ctypes", "linux")]
)
def test_only_one_module_imports(package: str, module: str) -> None:
    """
    What is private in pytest, and the C library, come in by one door each.
    """
    assert [one for one in MODULES if package in roots(one)] == [module]


@pytest.mark.parametrize("module", ["launcher", *sorted(LAUNCHER - {"linux"})])
def test_launcher_is_bare(module: str) -> None:
    """
    What runs in the launcher imports what costs next to nothing.
    """
    names = set(imported(parse(module)))
    for node in filter(is_for_types, parse(module).body):
        names -= set(imported(node))
    outside = {name.partition(".")[0] for name in names} - {NAME}

    assert outside <= BARE
    assert neighbours(module) <= LAUNCHER - {module}


@pytest.mark.parametrize("module", MODULES)
def test_no_system_call_by_number(module: str) -> None:
    """
    A number of a system call differs from machine to machine: none is used.
    """
    assert "syscall" not in words(parse(module))


#: Imports each module that is named in a process of its own, forked before any of them
#: was imported, and prints those that fail. The first argument must not come along, or
#: it is there already.
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
    A module can be imported first, without a warning, and the core without pytest.
    """
    core = first == "not pytest"
    names = [
        NAME if module == "__init__" else f"{NAME}.{module}"
        for module in MODULES
        if (layer(module) <= CORE) == core
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
