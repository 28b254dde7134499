"""
The plot of the page on cost.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from page import PLOT, Results
from suites import WAYS

#: These can be read on white and on black: no background is drawn.
_GREY, _BLUE, _ORANGE = "#767676", "#3a86c8", "#d2691e"

_STYLE: Any = {
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY,
    "font.family": "sans-serif",
    "text.color": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    # Text stays text, and the same figures give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "cost",
}


def draw(results: Results) -> None:
    """
    Draw what a test adds, in each way, on a quiet and on a busy machine.
    """
    python = results.pythons[0]
    names = [way.name for way in reversed(WAYS)]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 4), layout="constrained")
        plots = figure.subplots(1, 2, sharex=True, sharey=True)
        for plot, machine in zip(plots, ("quiet", "busy"), strict=True):
            for place, name in enumerate(names):
                point = results.point("isolated", name, python, "bare", machine)
                if point is None or not point.rounds:
                    continue
                cpu, wall = point.median
                plot.plot(cpu, place, "o", color=_BLUE, label="processor time")
                plot.plot(
                    wall, place, "D", color=_ORANGE, label="wall time", mfc="none"
                )
            plot.set_title(f"{machine} machine", color=_GREY)
            plot.set_xscale("log")
            plot.set_xlabel("ms that a test adds (logarithmic)")
            plot.set_yticks(range(len(names)), names)
            plot.grid(color=_GREY, alpha=0.25)
            plot.spines[["top", "right"]].set_visible(False)
        handles, labels = plots[0].get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
        figure.savefig(PLOT, transparent=True, metadata={"Date": None})
