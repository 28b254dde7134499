"""
Sandboxes that are refused: what, why and fix, and never green on the host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from mounts import masked
from seccomp import FILTER
from ways import KEEP, WAYS, cannot, is_capable

RunPytest = Callable[..., pytest.RunResult]
Refuse = Callable[..., pytest.RunResult]

TESTS = """
from pathlib import Path
import pytest

@pytest.fixture
def inside():
    Path("ran").write_text("in setup")

@pytest.mark.isolated(hostname="t1")
def test_it(inside): Path("ran").write_text("in call")

@pytest.mark.isolated(hostname="t1")
@pytest.mark.xfail
def test_xfail(inside): Path("ran").write_text("in call")

@pytest.mark.isolated(hostname="t1")
@pytest.mark.xfail(strict=True, raises=BaseException)
def test_strict(inside): Path("ran").write_text("in call")

def test_host(): pass
"""

SKIP = "--nsisolate-unavailable=skip"


def python(*args: str) -> list[str]:
    """
    Return the command that runs pytest with *args*.
    """
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]


@pytest.fixture
def refuse(pytester: pytest.Pytester) -> Refuse:
    """
    Run `TESTS` behind a command; expect failures, or skips, and what, why and fix.
    """

    def run(prefix: list[str], what: str, why: str, fix: str) -> pytest.RunResult:
        """
        Run `TESTS` behind *prefix* with both policies and expect these three lines.
        """
        pytester.makepyfile(test_refused=TESTS)
        result = pytester.run(*prefix, *python("-rEsfx"), timeout=60)
        skipped = pytester.run(*prefix, *python("-rEsfx", SKIP), timeout=60)
        result.assert_outcomes(errors=3, passed=1)
        result.stdout.fnmatch_lines(
            [f"cannot isolate test_it: {what}", f"why: {why}", f"fix: {fix}"]
        )
        skipped.assert_outcomes(skipped=3, passed=1)
        skipped.stdout.fnmatch_lines(
            [f"SKIPPED*cannot isolate test_it: {what}; why: {why}; fix: {fix}"]
        )
        assert not (pytester.path / "ran").exists()
        return result

    return run


def _filtered(pytester: pytest.Pytester, way: str, call: str) -> list[str]:
    """
    Return the command that uses *way* and then refuses *call*.
    """
    script = pytester.makepyfile(refusing=FILTER)
    prefix = [*WAYS[way], sys.executable, str(script), call, "1"]
    probe = pytester.run(*prefix, "true", timeout=20)
    if probe.ret:
        cannot(f"no seccomp filter can be set: {probe.stderr.str()}")
    return prefix


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            "unshare",
            {"plain": "unshare(CLONE_NEWPID)", "keep": "unshare(CLONE_NEWUSER)"},
        ),
        ("mount", dict.fromkeys(WAYS, "mount(none, /)")),
        ("setns", {"plain": None, "keep": "setns(pidfd, CLONE_NEW*)"}),
        ("sethostname", dict.fromkeys(WAYS, "sethostname()")),
    ],
)
def test_seccomp(
    pytester: pytest.Pytester,
    refuse: Refuse,
    way: str,
    call: str,
    text: dict[str, str | None],
) -> None:
    """
    A real seccomp filter that refuses a call is named with the call.
    """
    what = text[way]
    # A process that may not set namespaces seems to lack CAP_SYS_ADMIN, so the other
    # way into a sandbox is refused too.
    what = "*" if what is None else what
    why = f"a seccomp filter refuses {call}(): even with wrong arguments it fails with "
    why += "EPERM, for which the kernel has E* (Seccomp is 2 in /proc/self/status*)"
    if call == "sethostname":
        why = "perhaps a seccomp filter: there is one (Seccomp is 2 in *) and no "
        why += "other known cause applies"
    prefix = _filtered(pytester, way, call)
    result = refuse(prefix, f"{what} failed: EPERM", why, "* run *")
    header = "nsisolate: unavailable, isolated tests fail (*)"
    if call != "sethostname":
        result.stdout.fnmatch_lines([header])
    else:
        # Only a marker with hostname= makes that call, so everything else is available.
        result.stdout.no_fnmatch_line(header)


@pytest.mark.parametrize("kind", ["user", "pid", "ipc", "uts", "mnt"])
def test_limit_of_namespaces(refuse: Refuse, kind: str) -> None:
    """
    A ``user.max_*_namespaces`` of 0 is read and named, with the command to raise it.
    """
    name = f"user.max_{kind}_namespaces"
    set_zero = f'echo 0 > /proc/sys/{name.replace(".", "/")}; exec "$@"'
    space = ["unshare", "--user", "--map-root-user"]
    what = {
        "user": "unshare(CLONE_NEWUSER) failed: ENOSPC",
        "pid": "unshare(CLONE_NEWPID) failed: ENOSPC",
    }
    refuse(
        [*_room_to_set(kind, space), "sh", "-c", set_zero, "sh"],
        what.get(kind, "unshare(CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNS) failed: ENOSPC"),
        f"this system forbids one kind of namespace ({name} is 0)",
        f"sudo sysctl -w {name}=10000",
    )


def _room_to_set(kind: str, space: list[str]) -> list[str]:
    """
    Return the command for a user namespace in which to set the limit of *kind*.

    Unless the limit is that of user namespaces, this namespace owns a PID namespace
    too, so that the sandbox needs no user namespace of its own, where another limit
    would apply.
    """
    if kind == "user":
        return space
    return [*space, "--pid", "--fork", "--kill-child", "--mount-proc"]


def test_masked_proc(refuse: Refuse) -> None:
    """
    Where a container hides a part of ``/proc``, that part is named.
    """
    refuse(
        masked(KEEP),
        "mount(proc, /proc) failed: EPERM",
        "parts of /proc are masked (*/proc/irq*), so the kernel refuses to mount a "
        "fresh one in a user namespace (mount_namespaces(7))",
        "*@pytest.mark.isolated(proc=False)",
    )


@pytest.mark.parametrize(("mapping", "kind"), [([], "uid"), (["--map-user=5"], "gid")])
def test_unmapped(
    pytester: pytest.Pytester, refuse: Refuse, mapping: list[str], kind: str
) -> None:
    """
    A user or group without a mapping is named, which the kernel lets make none.
    """
    mend = "unshare --user --map-current-user"
    refuse(
        ["unshare", "--user", *mapping],
        "unshare(CLONE_NEWUSER) failed: EPERM",
        f"{kind} 65534 has no mapping in the user namespace that pytest is in "
        f"(/proc/self/{kind}_map is empty), and so may make no other one (unshare(2))",
        f"map it there, as {mend} does",
    )

    mended = pytester.run(*mend.split(), *python("-k", "test_it"), timeout=60)
    mended.assert_outcomes(passed=1, deselected=3)


def test_limit_of_processes(refuse: Refuse) -> None:
    """
    An exhausted RLIMIT_NPROC is named with its value.
    """
    if is_capable():
        pytest.skip(
            "the kernel puts no such limit on root; the rootless lane tests this"
        )
    refuse(
        ["prlimit", "--nproc=1"],
        "* failed: EAGAIN",
        "no more processes can be started (RLIMIT_NPROC is 1)",
        "sudo prlimit --nproc=unlimited --pid $$, or end processes of this user",
    )


@pytest.mark.faults
@pytest.mark.parametrize("header", ["-q", "-v"])
def test_limit_of_descriptors(
    pytester: pytest.Pytester, run_both_ways: RunPytest, header: str
) -> None:
    """
    However few descriptors are left, before the probe or after, RLIMIT_NOFILE is named.
    """
    pytester.makeconftest(
        """
        import os
        import resource
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def little_room():
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            limit = free + int(os.environ["ROOM"])
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
            yield
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        """
    )
    pytester.makepyfile(test_refused=TESTS)
    for room in range(8):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ROOM", str(room))
            result = run_both_ways(header)
        ran = pytester.path / "ran"
        if ran.exists():
            # Enough for everything else too.
            assert room > 0
            break
        result.assert_outcomes(errors=3, passed=1)
        result.stdout.fnmatch_lines(
            [
                "cannot isolate test_it: * failed: EMFILE",
                "why: no more descriptors can be opened (RLIMIT_NOFILE is *)",
                "fix: ulimit -S -n 1024",
            ]
        )


def test_not_linux(pytester: pytest.Pytester, refuse: Refuse) -> None:
    """
    On a system other than Linux, the reason is named and other tests run.
    """
    pytester.makeconftest("import sys; sys.platform = 'darwin'")
    # It reads more about the platform than is changed here.
    pytester.makeini("[pytest]\naddopts = -p no:hypothesispytest")
    refuse(
        [],
        "namespaces on darwin failed: ENOSYS",
        "namespaces are a Linux feature, and this is darwin",
        "run the tests on Linux, or pass --nsisolate-unavailable=skip",
    )


def test_no_gil(pytester: pytest.Pytester, refuse: Refuse) -> None:
    """
    In a Python without the GIL, isolated tests are refused and other tests run.
    """
    # No such Python can be had as a package of Debian.
    pytester.makeconftest("import sys; sys._is_gil_enabled = lambda: False")
    refuse(
        [],
        "fork() without the GIL failed: ENOSYS",
        "this Python runs without the GIL (sys._is_gil_enabled() is False), and "
        "pytest-nsisolate has never been tested with that",
        "PYTHON_GIL=1 python -m pytest, or use a Python that is not free-threaded",
    )
