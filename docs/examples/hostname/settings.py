"""
Settings that depend on the name of the host, such as ``db-1`` or ``web-2``.
"""

import socket
from typing import NamedTuple


class Settings(NamedTuple):
    """
    What the program is told by its configuration.
    """

    role: str
    port: int
    is_primary: bool = False
    debug: bool = False


def load() -> Settings:
    """
    Return the settings for this host; any unknown one is for development.
    """
    role, _, number = socket.gethostname().partition("-")
    if role == "db":
        return Settings("db", 5432, is_primary=number == "1")
    if role == "web":
        return Settings("web", 80)
    return Settings("development", 8000, debug=True)
