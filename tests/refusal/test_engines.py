"""
Refusals in a container: one line with everything that its engine has to be told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest
from examination import DOCTOR, examine
from mounts import MASK, NEW_ROOT, SPACE
from seccomp import FILTER
from ways import LOSE

from pytest_nsisolate.diagnosis import machine

pytestmark = pytest.mark.faults

#: What each engine leaves in its containers, for a shell.
SIGNS = {
    "docker": "test -e /.dockerenv",
    "podman": "touch /run/.containerenv",
    "podman --read-only": "export container=podman",
    "kubernetes": "export KUBERNETES_SERVICE_HOST=10.0.0.1",
    "nspawn": "mkdir /run/host && printf systemd-nspawn > /run/host/container-manager",
}

#: By engine, what root and another user have to tell it.
FIXES = {
    "docker": (
        (
            "docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN "
            "--security-opt seccomp=unconfined"
        ),
        (
            "docker run --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined"
        ),
    ),
    "podman": (
        (
            "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN "
            "--security-opt seccomp=unconfined"
        ),
        "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL",
    ),
    "kubernetes": (
        (
            "write securityContext: {capabilities: {add: [SYS_ADMIN, NET_ADMIN]}, "
            "seccompProfile: {type: Unconfined}} in the container"
        ),
        (
            "write hostUsers: false in the pod and securityContext: {seccompProfile: "
            "{type: Unconfined}, procMount: Unmasked} in the container"
        ),
    ),
    "nspawn": (
        "systemd-nspawn --capability=CAP_SYS_ADMIN,CAP_NET_ADMIN",
        "systemd-nspawn --user=root --capability=CAP_SYS_ADMIN,CAP_NET_ADMIN",
    ),
}

FIXES["podman --read-only"] = FIXES["podman"]

#: Enters a user namespace as another user than root, and leaves the user there without
#: capabilities.
USER_SPACE = "unshare --user --map-user=1000 --map-group=1000 --keep-caps --mount"
LOSE_ALL = "setpriv --ambient-caps=-all --inh-caps=-all"

#: By who is to run pytest, how to enter the container and what to run before pytest.
WHO = {
    "root": (SPACE, []),
    "user": (USER_SPACE.split(), LOSE_ALL.split()),
}

TEST = """
import pytest

@pytest.mark.isolated
def test_it(): pass
"""

RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]


#: Returns the command that leaves the sign of an engine in a container: see `there`.
There = Callable[..., list[str]]


@pytest.fixture
def there(tmp_path_factory: pytest.TempPathFactory) -> There:
    """
    Return what enters a user namespace that looks like the container of an engine.
    """

    def command(engine: str, who: str = "root") -> list[str]:
        """
        Return the command.

        Args:
            engine: A key of `SIGNS`.
            who: A key of `WHO`.
        """
        space, lose = WHO[who]
        root = f"{NEW_ROOT}touch /.dockerenv\n" if engine == "docker" else ""
        script = f'{root}mount -t tmpfs none /run\n{SIGNS[engine]}\nexec "$@"'
        # Not below the tests, where pytest would look for more of them.
        place = str(tmp_path_factory.mktemp("root"))
        return [*space, "sh", "-ec", script, place, *lose]

    return command


def _with_modules(fix: str) -> str:
    """
    Return *fix* with what turns off the security modules that this machine has.
    """
    has_apparmor = machine.apparmor() is not None
    has_selinux = machine.selinux() is not None
    if fix.startswith("write "):
        filtered = "seccompProfile: {type: Unconfined}"
        profile = ", appArmorProfile: {type: Unconfined}" if has_apparmor else ""
        label = ", seLinuxOptions: {type: spc_t}" if has_selinux else ""
        return fix.replace(filtered, filtered + profile + label)
    if not fix.startswith(("docker", "podman")):
        return fix
    profile = " --security-opt apparmor=unconfined" if has_apparmor else ""
    label = " --security-opt label=disable" if has_selinux else ""
    unmask = "(?= --security-opt (?:systempaths|unmask)|$)"
    return re.sub(unmask, profile + label, fix, count=1)


@pytest.mark.parametrize("who", list(WHO))
@pytest.mark.parametrize("engine", list(FIXES))
def test_everything_in_one_line(
    pytester: pytest.Pytester, there: There, engine: str, who: str
) -> None:
    """
    The first refusal names all that later ones would ask for, in the engine's words.
    """
    script = pytester.makepyfile(refusing=FILTER)
    pytester.makepyfile(test_it=TEST)
    behind = [sys.executable, str(script), "unshare", "1"]

    result = pytester.run(*there(engine, who), *behind, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: unshare(CLONE_NEWUSER) failed: EPERM",
            "why: a seccomp filter refuses unshare(): *",
        ]
    )
    # The summary has it again.
    (fix,) = {line for line in result.outlines if line.startswith("fix: ")}
    wanted = FIXES[engine][who == "user"]
    assert fix == f"fix: {_with_modules(wanted)}"


def test_time(pytester: pytest.Pytester, there: There) -> None:
    """
    A test that shifts clocks names at once what root needs for that, too.
    """
    script = pytester.makepyfile(refusing=FILTER)
    pytester.makepyfile(
        test_it=TEST.replace("isolated", 'isolated(time={"boottime": 9})')
    )
    lost = ["setpriv", "--bounding-set=-sys_admin,-sys_time"]
    behind = [*lost, sys.executable, str(script), "unshare", "1"]

    result = pytester.run(*there("podman"), *behind, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    fix = "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_TIME"
    result.stdout.fnmatch_lines([f"fix: {_with_modules(fix)}"])


def test_each_capability(pytester: pytest.Pytester, there: There) -> None:
    """
    A container that was given a single capability needs the others, too.
    """
    pytester.makepyfile(test_it=TEST)
    owned = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    only = ["--bounding-set=-all,+sys_admin", "--inh-caps=-all,+sys_admin"]
    prefix = [*there("podman"), *owned, "setpriv", *only]

    result = pytester.run(*prefix, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    fix = "podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_CHROOT"
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: write(/proc/self/uid_map) failed: EPERM",
            (
                "why: CAP_SYS_CHROOT is not in effect (CapEff is 0000000000200000), so "
                "a user namespace is needed; pytest is uid 0 without CAP_SETFCAP, so *"
            ),
            f"fix: {_with_modules(fix)}",
        ]
    )


#: By who has mounted what masks /proc: a command between the masks and pytest, the
#: capability that pytest is then without, and whether the masks are in the way of root.
MASKED = {
    # As an engine does, in the mount namespace of the container.
    "engine": ([], "sys_admin", False),
    "engine, tried": ([], "net_admin", False),
    # They are locked in the mount namespace of a further user namespace,
    "outside": ([*SPACE, "--pid", "--fork", "--kill-child"], "net_admin", True),
    # and will be in the one that a sandbox gets.
    "no own mounts": (["unshare", "--user", "--map-root-user"], "sys_admin", True),
}


@pytest.mark.parametrize("masked", list(MASKED))
def test_masks_for_root(pytester: pytest.Pytester, there: There, masked: str) -> None:
    """
    Root is told to unmask /proc only where the masks are locked; what is told works.
    """
    inner, lost, is_locked = MASKED[masked]
    pytester.makepyfile(test_it=TEST.replace("isolated", "isolated(net=True)"))
    space = [*there("podman"), "unshare", "--pid", "--fork", "--kill-child"]
    mask = ["sh", "-ec", MASK, "sh"]
    lose = ["setpriv", f"--bounding-set=-{lost}", f"--inh-caps=-{lost}"]

    result = pytester.run(*space, *mask, *inner, *lose, *RUN, timeout=60)
    unmask = [] if is_locked else mask
    fixed = pytester.run(*space, *unmask, *inner, *RUN, timeout=60)

    result.assert_outcomes(errors=1)
    option = " --security-opt unmask=ALL" if is_locked else ""
    fix = f"podman run --cap-add SYS_ADMIN --cap-add NET_ADMIN{option}"
    tail = ", or @pytest.mark.isolated(proc=False)"
    result.stdout.fnmatch_lines(
        [
            "cannot isolate test_it: mount(proc, /proc) failed: EPERM",
            "why: *parts of /proc are masked (*",
            f"fix: {_with_modules(fix)}{tail}",
        ]
    )
    fixed.assert_outcomes(passed=1)


@pytest.mark.parametrize("who", list(WHO))
def test_doctor(pytester: pytest.Pytester, there: There, who: str) -> None:
    """
    The doctor says how to start the container as root, and not only to be root.
    """
    prefix = [*there("podman", who), *(LOSE.split() if who == "root" else [])]

    found = examine(pytester, *prefix, *DOCTOR, "--json")

    (line,) = (one for one in found["refusals"] if "CAP_SYS_ADMIN" in one["why"])
    root = "--user 0 " if who == "user" else ""
    fix = f"podman run {root}--cap-add SYS_ADMIN --cap-add NET_ADMIN"
    tail = "; not needed if isolation with a user namespace works"
    assert line["fix"] == _with_modules(fix) + tail


def test_doctor_without_capabilities(pytester: pytest.Pytester, there: There) -> None:
    """
    The doctor names what root has lost beside CAP_SYS_ADMIN, too.
    """
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

    found = examine(pytester, *there("podman"), *bare, *DOCTOR, "--json")

    (line,) = (one for one in found["refusals"] if "CAP_SYS_ADMIN" in one["why"])
    names = "--cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_CHROOT"
    assert line["fix"].startswith(_with_modules(f"podman run {names}"))
