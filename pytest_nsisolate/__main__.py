"""
The command ``python -m pytest_nsisolate``: the doctor, without pytest.

It also prints the seccomp profile for container engines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pytest_nsisolate.diagnosis import doctor
from pytest_nsisolate.seccomp import profile


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Do what the *arguments* of the command line say, and return the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pytest_nsisolate",
        description="Say whether tests can be isolated here, and if not, why.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--json",
        action="store_const",
        const="json",
        default="table",
        help="Print the findings as JSON, for programs.",
    )
    what.add_argument(
        "--seccomp-profile",
        action="store_true",
        help="Print a profile for docker run --security-opt seccomp=FILE, or podman.",
    )
    options = parser.parse_args(arguments)
    if options.seccomp_profile:
        sys.stdout.write(profile.text())
        return 0
    return doctor.run(options.json)


if __name__ == "__main__":
    sys.exit(main())
