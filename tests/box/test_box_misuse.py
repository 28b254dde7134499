"""
Arguments of the wrong type: each says in three lines what to write instead.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ways import RunPytest

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.model.errors import BoxError

COMMAND = "box.popen(['sleep', '60'])"


@pytest.mark.parametrize(
    ("given", "shown", "kind", "fix"),
    [
        ("ls -l", "'ls -l'", "str", "box.popen('ls -l', shell=True)"),
        (["ls", "-l"], "['ls', '-l']", "list", "box.popen(['ls', '-l'])"),
        (b"ls", "b'ls'", "bytes", "box.popen(b'ls', shell=True)"),
        (Path("/ls"), "PosixPath('/ls')", "PosixPath", "box.popen(['/ls'])"),
        (None, "None", "NoneType", "box.run(f), with f not called yet"),
        (7, "7", "int", "box.run(f), with f not called yet"),
    ],
)
def test_run_of_no_function(
    box: Box, given: object, shown: str, kind: str, fix: str
) -> None:
    """
    What run() cannot call is named, and a command is for popen().
    """
    with pytest.raises(BoxError) as caught:
        box.run(given)  # type: ignore[arg-type]

    assert str(caught.value).splitlines() == [
        f"cannot run {shown} in box db: it is not a function",
        f"why: {shown} is of type {kind}",
        f"fix: {fix}",
    ]


@pytest.mark.parametrize(
    ("given", "keywords", "says"),
    [
        (
            print,
            {},
            (
                "print is not a command",
                "builtin_function_or_method",
                "box.run(print)",
            ),
        ),
        (7, {}, ("7 is not a command", "int", COMMAND)),
        (None, {}, ("None is not a command", "NoneType", COMMAND)),
        (
            ["sleep", 60],
            {},
            (
                "60 in the command is not str, bytes or a path",
                "int",
                COMMAND,
            ),
        ),
        (
            ["true"],
            {"preexec_fn": 5},
            (
                "preexec_fn=5 is not a function",
                "int",
                "leave preexec_fn= out, or give it a function without arguments",
            ),
        ),
        (
            ["true"],
            {"process_group": "a"},
            (
                "process_group='a' is not a number",
                "str",
                "leave process_group= out: the process gets a group of its own",
            ),
        ),
    ],
)
def test_popen_of_no_command(
    box: Box, given: object, keywords: dict[str, object], says: tuple[str, str, str]
) -> None:
    """
    What popen() cannot start is named, and a function is for run().
    """
    what, kind, fix = says
    with pytest.raises(BoxError) as caught:
        box.popen(given, **keywords)  # type: ignore[arg-type]

    first, why, last = str(caught.value).splitlines()
    assert first == f"cannot start a process in box db: {what}"
    assert why.startswith("why: ")
    assert why.endswith(f" is of type {kind}")
    assert last == f"fix: {fix}"
    assert box.pids() == []


def test_the_fixes_work(box: Box) -> None:
    """
    What these texts propose does what was meant.
    """
    with box.popen("exit 3", shell=True) as process:  # noqa: S604 - a fixed command
        assert process.wait(30) == 3
    with box.popen(iter(["sh", "-c", "exit 4"])) as process:  # type: ignore[arg-type]
        assert process.wait(30) == 4


def test_arguments_of_the_factory(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    What the factory does not take is reported in three lines, with what to write.
    """
    cases = {
        "hostnme='t1'": "write hostname= instead of hostnme=",
        "scope='module'": "write module_sandbox_factory instead of scope=",
        "fork=True": "leave fork= out",
        "'t1'": "write sandbox_factory(hostname='t1')",
        "'t1', 'lab'": 'write keywords, as in sandbox_factory(hostname="t1")',
        "hostname='a\\nb', net=0": "write net=True, or leave net= out",
        "hostname=Odd(), net=0": 'write hostname="t1", or leave hostname= out',
    }
    pytester.makepyfile(
        "class Odd:\n"
        "    def __str__(self): raise ValueError\n"
        "    __repr__ = __str__\n"
        + "".join(
            f"def test_{number}(sandbox_factory):\n    sandbox_factory({given})\n"
            for number, given in enumerate(cases)
        )
    )

    result = run_both_ways("-p", "no:randomly")

    result.assert_outcomes(failed=len(cases))
    text = str(result.stdout)
    for number, fix in enumerate(cases.values()):
        _, _, section = text.partition(f" test_{number} _")
        what, why, last = section.splitlines()[1:4]
        action = f"cannot make box 1 for test_{number}"
        assert what == f"{action}: bad argument of sandbox_factory()"
        assert why.startswith("why: ")
        assert last == f"fix: {fix}"
    taken = "its keywords are hostname, domainname, user, proc, timeout, "
    assert f"takes no positional arguments, but got 't1'; {taken}" in text
    assert f"why: sandbox_factory does not take hostnme; {taken}" in text
