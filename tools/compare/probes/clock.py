"""
Can a test have a machine that has been up for longer?
"""

import os
import time

_DAY = 86400


def test_2_looks() -> None:
    """
    Look at the clock.
    """
    assert time.monotonic() > float(os.environ["PROBE_UPTIME"]) + _DAY, "SHARED"
