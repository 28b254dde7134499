"""
Systems without namespaces, where the plugin loads and says what it cannot do.
"""

from __future__ import annotations

import sys

import pytest

#: Removes what Linux has and macOS or Windows lack, then runs pytest.
RUN = """
import os
import signal
import sys

import psutil
import pytest

for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None
for module, names in (
    (os, ("memfd_create", "pidfd_open", "setns", "unshare", "pipe2")),
    (signal, ("SIGRTMAX", "SIGRTMIN")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
    # posix has them too, which is where the project takes its own from.
    for name in set(names) & set(dir(sys.modules["posix"])):
        delattr(sys.modules["posix"], name)
sys.platform = "darwin"
sys.exit(pytest.main(sys.argv[1:]))
"""

TESTS = """
import pytest

def test_host(): pass

@pytest.mark.isolated
def test_marked(): pass

@pytest.mark.isolated(memory="512M", timeout=5)
def test_limited(): pass
"""


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_other_tests_run(pytester: pytest.Pytester, policy: str) -> None:
    """
    Tests on the host run, and marked tests say what is missing.
    """
    pytester.makepyfile(test_it=TESTS)
    script = pytester.makepyfile(run=RUN)
    result = pytester.run(
        sys.executable,
        script,
        "-rs",
        "-p",
        "no:hypothesispytest",
        f"--nsisolate-unavailable={policy}",
        "test_it.py",
    )

    refused = {"fail": {"errors": 2}, "skip": {"skipped": 2}}[policy]
    result.assert_outcomes(passed=1, **refused)
    result.stdout.fnmatch_lines(
        [
            "nsisolate: unavailable, isolated tests fail (namespaces on darwin *",
            "cannot isolate test_marked: namespaces on darwin failed: ENOSYS",
            "why: namespaces are a Linux feature, and this is darwin",
            "fix: run the tests on Linux, or pass --nsisolate-unavailable=skip",
        ]
        if policy == "fail"
        else ["nsisolate: *", "SKIPPED*cannot isolate test_marked: namespaces on*"]
    )
