"""
The table of what came of the trials, as docs/reference/compatibility.md has it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guest import Result

#: What the table calls the users of the guests.
_NAMES = {"tester": "a user", "root": "root"}

#: What pytest says of a test that it skips, and `made_real` of a cause.
_SKIPPED = re.compile(
    r"^(?:SKIPPED \[\d+\] (?P<test>[^\s:]+)(?::\d+)?|skipped (?P<cause>[^:\n]+)): "
    r"(?P<reason>.+)$",
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """
    What came of all steps, for a kernel and a user.
    """

    kernel: str
    """What ``uname -r`` says."""
    user: str
    """Whom they were run as."""
    cells: Sequence[str]
    """What came of each step."""

    @classmethod
    def of(
        cls, kernel: str, user: str, steps: Sequence[str], found: Mapping[str, Result]
    ) -> Row:
        """
        Return the row of the results that were *found*, by step.
        """
        cells = [_cell(found.get(step)) for step in steps]
        return cls(kernel, _NAMES[user], cells)


def table(steps: Sequence[str], rows: Sequence[Row]) -> str:
    """
    Return the table itself.
    """
    heads = ["Kernel", "User", *(step.capitalize() for step in steps)]
    bodies = [[row.kernel, row.user, *row.cells] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *bodies)]
    lines.insert(1, "|---" * len(heads) + "|")
    return "".join(f"{line}\n" for line in lines)


def skipped(results: Mapping[str, Sequence[Result]]) -> str:
    """
    Return a list of what was skipped, with each reason and the kernels.

    Args:
        results: The results on each kernel.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for kernel, some in results.items():
        for result in some:
            for match in _SKIPPED.finditer(result.output):
                what = match["cause"] or f"`{match['test']}`"
                kernels = found.setdefault((what, match["reason"]), [])
                if kernel not in kernels:
                    kernels.append(kernel)
    return "".join(
        f"* {what}, on {', '.join(kernels)}: {reason}\n"
        for (what, reason), kernels in found.items()
    )


def _cell(result: Result | None) -> str:
    if result is None:
        return "not reached"
    if result.code is None:
        return "took too long"
    last = result.output.strip().rpartition("\n")[2]
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)\b", last)
    if counts:
        return ", ".join(counts)
    return "ok" if result.is_good else f"exit code {result.code}"
