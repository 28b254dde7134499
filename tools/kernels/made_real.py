"""
Refusals in a guest: each cause is made real, and what the error tells is judged.

It runs inside, as root, with the name of the user to try. For each cause it changes the
machine or the process, runs an isolated test, and looks for three things: the test was
refused, with the ``why:`` and ``fix:`` of this cause; what the fix says, typed as it
stands, makes the test pass.
"""

from __future__ import annotations

import ctypes
import dataclasses
import multiprocessing
import os
import pwd
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from seccomp import FILTER

from pytest_nsisolate import plugin
from pytest_nsisolate.diagnosis import machine
from pytest_nsisolate.diagnosis.causes import CAUSES

#: Causes that are not made real here, and what each takes.
NOT_REAL = {
    "not-linux": "another system",
    "no-gil": "a free-threaded build of Python, which Debian does not have",
    "gvisor": "another kernel",
    "wsl1": "another kernel",
    "no-such-namespaces": "a kernel built without them",
    "threads": "gRPC, or other C code that starts threads in a fork",
    "cgroup-limit": "`tests/refusal` makes it real, as root",
    "not-dumpable": "`tests/refusal` makes it real",
    "faked-uid": "`tests/refusal` makes it real",
    "perhaps-selinux": "a policy of SELinux that forbids it",
}

_LOSE = "setpriv --bounding-set=-{0} --inh-caps=-{0}"

_JAIL = """
mkdir /run/jail && cd /run/jail
for path in /*; do
    if [ -L "$path" ]; then cp -P "$path" .
    elif [ "$path" != /run ]; then
        mkdir ".$path"
        mount --rbind --make-rslave "$path" ".$path"
    fi
done
mkdir -p run/trial
mount --bind /run/trial run/trial
"""

#: Mounts two overlays on each other, which is as many as there may be.
_LAYERS = """
mkdir /srv/tmp /srv/place && mount -t tmpfs none /srv/tmp && cd /srv/tmp
mkdir lower upper work upper2 work2
mount -t overlay none /srv/place -o lowerdir=lower,upperdir=upper,workdir=work
mount -t overlay none /srv/place -o lowerdir=/srv/place,upperdir=upper2,workdir=work2
"""

_PROFILE = """
profile trial flags=(attach_disconnected) {
  file, capability, network, signal, ptrace, unix,
  deny mount,
}
"""


#: Runs its arguments in a domain of Landlock, where nobody may mount anything, and
#: which nothing in /proc tells. Source: landlock(7), landlock_create_ruleset(2).
_LANDLOCK = """
import ctypes, os, struct, sys

CREATE_RULESET, RESTRICT_SELF = 444, 446  # asm/unistd.h
MAKE_BLOCK = 1 << 11  # linux/landlock.h, LANDLOCK_ACCESS_FS_MAKE_BLOCK
SET_NO_NEW_PRIVS = 38  # linux/prctl.h

libc, zero = ctypes.CDLL(None), ctypes.c_ulong(0)
rights = struct.pack("=Q", MAKE_BLOCK)
rules = libc.syscall(CREATE_RULESET, rights, ctypes.c_size_t(len(rights)), 0)
assert libc.prctl(SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) == 0
assert libc.syscall(RESTRICT_SELF, rules, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

_TEST = """
import pytest

@pytest.mark.isolated({marker})
def test_it(): pass
"""

_WIRE = """
def test_it(sandbox_factory):
    boxes = [sandbox_factory(net=True) for _ in range(2)]
    sandbox_factory.link(*boxes){}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """
    A cause made real.
    """

    cause: str
    """Its name in the table of causes; empty if nothing must be refused."""
    marker: str = ""
    """The arguments of the marker."""
    users: Sequence[str] = ("root", "tester")
    """Whom it is for."""
    make: str = ""
    """What root types to make it real."""
    undo: str = ""
    """What root types to end that."""
    inside: str = "{0}"
    """The command that runs pytest, which stands for ``{0}``; as the user."""
    outside: str = "{0}"
    """The same, as root, around what becomes the user."""
    fix: str | None = None
    """
    What is typed to mend it: ``root`` and ``shell`` take the command from the fix, for
    root or the shell that runs pytest. Anything else is the new `inside`, for a fix in
    words.
    """
    mended: str | None = None
    """The arguments of the marker that the fix proposes, if it does."""
    needs: tuple[str, str] = ("/", "")
    """The file without which this kernel cannot have it, and what must be in that."""
    since: tuple[int, int] = (0, 0)
    """The first kernel that can have it,"""
    before: tuple[int, int] = (99, 0)
    """and the first one that cannot any more."""
    shows: str = ""
    """What the fix prints, as a pattern, if it does not mend anything."""
    is_doctors: bool = False
    """Whether only the doctor tells of it."""
    test: str = _TEST
    """The test, with the place for the marker's arguments."""
    texts: tuple[str, str] | None = None
    """The why and the fix as patterns, if they are not in the table of causes."""


def _limits() -> Iterator[Case]:
    for kind, marker, users in (
        ("user", "", ("tester",)),
        *((kind, "", ("root", "tester")) for kind in ("pid", "ipc", "uts", "mnt")),
        ("net", "net=True", ("root", "tester")),
        ("cgroup", "cgroup=True", ("root", "tester")),
        ("time", "time={'monotonic': 60}", ("root", "tester")),
    ):
        name = f"user.max_{kind}_namespaces"
        yield Case(
            cause="limit-zero",
            marker=marker,
            users=users,
            make=f"sysctl -w {name}=0",
            fix="root",
        )


CASES = (
    *_limits(),
    Case(
        cause="limit-reached",
        users=("tester",),
        make="sysctl -w user.max_user_namespaces=1\n"
        "setpriv --reuid=tester --regid=tester --clear-groups "
        "unshare --user sleep 600 >/dev/null 2>&1 & echo $! >/run/holder",
        undo="kill $(cat /run/holder)",
        fix="root",
    ),
    Case(
        cause="no-capability",
        users=("tester",),
        is_doctors=True,
    ),
    Case(
        cause="no-capability",
        users=("root",),
        inside=_LOSE.format("sys_admin") + " {0}",
        is_doctors=True,
    ),
    Case(
        cause="no-veth",
        make="modprobe -r veth; sysctl -w kernel.modprobe=/bin/false",
        fix="root",
        test=_WIRE.format(""),
        texts=(
            r"kernel \S+ has no interfaces of the kind veth",
            "sudo modprobe veth, or boot a kernel with CONFIG_VETH",
        ),
    ),
    Case(
        cause="no-netem",
        make="modprobe veth; modprobe -r sch_netem; "
        "sysctl -w kernel.modprobe=/bin/false",
        fix="root",
        test=_WIRE.format(".shape(delay=0.01)"),
        texts=(
            r"kernel \S+ has no queueing discipline netem",
            "sudo modprobe sch_netem, or boot a kernel with CONFIG_NET_SCH_NETEM",
        ),
    ),
    Case(
        cause="nested",
        users=("tester",),
        inside="bwrap --dev-bind / / --unshare-user --disable-userns {0}",
        fix="{0}",
    ),
    Case(
        cause="userns-clone",
        users=("tester",),
        make="sysctl -w kernel.unprivileged_userns_clone=0",
        undo="sysctl -w kernel.unprivileged_userns_clone=1",
        fix="root",
        needs=("/proc/sys/kernel/unprivileged_userns_clone", ""),
    ),
    Case(
        cause="apparmor-userns",
        users=("tester",),
        make="sysctl -w kernel.apparmor_restrict_unprivileged_userns=1",
        undo="sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        fix="root",
        needs=("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", ""),
    ),
    Case(
        cause="apparmor-profile",
        make=f"apparmor_parser --replace <<'END'\n{_PROFILE}END",
        undo=f"apparmor_parser --remove <<'END'\n{_PROFILE}END",
        inside="aa-exec --profile=trial -- {0}",
        fix="{0}",
        needs=("/sys/kernel/security/apparmor", ""),
    ),
    Case(
        cause="mount-limit",
        make="sysctl -w fs.mount-max=1",
        undo="sysctl -w fs.mount-max=100000",
        fix="root",
    ),
    Case(
        cause="no-directory",
        marker="tmpfs=['/srv/db']",
        undo="rmdir /srv/db",
        fix="root",
    ),
    Case(
        cause="mounts-below",
        users=("tester",),
        marker="overlay=['/srv/place']",
        mended="overlay=True",
        make="mkdir -p /srv/place/sub && mount -t tmpfs none /srv/place/sub",
        undo="umount /srv/place/sub; rm -r /srv/place",
        since=(6, 6),
    ),
    Case(
        cause="no-overlayfs",
        marker="overlay=['/srv']",
        make="modprobe -r overlay; sysctl -w kernel.modprobe=/bin/false",
        fix="root",
        since=(6, 6),
    ),
    Case(
        cause="not-a-layer",
        marker="overlay=['/srv/place']",
        mended="tmpfs=['/srv/place']",
        make=_LAYERS,
        undo="umount /srv/place; umount /srv/place; umount /srv/tmp; rmdir /srv/*",
        since=(6, 6),
    ),
    Case(
        cause="old-kernel",
        marker="readonly=['/srv']",
        fix="{0} --nsisolate-unavailable=skip",
        shows="1 skipped",
        before=(5, 12),
    ),
    Case(
        cause="no-user-attributes",
        users=("tester",),
        marker="overlay=['/srv']",
        mended="tmpfs=['/srv']",
        before=(6, 6),
    ),
    Case(
        cause="lost-directory",
        make="mkdir -m 1777 /dev/shm/here",
        undo="rm -r /dev/shm/here",
        inside="cd /dev/shm/here && cp /run/trial/* . && {0}",
        fix="{0}",
    ),
    Case(
        cause="process-limit",
        users=("tester",),
        inside="ulimit -S -u 2 && {0}",
        fix="shell",
    ),
    Case(
        cause="descriptor-limit",
        inside="ulimit -S -n 14 && {0}",
        fix="shell",
    ),
    Case(
        cause="clock-range",
        marker="time={'monotonic': -10**9}",
        mended=r"time={{'monotonic': {0}}}",
        fix="{0}",
    ),
    Case(
        cause="unmappable-root",
        users=("root",),
        inside=_LOSE.format("sys_admin,-setfcap") + " {0}",
        fix="setpriv --reuid=tester --regid=tester --clear-groups {0}",
    ),
    Case(
        cause="chroot",
        users=("tester",),
        make=_JAIL,
        undo="umount -R /run/jail/run/trial /run/jail/*\n"
        "rm -r --one-file-system /run/jail",
        outside="chroot /run/jail {0}",
        fix="{0}",
    ),
    Case(
        cause="masked-proc",
        users=("tester",),
        outside="unshare --mount sh -c 'mount -t tmpfs none /proc/irq && exec \"$@\"' "
        "sh {0}",
        mended="proc=False",
    ),
    Case(
        cause="",
        users=("tester",),
        make="mount -o remount,hidepid=2 /proc",
        undo="mount -o remount,hidepid=0 /proc",
    ),
    Case(
        cause="no-proc",
        users=("tester",),
        outside="unshare --mount sh -c 'umount --lazy /proc && exec \"$@\"' sh {0}",
        fix="{0}",
    ),
    Case(
        cause="read-only-proc",
        users=("tester",),
        outside="unshare --mount sh -c 'mount -o remount,bind,ro /proc && exec "
        '"$@"\' sh {0}',
        fix="{0}",
    ),
    Case(
        cause="unmapped",
        users=("tester",),
        inside="unshare --user {0}",
        fix="unshare --user --map-current-user {0}",
    ),
    Case(
        cause="perhaps-chroot",
        users=("tester",),
        make="mkdir /run/jail && mount --rbind --make-rslave / /run/jail",
        undo="umount --lazy --recursive /run/jail; rmdir /run/jail",
        outside="chroot /run/jail {0}",
        fix="{0}",
    ),
    Case(
        cause="perhaps-seccomp",
        marker="hostname='t1'",
        inside="python3 /run/trial/filter sethostname 1 {0}",
        mended="",
    ),
    Case(
        cause="unknown",
        undo="rm /run/trial/trace.txt",
        inside="python3 /run/trial/landlock {0}",
        fix="python3 /run/trial/landlock strace -f -o trace.txt {0}; cat trace.txt",
        shows=r"mount\(.*\) = -1 EPERM",
        needs=("/sys/kernel/security/lsm", "landlock"),
    ),
    Case(
        cause="seccomp",
        inside="python3 /run/trial/filter unshare 1 {0}",
        fix="{0}",
    ),
)

_SECONDS = 120
_OPTIONS = ["-p", "no:cacheprovider", "--color=no", "-q", "test_it.py"]
_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_FORK = multiprocessing.get_context("fork")
_SET_DUMPABLE = 4  # linux/prctl.h
_BECOME = "setpriv --reuid={0} --regid={0} --init-groups env HOME={1}"


def main() -> int:
    """
    Try all causes as the given user, and return the exit code.
    """
    user = sys.argv[1]
    place = Path("/run/trial")
    place.mkdir(exist_ok=True)
    place.chmod(0o1777)
    (place / "filter").write_text(FILTER)
    (place / "landlock").write_text(_LANDLOCK)
    results = []
    cases = [case for case in CASES if user in case.users]
    titles = {one.name: one.title for one in CAUSES}
    for case in cases:
        if lacking := _lacking(case):
            print(f"skipped {titles[case.cause]}: this kernel {lacking}")
            results.append("skipped")
            continue
        failed = _try(case, user, place)
        name = " ".join([case.cause, case.marker, case.make.partition("\n")[0]])
        print("FAILED" if failed else "passed", name)
        if failed:
            print(f"    {failed}".replace("\n", "\n    "))
        results.append("failed" if failed else "passed")
        sys.stdout.flush()
    counts = [f"{results.count(one)} {one}" for one in sorted(set(results))]
    print(", ".join(counts))
    return 1 if "failed" in results else 0


def _lacking(case: Case) -> str:
    """
    Return what keeps this kernel from having the cause; nothing if it can have it.
    """
    file, word = case.needs
    if machine.is_older(*case.since):
        return "is older than {}.{}".format(*case.since)
    if not machine.is_older(*case.before):
        return "is not older than {}.{}".format(*case.before)
    if not os.path.exists(file):
        return f"has no {file}"
    if word and word not in Path(file).read_text():
        return f"has no {word} in {file}"
    return ""


def _patterns() -> dict[str, tuple[str, str]]:
    """
    Return the why and the fix of each cause as patterns.
    """

    def pattern(text: str) -> str:
        parts = re.split(r"(\{\w+\})", text)
        words = [
            ".*?" if re.fullmatch(r"\{\w+\}", one) else re.escape(one) for one in parts
        ]
        return "".join(words).replace(r"\{\{", r"\{").replace(r"\}\}", r"\}")

    return {one.name: (pattern(one.why), pattern(one.fix)) for one in CAUSES}


def _try(case: Case, user: str, place: Path) -> str:
    """
    Return what is wrong with *case* for *user*; nothing if all is well.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as saved:
        # Whatever it sets to make it real must have its value again.
        for name in re.findall(r"sysctl -w (\S+)=", case.make):
            value = Path("/proc/sys", *name.split(".")).read_text().strip()
            saved.write(f"{name}={value}\n")
        saved.flush()
        made = _shell(case.make)
        try:
            _judge(case, user, place)
        except AssertionError as wrong:
            return f"{wrong}\n{made}".strip()
        else:
            return ""
        finally:
            _shell(f"{case.undo}\nsysctl -p {saved.name}")


def _judge(case: Case, user: str, place: Path) -> None:
    _write(place, case, case.marker)
    said = _run(case, user, case.inside)
    if not case.cause:
        assert "1 passed" in said, said
        return
    why, fix = case.texts or _patterns()[case.cause]
    if case.is_doctors:
        assert re.search(f"^why: {why}\nfix: {fix}$", said, re.MULTILINE), said
        return
    assert "1 passed" not in said, f"it was not refused\n{said}"
    # An error of a box is the traceback of the test that made the box.
    told = re.search(
        r"^(?:E +\S+: )?(cannot .*)\n(?:E +)?why: (.*)\n(?:E +)?fix: (.*)$",
        said,
        re.MULTILINE,
    )
    assert told, said
    lines = "\n".join(told.groups())
    # What a user namespace is needed for may stand in front.
    assert re.fullmatch(f"(.* is needed; )?{why}", told[2]), f"another reason\n{lines}"
    assert re.fullmatch(fix, told[3]), f"another fix\n{lines}"
    inside = case.inside
    if case.mended is not None:
        offset = re.search(r"from (-\d+)", told[3])
        _write(place, case, case.mended.format(offset and offset[1]))
    typed = re.split(r", | \(", told[3])[0]
    if case.fix == "root":
        typed = typed.removeprefix("sudo ")
        lines += f"\n$ {typed}\n{_shell(typed)}"
    elif case.fix == "shell":
        inside = case.inside.replace("{0}", f"{typed} && {{0}}")
    elif case.fix is not None:
        inside = case.fix
    outside = case.outside if case.fix != "{0}" else "{0}"
    case = dataclasses.replace(case, outside=outside)
    said = _run(case, user, inside)
    if case.shows:
        assert re.search(case.shows, said), f"the fix does not show it\n{lines}\n{said}"
        return
    assert "1 passed" in said, f"the fix does not help\n{lines}\n{said}"


def _write(place: Path, case: Case, marker: str) -> None:
    (place / "test_it.py").write_text(case.test.format(marker=marker))


def _run(case: Case, user: str, inside: str) -> str:
    if case.outside == inside == "{0}" and not case.is_doctors:
        return _fork(user)
    program = f"python3 -B -m pytest {' '.join(_OPTIONS)}"
    if case.is_doctors:
        program = "python3 -m pytest_nsisolate"
    return _shell(case.outside.format(_as(user, inside.format(program))))


def _fork(user: str) -> str:
    """
    Run pytest as *user* in a fork, and return its output.

    Most of the time that pytest takes on an emulated processor goes by until it is
    imported; here it is already.
    """
    with tempfile.TemporaryFile() as output:
        process = _FORK.Process(target=_become, args=(user, output.fileno()))
        process.start()
        process.join(_SECONDS)
        late = "took too long\n" if process.exitcode is None else ""
        process.kill()
        process.join()
        output.seek(0)
        return late + output.read().decode(errors="replace")


def _become(user: str, output: int) -> None:
    for number in (1, 2):
        os.dup2(output, number)
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    # As after execve(2): without it, /proc/self would be root's. Source: prctl(2),
    # PR_SET_DUMPABLE.
    assert ctypes.CDLL(None).prctl(_SET_DUMPABLE, ctypes.c_ulong(1)) == 0
    os.environ.update(_ALONE, HOME=account.pw_dir)
    os.chdir("/run/trial")
    # As `-B`: the test of the next case may have the size and time of this one.
    sys.dont_write_bytecode = True
    pytest.main(_OPTIONS, plugins=[plugin])


def _as(user: str, script: str) -> str:
    become = _BECOME.format(user, pwd.getpwnam(user).pw_dir)
    return f"{become} bash -c {shlex.quote(f'cd /run/trial && {script}')}"


def _shell(script: str) -> str:
    """
    Run *script* as root and return its output.
    """
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["bash", "-c", script],
            env={**os.environ, **_ALONE, "PYTEST_PLUGINS": plugin.__name__},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return f"took too long\n{late.output!r}"
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
