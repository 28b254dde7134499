"""
The remote processes of pytest-xdist: on another machine, or of another Python.

They must have this plugin. Without it, a test with the marker would run on the host
there, and pass.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pytest_nsisolate.model.errors import Explanation

#: Executed there, before pytest: says whether the plugin is there, and which Python is.
_LOOK = """
import importlib.util
import os
import sys

path, before = channel.receive(), sys.path[:]
sys.path[:] = path or [os.getcwd(), *before]
found = importlib.util.find_spec("pytest_nsisolate") is not None
sys.path[:] = before
channel.send((found, sys.executable))
"""


def load_there(config: pytest.Config) -> None:
    """
    Have remote processes load the plugin, even if they load none by themselves.
    """
    name = config.pluginmanager.get_name(sys.modules["pytest_nsisolate.plugin"])
    if name is not None and name not in config.option.plugins:
        config.option.plugins = [*config.option.plugins, name]


def require(node: Any) -> None:  # noqa: ANN401 - it has no type
    """
    Check that the process *node* of pytest-xdist has the plugin, if it is remote.

    Raises:
        pytest.UsageError: It has not.
    """
    spec = node.gateway.spec
    if spec.popen and not (spec.python or spec.via):
        return
    channel = node.gateway.remote_exec(_LOOK)
    # A process of this machine gets the path of this one.
    channel.send(sys.path if spec.popen else None)
    found, executable = channel.receive()
    if found:
        return
    command = f"{executable} -m pip install pytest-nsisolate"
    if spec.ssh:
        command = f"ssh {spec.ssh} {command}"
    raise pytest.UsageError(
        Explanation(
            what=f"cannot isolate tests in {node.gateway.id}: "
            "it lacks pytest-nsisolate",
            why=f"{executable} of --tx={_kind(spec)} finds no module pytest_nsisolate, "
            "and without it tests would run on the host",
            fix=f"{command}, or run with --no-nsisolate",
        )
    )


def _kind(spec: Any) -> str:  # noqa: ANN401 - it has no type
    """
    Return the part of `--tx` that says where the process is.
    """
    kinds = ("ssh", "socket", "vagrant_ssh")
    return next(
        (f"{one}={where}" for one in kinds if (where := getattr(spec, one))), "popen"
    )
