"""
What becomes of the tests after one that goes wrong?
"""

import os
import signal


def test_1_before() -> None:
    """
    Pass.
    """


def test_2_wrong() -> None:
    """
    Be killed, as by the kernel when memory runs out.
    """
    os.kill(os.getpid(), signal.SIGKILL)


def test_3_after() -> None:
    """
    Pass.
    """
