"""
A test of tunnel that passes, although the tunnel stays open.
"""

import pytest
from tunnel import Tunnel

# Where warnings are errors, this one stays a warning.
pytestmark = [
    pytest.mark.isolated,
    pytest.mark.filterwarnings("default::pytest_nsisolate.LeakWarning"),
]


def test_tunnel_is_closed() -> None:
    """
    The tunnel is open at first, and then it is not.
    """
    tunnel = Tunnel("sh -c 'echo open; exec sleep 1000'")
    assert tunnel.is_open()
    tunnel.close()

    assert not tunnel.is_open()
