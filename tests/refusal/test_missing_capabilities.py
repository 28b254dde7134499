"""
Root without some capabilities: sandboxes by the other way, or a true reason.
"""

from __future__ import annotations

import sys

import pytest
from examination import DOCTOR, examine, refused
from seccomp import FILTER
from ways import PLAIN, WAYS

pytestmark = pytest.mark.faults

#: By what is dropped: a marker that takes it, and the step that shows the lack.
TAKEN = {
    "net_admin": ("net=True", "lo up"),
    "sys_chroot": ("", "setns()"),
    "sys_time": ("time={'monotonic': 86400}", None),
}

TESTS = """
import os
import socket
import pytest

def outside():
    return os.environ["OUTSIDE"] == os.readlink("/proc/self/ns/user")

@pytest.mark.isolated({marker})
def test_it():
    assert not outside()

@pytest.mark.isolated({marker})
def test_box_inside(sandbox_factory):
    assert sandbox_factory(hostname="b").run(socket.gethostname) == "b"

def test_box(sandbox_factory):
    assert not sandbox_factory({marker}).run(outside)
"""

#: Runs a command that knows which user namespace it is in.
KNOWING = ["sh", "-c", 'OUTSIDE=$(readlink /proc/self/ns/user) exec "$@"', "sh"]


def without(name: str) -> list[str]:
    """
    Return the command that drops a capability, but keeps CAP_SYS_ADMIN.
    """
    return ["setpriv", f"--bounding-set=-{name}", f"--inh-caps=-{name}"]


def mask(name: str) -> str:
    """
    Return the constant of a capability, given as setpriv(1) does.
    """
    return f"CAP_{name.upper()}"


@pytest.mark.parametrize("name", list(TAKEN))
def test_second_way(pytester: pytest.Pytester, name: str) -> None:
    """
    Where root lacks what a sandbox takes, a user namespace gives it.
    """
    marker, _ = TAKEN[name]
    pytester.makepyfile(TESTS.format(marker=marker))
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

    result = pytester.run(*WAYS[PLAIN], *without(name), *KNOWING, *run, timeout=60)

    result.assert_outcomes(passed=3)


#: A test for each keyword that needs calls of its own.
EVERYTHING = """
import socket
import pytest

isolated = pytest.mark.isolated

@isolated
def test_bare(): pass

@isolated(hostname="t1", domainname="lab")
def test_names(): pass

@isolated(net=True)
def test_net(): pass

@isolated(time={"monotonic": 86400})
def test_time(): pass

@isolated(cgroup=True)
def test_cgroup(): pass

@isolated(tmpfs=["/var/tmp"])
def test_tmpfs(): pass

@isolated(user="root", hostname="t1")
def test_root(): socket.sethostname("t2")

@isolated(proc=False)
def test_old_proc(): pass

@isolated(scope="module")
def test_scope(): pass

def test_box(sandbox_factory):
    assert sandbox_factory(hostname="b").run(socket.gethostname) == "b"

def test_link(sandbox_factory):
    sandbox_factory.link(sandbox_factory(net=True), sandbox_factory(net=True))
"""

#: The capabilities that some call takes. The others are dropped all at once.
ALONE = (
    "net_admin",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_chroot",
    "sys_time",
)


@pytest.mark.parametrize("name", [*ALONE, "others"])
def test_each_alone(pytester: pytest.Pytester, name: str) -> None:
    """
    Whichever capability root lacks, if it is only one, everything works.
    """
    pytest.importorskip("pyroute2")
    pytester.makepyfile(EVERYTHING)
    sets = f"-{name}"
    if name == "others":
        sets = ",".join(["-all", *(f"+{one}" for one in ALONE)])
    lose = ["setpriv", f"--bounding-set={sets}", f"--inh-caps={sets}"]
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]

    result = pytester.run(*WAYS[PLAIN], *lose, *run, timeout=120)

    result.assert_outcomes(passed=11)


@pytest.mark.parametrize("name", list(TAKEN))
def test_second_way_is_refused(pytester: pytest.Pytester, name: str) -> None:
    """
    Where the user namespace is refused too, the text says why one is needed.
    """
    marker, _ = TAKEN[name]
    pytester.makepyfile(TESTS.format(marker=marker))
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "test_it"]
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    space = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    owned = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

    result = pytester.run(*space, *owned, *without(name), *KNOWING, *run, timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: ENOSPC",
            (
                f"why: {mask(name)} is not in effect (CapEff is 0*), so a user "
                "namespace is needed; this system forbids one kind of namespace "
                "(user.max_user_namespaces is 0)"
            ),
            "fix: sudo sysctl -w user.max_user_namespaces=10000",
        ]
    )


@pytest.mark.parametrize("name", ["net_admin", "sys_chroot"])
def test_doctor(pytester: pytest.Pytester, name: str) -> None:
    """
    The doctor names the capability, and not the seccomp filter that is there too.
    """
    script = pytester.makepyfile(refusing=FILTER)
    behind = [sys.executable, str(script), "acct", "1"]
    _, step = TAKEN[name]

    found = examine(pytester, *WAYS[PLAIN], *without(name), *behind, *DOCTOR, "--json")

    assert found["facts"]["privileges"]["Seccomp"] == "2"
    assert found["facts"]["privileges"][mask(name)] == "no"
    assert refused(found, PLAIN) == {step: "EPERM"}
    (line,) = found["refusals"]
    assert line["why"].startswith(f"the call takes {mask(name)}, which is not in eff")
    assert mask(name).removeprefix("CAP_") in line["fix"]
    assert found["available"] is True


#: As bwrap does with --disable-userns for a user who is to be root: a user namespace,
#: in one that allows no further one. Some versions of it leave the capabilities.
DISABLED = "echo 1 > /proc/sys/user/max_user_namespaces"
INSIDE = ["unshare", "--user", "--map-root-user"]


@pytest.mark.parametrize("kept", [(), ("setfcap",)])
def test_root_where_user_namespaces_are_disabled(
    pytester: pytest.Pytester, kept: tuple[str, ...]
) -> None:
    """
    The fix for --disable-userns names the capability that root would miss next, too.
    """
    pytester.makepyfile(TESTS.format(marker=""))
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "test_it"]

    def inside(limit: str, *keep: str) -> pytest.RunResult:
        """
        Run the test after *limit*, with no capabilities but those that it may *keep*.
        """
        sets = ",".join(["-all", *(f"+{name}" for name in keep)])
        lose = ["setpriv", f"--bounding-set={sets}", f"--inh-caps={sets}"]
        outer = [*INSIDE, "sh", "-ec", f'{limit}\nexec "$@"', "sh", *INSIDE]
        return pytester.run(*outer, *lose, *KNOWING, *run, timeout=60)

    result = inside(DISABLED, *kept)
    half = inside("true")
    fixed = inside("true", "setfcap")

    result.assert_outcomes(errors=1)
    fix = "run bwrap --unshare-pid --cap-add CAP_SETFCAP without --disable-userns"
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: ENOSPC",
            "why: pytest is already in a user namespace (*",
            f"fix: run pytest outside that sandbox, or {fix}",
        ]
    )
    half.assert_outcomes(errors=1)
    half.stdout.fnmatch_lines(["why: pytest is uid 0 without CAP_SETFCAP, so *"])
    fixed.assert_outcomes(passed=1)
