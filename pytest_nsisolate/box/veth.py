"""
The wire of a link, which is a pair of veth interfaces: what is done to it inside.

Each step is done by pyroute2 in a fork that has entered the network namespaces, with
the capabilities that their user namespace gives it: the boxes themselves need not have
them, and nothing is done on the host. Source: veth(4), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import socket
from collections.abc import Callable, Iterator
from typing import Any

from pytest_nsisolate.diagnosis.throwaway import attempt
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

# There is none on Windows, where there are no sandboxes either.
with contextlib.suppress(ImportError):
    import fcntl

#: Returns the network namespace of a socket. Source: linux/sockios.h, since 4.10.
_SIOCGSKNS = 0x894C

#: The address can be used at once. Source: linux/if_addr.h, IFA_F_NODAD.
_NO_DETECTION = 0x02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """
    One end of a wire.
    """

    sandbox: Sandbox
    """Where it is."""
    interface: str
    """What it is called there."""
    addresses: dict[int, str]
    """Its IP address, by version."""


def make(one: End, other: End) -> Refused | None:
    """
    Make a wire, and have both ends be up; return what was refused, if anything was.
    """
    return _attempt(functools.partial(_make, one, other), one)


def queue(one: End, other: End, kind: str, **options: float) -> Refused | None:
    """
    Give both ends a queueing discipline; return what was refused. Source: tc(8).
    """

    def replace(route: Any, index: int) -> None:  # noqa: ANN401 - untyped
        call = f"RTM_NEWQDISC({kind})"
        _told(call, route.tc, "replace", kind, index, **options)

    def act() -> None:
        for end in (one, other):
            _at(end, replace)

    return _attempt(act, one)


def remove(end: End) -> Refused | None:
    """
    Take away the wire that *end* is of, and the other end with it.

    Returns:
        What was refused, if anything was.
    """

    def delete(route: Any, index: int) -> None:  # noqa: ANN401 - untyped
        _told("RTM_DELLINK", route.link, "del", index=index)

    refused = _attempt(functools.partial(_at, end, delete), end)
    # The kernel does so itself some time after a box is closed: cleanup_net().
    is_gone = refused is not None and refused.number == errno.ENODEV
    return None if is_gone else refused


def _attempt(action: Callable[[], None], end: End) -> Refused | None:
    """
    Do *action* in a fork that has joined the user namespace that *end* is in.
    """

    def act() -> None:
        if end.sandbox.user_namespace is not UserNamespace.NONE:
            syscalls.setns(end.sandbox.init, syscalls.CLONE_NEWUSER)
        action()

    return attempt(act)


def _make(one: End, other: End) -> None:
    syscalls.setns(other.sandbox.init, syscalls.CLONE_NEWNET)
    there = _namespace()
    syscalls.setns(one.sandbox.init, syscalls.CLONE_NEWNET)
    peer = {"ifname": other.interface, "net_ns_fd": there}
    for route in _routes():
        _told(
            "RTM_NEWLINK(veth)",
            route.link,
            "add",
            ifname=one.interface,
            kind="veth",
            peer=peer,
        )
    for end in (one, other):
        _at(end, functools.partial(_begin, end))


def _begin(end: End, route: Any, index: int) -> None:  # noqa: ANN401 - untyped
    address = functools.partial(_told, "RTM_NEWADDR", route.addr, "add", index=index)
    address(address=end.addresses[4], prefixlen=24)
    if socket.has_dualstack_ipv6():
        address(
            address=end.addresses[6],
            prefixlen=64,
            family=socket.AF_INET6,
            flags=_NO_DETECTION,
        )
    _told("RTM_SETLINK", route.link, "set", index=index, state="up")


def _at(end: End, do: Callable[[Any, int], None]) -> None:
    """
    In a fork: *do* something to the interface of *end*.
    """
    syscalls.setns(end.sandbox.init, syscalls.CLONE_NEWNET)
    for route in _routes():
        try:
            index = socket.if_nametoindex(end.interface)
        except OSError as error:
            # Python does not always tell it. Source: if_nametoindex(3)
            number = error.errno or errno.ENODEV
            raise Refused("if_nametoindex()", number) from None
        do(route, index)


def _namespace() -> int:
    """
    Return a descriptor of the network namespace that this process is in.

    Not by /proc, which need not know of this process: see `proc=False`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return fcntl.ioctl(one, _SIOCGSKNS)


def _routes() -> Iterator[Any]:
    """
    Yield one rtnetlink socket of the network namespace that this process is in.
    """
    from pyroute2 import IPRoute  # noqa: PLC0415 - an extra

    with IPRoute() as route:
        yield route


def _told(call: str, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:  # noqa: ANN401 - untyped
    """
    Call *function*, and raise what the kernel refuses with the name of the *call*.
    """
    from pyroute2 import NetlinkError  # noqa: PLC0415 - an extra

    try:
        function(*args, **keywords)
    except NetlinkError as error:
        raise Refused(call, error.code) from None
