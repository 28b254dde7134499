"""
Three hosts with a node on each, and a wire between any two of them.
"""

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator

import node
import pytest

from pytest_nsisolate import Box, SandboxFactory

pytest.importorskip("pyroute2", reason="links need pytest-nsisolate[link]")


class Cluster:
    """
    The hosts by their names, and the wires by the names of both ends.
    """

    def __init__(self, factory: SandboxFactory) -> None:
        self.hosts = {name: factory(hostname=name, net=True) for name in "abc"}
        self.wires = {
            one + other: factory.link(self.hosts[one], self.hosts[other])
            for one, other in itertools.combinations("abc", 2)
        }

    def with_majority(self) -> list[str]:
        """
        Return the names of the hosts that see a majority.
        """
        return [
            name
            for name, host in self.hosts.items()
            if host.run(node.has_majority, self._others(host))
        ]

    def _others(self, host: Box) -> list[str]:
        """
        Return the addresses at which *host* finds the others.
        """
        return [
            wire.address(end)
            for wire in self.wires.values()
            if host in wire.boxes
            for end in wire.boxes
            if end is not host
        ]


@pytest.fixture
def cluster(sandbox_factory: SandboxFactory) -> Iterator[Cluster]:
    """
    Return a cluster in which all nodes are ready.
    """
    cluster = Cluster(sandbox_factory)
    with contextlib.ExitStack() as servers:
        for host in cluster.hosts.values():
            command = [sys.executable, node.__file__]
            server = host.popen(command, stdout=subprocess.PIPE, text=True)
            servers.enter_context(server)
            servers.callback(server.terminate)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield cluster


def test_all_are_connected(cluster: Cluster) -> None:
    """
    Each node sees a majority.
    """
    assert cluster.with_majority() == ["a", "b", "c"]


def test_one_wire_is_cut(cluster: Cluster) -> None:
    """
    Each node still sees one other, and two of three are a majority.
    """
    cluster.wires["ab"].down()

    assert cluster.with_majority() == ["a", "b", "c"]


def test_one_host_is_cut_off(cluster: Cluster) -> None:
    """
    Only the other two take part, until the wires are mended.
    """
    # All take part at first. That is also how the hosts learn where the others are on
    # the wires: a host that asks on a cut wire asks again only after a second.
    assert cluster.with_majority() == ["a", "b", "c"]

    cluster.wires["ab"].down()
    cluster.wires["ac"].down()
    assert cluster.with_majority() == ["b", "c"]

    cluster.wires["ab"].up()
    cluster.wires["ac"].up()
    assert cluster.with_majority() == ["a", "b", "c"]
