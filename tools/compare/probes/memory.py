"""
Does one test see what another has changed in the process?
"""

import os
import sys

_NAME = "COMPARE_CHANGED"


def test_1_changes() -> None:
    """
    Change the environment, the working directory and a module.
    """
    os.environ[_NAME] = "changed"
    sys.compare_changed = True  # type: ignore[attr-defined]
    os.chdir("/")


def test_2_looks() -> None:
    """
    Look at them.
    """
    changed = [_NAME in os.environ, hasattr(sys, "compare_changed"), os.getcwd() == "/"]

    assert not any(changed), "SHARED"
