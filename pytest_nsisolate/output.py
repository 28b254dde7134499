"""
What is buffered of this process's output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


def flush(config: pytest.Config) -> None:
    """
    Write out what is buffered, so that a fork does not write it once more.
    """
    flush_output()
    if config.pluginmanager.has_plugin("terminalreporter"):
        _quietly(config.get_terminal_writer().flush)


def flush_output() -> None:
    """
    Write out what is buffered in the standard streams.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        _quietly(getattr(stream, "flush", None))


def _quietly(function: Callable[[], object] | None) -> None:
    try:
        if function is not None:
            function()
    except (OSError, ValueError):
        # Closed, or a broken pipe; not for this project to tell.
        return
