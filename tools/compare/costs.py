"""
Costs: what a test that does nothing adds to a session.
"""

from __future__ import annotations

import statistics

from accounting import Accounting
from figures import Cost
from peers import CONTAINER, Way
from trials import Trial

#: Two sizes of a suite: the difference is free of what comes once in a session.
_SIZES, _SLOW_SIZES = (50, 200), (4, 12)

_ROUNDS = 3

#: The key of this question.
COST = "cost"


def cost(trial: Trial, accounting: Accounting) -> str:
    """
    Return what a test takes in each way of a peer, in the median.

    It is processor time, which does not depend on what else the machine does. The
    daemon starts a container, so that its time is not that of the command.
    """
    cells = []
    for way in trial.peer.ways:
        rounds = [_of_test(trial, way, accounting) for _ in range(_ROUNDS)]
        if trial.peer.name == CONTAINER:
            taken = f"{_short(statistics.median(one.wall for one in rounds))} wall"
        else:
            taken = _short(statistics.median(one.cpu for one in rounds))
        cells.append(f"{way.label}: {taken}" if way.label else taken)
    return "; ".join(cells)


def _of_test(trial: Trial, way: Way, accounting: Accounting) -> Cost:
    """
    Return what a test takes.
    """
    if way.each:
        return _session(trial, way, 1, accounting)
    few, many = _SLOW_SIZES if way.slow else _SIZES
    less, taken = (_session(trial, way, tests, accounting) for tests in (few, many))
    more = many - few
    return Cost((taken.cpu - less.cpu) / more, (taken.wall - less.wall) / more)


def _session(trial: Trial, way: Way, tests: int, accounting: Accounting) -> Cost:
    command, place = trial.trivial(way, tests)
    return accounting.run(command, place, **trial.variables())


def _short(value: float) -> str:
    """
    Return milliseconds with the digits that mean something.
    """
    return f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"  # noqa: PLR2004 - as said
