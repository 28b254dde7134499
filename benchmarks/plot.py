"""
The plots of the page on cost.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from page import PLOT, PLOT_BESIDE, Results, curves
from side_by_side import LANES, PLAIN
from side_by_side import WAYS as WAYS_BESIDE
from suites import MACHINES, WAYS

#: These can be read on white and on black: no background is drawn.
_GREY, _BLUE, _ORANGE, _GREEN = "#767676", "#3a86c8", "#d2691e", "#2e9e5b"

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
    Draw what was measured.
    """
    with mpl.rc_context(_STYLE):
        if results.points:
            _draw_isolation(results)
        if results.besides:
            _draw_beside(results)


def _draw_beside(results: Results) -> None:
    """
    Draw how times grow with the number of jobs, and with that of tests.
    """
    shown = [*curves(results.besides)]
    # As narrow as the text of the page on a telephone, so that it can be read there.
    figure = Figure(figsize=(5, 2.8 * len(shown)), layout="constrained")
    others = [way for way in WAYS_BESIDE if way != PLAIN]
    markers = dict(zip(others, "oDs", strict=True))
    colours = dict(zip(others, (_BLUE, _ORANGE, _GREEN), strict=True))
    plots = figure.subplots(len(shown), 1)
    for plot, (title, grows, lines) in zip(plots, shown, strict=True):
        for way, line in lines.items():
            places = [getattr(one, grows) for one in line]
            walls = [one.median.wall / 1000 for one in line]
            cpus = [one.median.cpu / 1000 for one in line]
            if way == PLAIN:
                if len(line) == 1:
                    # It is the same, whatever the number of jobs.
                    places, walls = [*LANES], walls * len(LANES)
                plot.plot(places, walls, ":", color=_GREY, label=way)
                continue
            look: Any = {"color": colours[way], "marker": markers[way]}
            plot.plot(places, walls, label=way, **look)
            plot.plot(places, cpus, linestyle="--", mfc="none", **look)
        plot.set_title(title, color=_GREY)
        plot.set_xscale("log", base=2 if grows == "jobs" else 10)
        plot.set_yscale("log")
        if grows == "jobs":
            plot.set_xticks(LANES, map(str, LANES))
        plot.set_xlabel(grows)
        plot.set_ylabel("seconds")
        plot.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (plot.xaxis, plot.yaxis):
            axis.set_minor_formatter("")
            axis.set_major_formatter("{x:g}")
        plot.grid(color=_GREY, alpha=0.25)
        plot.spines[["top", "right"]].set_visible(False)
    handles, labels = plots[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(PLOT_BESIDE, transparent=True, metadata={"Date": None})


def _draw_isolation(results: Results) -> None:
    """
    Draw what a test adds, in each way, on a quiet and on a busy machine.
    """
    python = results.pythons[0]
    names = [way.name for way in reversed(WAYS)]
    figure = Figure(figsize=(8, 4), layout="constrained")
    plots = figure.subplots(1, 2, sharex=True, sharey=True)
    for plot, machine in zip(plots, MACHINES, strict=True):
        for place, name in enumerate(names):
            point = results.point("isolated", name, python, "bare", machine)
            if point is None or not point.rounds:
                continue
            cpu, wall = point.median
            plot.plot(cpu, place, "o", color=_BLUE, label="processor time")
            plot.plot(wall, place, "D", color=_ORANGE, label="wall time", mfc="none")
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
