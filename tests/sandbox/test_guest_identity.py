"""
The identity of a guest: the ids, capabilities and limits that it has on the host.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RunPytest = Callable[..., pytest.RunResult]

#: What can be observed of a process; the supervisor and guests both record it.
FACTS = """
import os
import resource
import sys
from pathlib import Path

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")

def status(*names):
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: fields[name].strip() for name in names}

def facts():
    mask = os.umask(0)
    os.umask(mask)
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    environment = dict(os.environ)
    environment.pop("PYTEST_CURRENT_TEST", None)
    return {
        "uids": os.getresuid(),
        "gids": os.getresgid(),
        "umask": mask,
        "cwd": os.getcwd(),
        "here": (os.stat(".").st_dev, os.stat(".").st_ino),
        "environment": environment,
        "limits": {n: resource.getrlimit(getattr(resource, n)) for n in limits},
        "nice": os.nice(0),
        "affinity": os.sched_getaffinity(0),
        "path": list(sys.path),
        "user namespace": os.readlink("/proc/self/ns/user"),
        "network": os.readlink("/proc/self/ns/net"),
        "root": (os.stat("/").st_dev, os.stat("/").st_ino),
        **status(*CAPABILITIES),
    }
"""

SAME = """
import os
import resource
import signal
import pytest
import facts

os.umask(0o027)
os.environ["NSISOLATE_SEEN"] = "inside \\udcff"
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400))
os.nice(3)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
OUTSIDE, PID = facts.facts(), os.getpid()

@pytest.mark.isolated
def test_same(isolation):
    inside = facts.facts()
    # This alone may differ, and does where it must.
    space = inside.pop("user namespace")
    assert ("user" in isolation.namespaces) is (space != OUTSIDE["user namespace"])
    assert inside == {key: OUTSIDE[key] for key in inside}
    assert os.getpid() not in {1, PID}
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN

@pytest.mark.isolated
def test_files_are_the_same(tmp_path):
    (tmp_path / "new").write_text("inside")
    facts_of_it = (tmp_path / "new").stat()
    assert facts_of_it.st_mode & 0o777 == 0o640
    assert (facts_of_it.st_uid, facts_of_it.st_gid) == (os.geteuid(), os.getegid())

def test_host_is_unchanged():
    assert facts.facts() == OUTSIDE
"""


def test_same_process(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Ids, umask, directory, environment, limits and capabilities are the supervisor's.
    """
    pytester.makepyfile(facts=FACTS, test_same=SAME)
    run_both_ways("test_same.py").assert_outcomes(passed=3)


def test_user_namespace_by_capability(
    pytester: pytest.Pytester,
    run_both_ways: RunPytest,
    request: pytest.FixtureRequest,
) -> None:
    """
    A user namespace is used only without CAP_SYS_ADMIN, whatever the uid.
    """
    pytester.makepyfile(
        """
        import os
        import pytest

        SPACE = os.readlink("/proc/self/ns/user")

        @pytest.mark.isolated
        def test_space(isolation):
            same = os.readlink("/proc/self/ns/user") == SPACE
            print("uid", os.geteuid(), "same user namespace", same)
            assert same is ("user" not in isolation.namespaces)
        """
    )
    result = run_both_ways("-rP")
    result.assert_outcomes(passed=1)
    plain = "plain" in request.node.name
    means = "no user namespace" if plain else "user namespace"
    result.stdout.fnmatch_lines([f"nsisolate: ipc uts pid mnt ({means}, /proc fresh)"])
    uid = 0 if plain else os.geteuid()
    result.stdout.fnmatch_lines([f"uid {uid} same user namespace {plain}"])


def test_privilege(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A guest may do no more than pytest itself, unless the marker says ``user="root"``.
    """
    pytester.makepyfile(
        """
        import errno
        import os
        import socket
        import subprocess
        from pathlib import Path
        import pytest

        def may(action):
            try:
                action()
            except OSError as error:
                # An id that a user namespace does not map is no valid one.
                assert error.errno in {errno.EACCES, errno.EPERM, errno.EINVAL}
                return False
            return True

        def actions(path):
            locked = path / "locked"
            locked.write_text("secret")
            locked.chmod(0)
            return {
                "read": may(locked.read_text),
                "chroot": may(lambda: os.chroot("/")),
                "setuid": may(lambda: os.seteuid(1)) and os.seteuid(0) is None,
            }

        @pytest.fixture(scope="module")
        def outside(tmp_path_factory):
            path = tmp_path_factory.mktemp("outside")
            pid = os.fork()
            if not pid:
                (path / "answer").write_text(repr(actions(path)))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            return (path / "answer").read_text()

        @pytest.mark.isolated
        def test_as_outside(outside, tmp_path):
            assert repr(actions(tmp_path)) == outside

        @pytest.mark.isolated
        def test_no_new_names(isolation):
            if "user" in isolation.namespaces:
                with pytest.raises(PermissionError):
                    socket.sethostname("changed")

        @pytest.mark.isolated(user="root")
        def test_root(tmp_path):
            assert os.getresuid() == os.getresgid() == (0, 0, 0)
            socket.sethostname("changed")
            assert socket.gethostname() == "changed"
            command = ["mount", "-t", "tmpfs", "none", str(tmp_path)]
            subprocess.run(command, check=True)
            (tmp_path / "file").write_text("inside")
            assert os.path.ismount(tmp_path)
            Path("/proc/self/comm").write_text("root")

        def test_nothing_is_left(tmp_path_factory):
            base = tmp_path_factory.getbasetemp()
            mounts = Path("/proc/self/mounts").read_text()
            assert str(base) not in mounts
            assert not list(base.glob("test_root*/file"))
        """
    )
    run_both_ways().assert_outcomes(passed=4)


def test_supplementary_groups(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    The groups are the same, except that unmapped ones show as the overflow group.
    """
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        GROUPS = os.getgroups()
        OVERFLOW = int(Path("/proc/sys/kernel/overflowgid").read_text())

        @pytest.mark.isolated
        def test_groups():
            inside = os.getgroups()
            mapped = len(Path("/proc/self/gid_map").read_text().split()) > 3
            one = Path("/proc/self/gid_map").read_text().split()[2] == "1"
            shown = [g if g == os.getegid() else OVERFLOW for g in GROUPS]
            assert sorted(inside) in (sorted(GROUPS), sorted(shown))
            if not one or mapped:
                assert inside == GROUPS
        """
    )
    run_both_ways().assert_outcomes(passed=1)


def test_access_by_unmapped_group(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A supplementary group that cannot be mapped still opens its files.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can be given a group; the lane of root tests this")
    shared = Path("/tmp") / f"nsisolate-{os.getpid()}"
    shared.mkdir()
    try:
        shared.chmod(0o755)
        monkeypatch.chdir(shared)
        secret = shared / "secret"
        secret.write_text("for the group")
        os.chown(secret, 0, 54321)
        secret.chmod(0o040)
        (shared / "test_group.py").write_text(
            "import pytest\n"
            "@pytest.mark.isolated\n"
            "def test_it(isolation):\n"
            "    assert 'user' in isolation.namespaces\n"
            f"    assert open({str(secret)!r}).read() == 'for the group'\n"
            "    with pytest.raises(PermissionError):\n"
            f"        open({str(secret)!r}, 'w')\n"
        )
        become = (
            "setpriv --reuid=65534 --regid=65534 --groups=54321 --bounding-set=-all"
        )
        reachable = _python_for_anyone()
        if reachable is None:
            pytest.skip(f"{sys.executable} is out of the reach of other users")
        run = [reachable, "-m", "pytest", "-p", "no:cacheprovider", str(shared)]
        result = pytester.run(*become.split(), *run, timeout=60)
        result.assert_outcomes(passed=1)
    finally:
        shutil.rmtree(shared)


def _python_for_anyone() -> str | None:
    """
    Return this interpreter if a user without privilege can run it, or None.
    """
    command = shlex.join(
        [sys.executable, "-c", "import pytest, pytest_nsisolate.plugin"]
    )
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]
    done = subprocess.run([*become, command], capture_output=True, check=False)
    return None if done.returncode else sys.executable
