"""
Output of pytest that is still buffered.
"""

from __future__ import annotations

import pytest

from pytest_nsisolate.guest import inherited


def flush(config: pytest.Config) -> None:
    """
    Write out what is buffered, so that a fork does not write it once more.
    """
    inherited.flush_streams()
    if config.pluginmanager.has_plugin("terminalreporter"):
        inherited.flush(config.get_terminal_writer())
