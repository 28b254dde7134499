"""
The settings of tests whose examples Hypothesis draws.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: No deadline, since machines differ and this is not about milliseconds, and no
#: database of examples, since the checkout may belong to another user. The examples are
#: the same in each run, so that no change fails by chance.
QUICKLY = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[
        # They are about the speed of this machine, too.
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        # Such fixtures serve all examples.
        HealthCheck.function_scoped_fixture,
    ],
)
