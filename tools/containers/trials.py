"""
The trial of every row as every user, with the fixes of what is refused.
"""

from __future__ import annotations

import sys

import image
from engines import Engine
from fixes import typed
from processes import CannotRun, run
from results import Refusal, Result, read
from rows import ROOT, USER, Row

_TIME = 600.0


class Trials:
    """
    The trials in all engines.

    Args:
        engines: The engines, by the key that rows have.
    """

    def __init__(self, engines: dict[str, Engine]) -> None:
        self._engines = engines
        self._done: dict[tuple[Row, str], Result] = {}
        #: The refusals in the order in which they were met, each with its number.
        self.numbers: dict[Refusal, int] = {}
        #: What was typed for each, and what came of it.
        self.fixed: dict[Refusal, dict[str, str]] = {}
        self.good = True

    def cell(self, row: Row, user: str) -> str:
        """
        Return what the table says of *row* as *user*.
        """
        if user not in row.users:
            return ""
        try:
            result = self._try(row, user)
        except CannotRun as why:
            self.good = False
            print(
                f"{self.typed(row)} as {user} could not be run: {why}", file=sys.stderr
            )
            return "could not be run"
        for refusal in result.refused:
            self.numbers.setdefault(refusal, len(self.numbers) + 1)
            self._fix(refusal, result.refused[refusal], row, user)
        numbers = ", ".join(str(self.numbers[one]) for one in result.refused)
        return f"{result} ({numbers})" if numbers else str(result)

    def _fix(
        self, refusal: Refusal, names: frozenset[str], row: Row, user: str
    ) -> None:
        """
        Type the fix of *refusal*, and note whether the tests *names* then pass.
        """
        shown = self.fixed.setdefault(refusal, {})
        again = typed(refusal.fix, row, user, self._engines[row.engine].command)
        if again is None:
            line, came = f"{self.typed(row)} as {user}", "NOT GOOD: nothing to type"
        else:
            line = f"{self.typed(again[0])} as {again[1]}"
            try:
                left = names - self._try(*again).passed
                came = f"NOT GOOD: still refused: {sorted(left)}" if left else "works"
            except CannotRun as why:
                came = f"NOT GOOD: could not be run: {why}"
        self.good &= came == "works"
        shown[line] = came

    def typed(self, row: Row) -> str:
        """
        Return what is typed for *row*.
        """
        return f"{self._engines[row.engine].command} {row.options}".strip()

    def _try(self, row: Row, user: str) -> Result:
        key = row, user
        if key not in self._done:
            uid = {ROOT: 0, USER: image.UID}[user]
            program = [image.PYTHON, image.TRIAL]
            line = self._engines[row.engine].line(row.options.split(), uid, program)
            self._done[key] = read(run(line, _TIME))
        return self._done[key]
