"""
Comparison of this plugin with other ways to isolate tests, by trying each of them.

Usage: python3 tools/compare [options]

Makes a virtual environment for each way, with the newest pytest that it works with, and
runs the same probes in all of them: `questions.py` lists what is asked, `probes/` has
the tests, `peers.py` the ways. Each cell of the tables is derived from what happened.
What cannot be run is said, with the reason. ``--write`` writes the tables into
docs/explanation/comparison.md.

Everything runs in namespaces that end with this program, so that probes change nothing
on the machine. The container takes root and Debian's packages docker.io, runc and
debootstrap; pytest-bwrap takes bubblewrap.

Exits 1 if a probe finds of plain pytest what cannot be, or says nothing of a peer.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]

#: Modules of theirs do part of the work.
_OTHERS = (_CHECKOUT / "benchmarks", _CHECKOUT / "tools/containers")


def main() -> int:
    """
    Run comparison.py on a machine of its own, and return its exit code.
    """
    spaces = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
    if os.geteuid():
        spaces += ["--user", "--map-root-user"]
    script = [sys.executable, str(_HERE / "comparison.py"), *sys.argv[1:]]
    if {"-h", "--help", "--check"} & {*sys.argv[1:]}:
        return subprocess.run(script, env=_environment(), check=False).returncode
    # On SIGTERM too, the directory must be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Not in /tmp: each probe has one of its own.
    work = tempfile.mkdtemp(prefix="compare-", dir="/var/tmp")
    try:
        command = ["unshare", *spaces, "--mount-proc", *script, work]
        with subprocess.Popen(command, env=_environment()) as process:
            try:
                return process.wait()
            finally:
                process.kill()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(work, ignore_errors=True)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, _OTHERS))}


if __name__ == "__main__":
    sys.exit(main())
