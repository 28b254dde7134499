"""
The doctor: what it prints where isolation works and where it is refused.
"""

from __future__ import annotations

import sys

import pytest
from examination import DOCTOR, SAID, examine, refused
from mounts import SPACE, masked
from seccomp import FILTER
from ways import KEEP, WAYS, is_capable

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.diagnosis import steps as trial


@pytest.fixture(params=["alone", "pytest"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """
    Return the two commands that print JSON.
    """
    if request.param == "alone":
        return [*DOCTOR, "--json"]
    return [sys.executable, "-m", "pytest", "--nsisolate-doctor-json"]


@pytest.mark.parametrize("way", list(WAYS))
def test_all_is_well(pytester: pytest.Pytester, command: list[str], way: str) -> None:
    """
    Where isolation works, no step that tests use is refused.
    """
    found = examine(pytester, *WAYS[way], *command)

    assert found["status"] == 0
    assert found["available"] is True
    assert refused(found, way) == {}
    taken = {one["way"] for one in found["trials"] if one["group"] == "test"}
    assert taken == {SAID[way]}
    assert set(found["facts"]) == {"kernel", "privileges", "settings"}
    if way == KEEP:
        # Only the lack of privilege is explained, once.
        (line,) = found["refusals"]
        assert line["what"] == (
            "cannot take the step ipc (no user namespace): unshare(CLONE_NEWIPC) "
            "failed: EPERM"
        )
        assert line["why"].startswith("the call takes CAP_SYS_ADMIN, which is not in ")


@pytest.mark.parametrize("option", ["--nsisolate-doctor", "alone"])
def test_table(pytester: pytest.Pytester, option: str) -> None:
    """
    The table has a row for each step and the verdict in its last line; no test runs.
    """
    pytester.makepyfile("raise SystemExit('imported')")
    arguments = [sys.executable, "-m", "pytest", option]

    result = pytester.run(*(DOCTOR if option == "alone" else arguments), timeout=120)

    assert result.ret == 0
    rows = [f"  {step.name} *" for step in trial.STEPS]
    tests = ["test", *(f"  {name} *" for name in doctor.SPECS)]
    result.stdout.fnmatch_lines(["kernel", "privileges", "settings", "tried *", *rows])
    result.stdout.fnmatch_lines([*tests, "verdict: tests can be isolated"])


def test_needs_no_pytest(pytester: pytest.Pytester) -> None:
    """
    Run on its own, the doctor does not import pytest.
    """
    code = (
        "import sys; from pytest_nsisolate.diagnosis import doctor; doctor.run('table')"
    )
    tail = "; sys.exit(3 if {'pytest', '_pytest'} & set(sys.modules) else 0)"

    assert pytester.run(sys.executable, "-c", code + tail, timeout=120).ret == 0


@pytest.mark.parametrize("kind", ["user", "pid", "ipc", "uts", "mnt"])
def test_limit_of_namespaces(pytester: pytest.Pytester, kind: str) -> None:
    """
    The one namespace that is not allowed is told apart from all the others.
    """
    name = f"user.max_{kind}_namespaces"
    zero = f'echo 0 > /proc/sys/{name.replace(".", "/")}; exec "$@"'

    found = examine(pytester, *SPACE, "sh", "-c", zero, "sh", *DOCTOR, "--json")

    assert found["status"] == 1
    assert found["available"] is False
    assert found["facts"]["settings"][name] == "0"
    steps = {step.name for step in trial.STEPS} & set(refused(found, KEEP))
    assert steps == {kind}
    assert {one["fix"] for one in found["refusals"]} == {f"sudo sysctl -w {name}=10000"}


@pytest.mark.parametrize(
    ("call", "steps"),
    [
        ("mount", {"/ as slave"}),
        ("setns", {"setns()"}),
        ("sethostname", {"sethostname()"}),
    ],
)
@pytest.mark.parametrize("way", list(WAYS))
def test_seccomp(
    pytester: pytest.Pytester, way: str, call: str, steps: set[str]
) -> None:
    """
    A filter on one call is told apart from a filter on another.
    """
    script = pytester.makepyfile(refusing=FILTER)
    behind = [*WAYS[way], sys.executable, str(script), call, "1"]

    found = examine(pytester, *behind, *DOCTOR, "--json")

    names = {step.name for step in trial.STEPS}
    assert names & set(refused(found, KEEP)) == steps
    assert found["facts"]["privileges"]["Seccomp"] == "2"
    # Only a test that asks for a hostname needs that call.
    assert found["available"] is (call == "sethostname")
    assert found["status"] == (0 if call == "sethostname" else 1)
    assert any("Seccomp is 2" in one["why"] for one in found["refusals"])


@pytest.mark.parametrize("way", list(WAYS))
def test_masked_proc(pytester: pytest.Pytester, way: str) -> None:
    """
    Where only ``/proc`` cannot be mounted, the verdict is ``proc=False``.
    """
    found = examine(pytester, *masked(way), *DOCTOR, "--json")
    table = pytester.run(*masked(way), *DOCTOR, timeout=120)

    tests = set(doctor.SPECS) - {"proc=False"}
    assert set(refused(found, way)) - {"/proc"} == tests
    assert found["facts"]["settings"]["masks on /proc"] == "/proc/irq"
    assert found["status"] == table.ret == 1
    assert table.outlines[-1] == "verdict: tests can be isolated only with proc=False"
    table.stdout.fnmatch_lines(["fix: *or @pytest.mark.isolated(proc=False)"])


def test_nested(pytester: pytest.Pytester) -> None:
    """
    Where a limit was set further out and cannot be read, the nesting is named.
    """
    one = 'echo 1 > /proc/sys/user/max_user_namespaces; exec "$@"'
    run = [*SPACE, "sh", "-c", one, "sh", *SPACE, *DOCTOR, "--json"]

    found = examine(pytester, *run)

    assert refused(found, KEEP)["user"] == "ENOSPC"
    assert found["status"] == 1
    (line,) = found["refusals"]
    assert line["why"].startswith("pytest is already in a user namespace (")


def test_hidden_processes(pytester: pytest.Pytester) -> None:
    """
    ``hidepid`` is shown and does not prevent a sandbox.
    """
    hide = 'mount -t proc -o hidepid=2 none /proc && exec "$@"'
    space = [*SPACE, "--pid", "--fork", "--kill-child"]

    found = examine(pytester, *space, "sh", "-c", hide, "sh", *DOCTOR, "--json")

    assert found["facts"]["settings"]["hidepid of /proc"] in {"2", "invisible"}
    assert found["available"] is True


@pytest.mark.faults
def test_few_descriptors(pytester: pytest.Pytester) -> None:
    """
    With too few descriptors the doctor says so and ends.
    """
    for room in range(5, 20):
        result = pytester.run("prlimit", f"--nofile={room}", *DOCTOR, timeout=120)
        if result.ret == 0:
            break
        if "verdict" not in result.stdout.str():
            # Not even Python starts.
            continue
        assert f"(RLIMIT_NOFILE is {room})" in result.stdout.str()
    else:
        pytest.fail("no number of descriptors will do")
    assert room > 6


def test_few_processes(pytester: pytest.Pytester) -> None:
    """
    Where no process can be started the doctor says so and ends.
    """
    if is_capable():
        pytest.skip("the kernel puts no such limit on root")
    found = examine(pytester, "prlimit", "--nproc=1", *DOCTOR, "--json")

    assert found["status"] == 1
    assert {one["why"] for one in found["refusals"]} == {
        "no more processes can be started (RLIMIT_NPROC is 1)"
    }
