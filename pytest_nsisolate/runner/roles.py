"""
The role of a process of pytest: supervisor, once a test is isolated, or guest.

Most of this package is imported for the supervisor. A session that isolates nothing
does without.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_nsisolate.compat.plain_import import as_at_the_start
from pytest_nsisolate.runner.surroundings import Surroundings
from pytest_nsisolate.settings import options

if TYPE_CHECKING:
    from pytest_nsisolate.runner.guest_side import GuestSide
    from pytest_nsisolate.runner.supervisor import Supervisor

#: Where the configuration keeps the supervisor, and in a guest the guest side.
supervisor_key: pytest.StashKey[Supervisor] = pytest.StashKey()
guest_key: pytest.StashKey[GuestSide] = pytest.StashKey()

_surroundings = pytest.StashKey[Surroundings]()


def begin(config: pytest.Config) -> None:
    """
    Note what a supervisor will need to know, whenever it is made.
    """
    config.stash[_surroundings] = Surroundings()
    config.pluginmanager.register(config.stash[_surroundings], "nsisolate-surroundings")


def supervisor_of(config: pytest.Config) -> Supervisor:
    """
    Return the supervisor of the session, and make it if there is none yet.
    """
    if supervisor_key not in config.stash:
        with as_at_the_start():
            from pytest_nsisolate import integrations
            from pytest_nsisolate.runner.supervisor import Supervisor

            config.stash[supervisor_key] = Supervisor(
                config, config.stash[options.key], config.stash[_surroundings]
            )
            integrations.register(config)
    return config.stash[supervisor_key]
