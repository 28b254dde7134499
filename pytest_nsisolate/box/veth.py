"""
The wire of a link: a pair of veth interfaces.

pyroute2 does each step in a fork that has entered the network namespaces, with the
capabilities that their user namespace gives to the fork. The boxes do not need these
capabilities, and nothing changes on the host. Source: veth(4), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pytest_nsisolate.diagnosis.throwaway import attempt
from pytest_nsisolate.linux import syscalls
from pytest_nsisolate.model.errors import Refused
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.sandbox import Sandbox

# Windows does not have it, nor sandboxes.
with contextlib.suppress(ImportError):
    import fcntl

#: Gets the network namespace of a socket. Source: linux/sockios.h, since 4.10.
_SIOCGSKNS = 0x894C

#: Makes an address usable at once. Source: linux/if_addr.h, IFA_F_NODAD.
_NO_DETECTION = 0x02


class End(NamedTuple):
    """
    One end of a wire.
    """

    sandbox: Sandbox
    """The sandbox that it is in."""
    interface: str
    """The name of the interface there."""
    addresses: dict[int, str]
    """Its IP address, for each IP version."""


def make(one: End, other: End) -> Refused | None:
    """
    Make a wire and bring both ends up; return what was refused, if anything.
    """
    return _attempt(functools.partial(_make, one, other), one)


def queue(one: End, other: End, kind: str, **options: float) -> Refused | None:
    """
    Set a queueing discipline at both ends; return what was refused, if anything.

    Source: tc(8).
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
    Remove *end*, and with it the wire and the other end.

    Returns:
        What was refused, if anything.
    """

    def delete(route: Any, index: int) -> None:  # noqa: ANN401 - untyped
        _told("RTM_DELLINK", route.link, "del", index=index)

    refused = _attempt(functools.partial(_at, end, delete), end)
    # The kernel removes it some time after a box is closed: cleanup_net().
    is_gone = refused is not None and refused.number == errno.ENODEV
    return None if is_gone else refused


def _attempt(action: Callable[[], None], end: End) -> Refused | None:
    """
    Do *action* in a fork that has joined the user namespace of *end*.
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
    In a fork: call *do* with the interface of *end*.
    """
    syscalls.setns(end.sandbox.init, syscalls.CLONE_NEWNET)
    for route in _routes():
        try:
            index = socket.if_nametoindex(end.interface)
        except OSError as error:
            # Python does not always set errno. Source: if_nametoindex(3).
            number = error.errno or errno.ENODEV
            raise Refused("if_nametoindex()", number) from None
        do(route, index)


def _namespace() -> int:
    """
    Return a descriptor of the network namespace of this process.

    This does not use /proc, which may not show this process: see `proc=False`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return fcntl.ioctl(one, _SIOCGSKNS)


def _routes() -> Iterator[Any]:
    """
    Yield one rtnetlink socket in the network namespace of this process.
    """
    from pyroute2 import IPRoute  # noqa: PLC0415 - an extra

    with IPRoute() as route:
        yield route


def _told(call: str, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:  # noqa: ANN401 - untyped
    """
    Call *function*; if the kernel refuses, raise that with the name *call*.
    """
    from pyroute2 import NetlinkError  # noqa: PLC0415 - an extra

    try:
        function(*args, **keywords)
    except NetlinkError as error:
        raise Refused(call, error.code) from None
