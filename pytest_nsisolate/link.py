"""
A link: a wire between two boxes, which is a pair of veth interfaces.

Each step is done by pyroute2 in a fork that has entered the network namespaces, with
the capabilities that their user namespace gives it: the boxes themselves need not have
them, and nothing is done on the host. Source: veth(4), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn

from pytest_nsisolate import diagnosis, launcher, linux, trouble
from pytest_nsisolate.attempt import attempt
from pytest_nsisolate.box import Box, reach
from pytest_nsisolate.errors import BoxError, Refused
from pytest_nsisolate.sandbox import Sandbox

# There is none on Windows, where there are no boxes either.
with contextlib.suppress(ImportError):
    import fcntl

#: Returns the network namespace of a socket. Source: linux/sockios.h, since 4.10.
_SIOCGSKNS = 0x894C

#: The address can be used at once. Source: linux/if_addr.h, IFA_F_NODAD.
_NO_DETECTION = 0x02

#: Each link of a process has a number: its subnets and interfaces are called by it.
_numbers = itertools.count(1)


class Link:
    """
    A wire between two boxes that have a network of their own, and are up on it.

    Args:
        one: A box with ``net=True``.
        other: Another one.

    Raises:
        BoxError: They cannot be linked.

    .. versionadded:: 0.1.0
    """

    def __init__(self, one: Box, other: Box) -> None:
        number = next(_numbers)
        #: The two boxes.
        self.boxes = (one, other)
        #: What the interface is called, in each of them.
        self.interface = f"veth{number}"
        self._action = f"link {one.name} and {other.name}"
        subnet = f"10.{77 + number // 256}.{number % 256}"
        #: By box and version of IP.
        self._addresses = {
            (id(box), version): address
            for end, box in enumerate(self.boxes, 1)
            for version, address in (
                (4, f"{subnet}.{end}"),
                (6, f"fd4e:5349:{number:x}::{end}"),
            )
        }
        self._shape = (0.0, 0.0)
        self._is_open = False
        why = _mismatch(one, other)
        if why is not None:
            raise BoxError(trouble.no_wire(self._action, why))
        self._fork(self._action, self.boxes, self._make)
        self._is_open = True

    def __repr__(self) -> str:
        one, other = self.boxes
        state = "" if self._is_open else " closed"
        return f"<Link {self.interface}{state} of {one.name} and {other.name}>"

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address(self, box: Box, version: int = 4) -> str:
        """
        Return the IP address of *box* on this wire.

        Args:
            box: One of the two.
            version: 4 or 6.

        Raises:
            KeyError: It is not on it.
        """
        return self._addresses[id(box), version]

    def down(self) -> None:
        """
        Cut the wire: what is sent is lost, and no one is told.

        Raises:
            BoxError: The link or one of its boxes is closed.
        """
        # A queue that takes nothing. Source: tc-pfifo(8).
        self._queue("cut", "pfifo", limit=0)

    def up(self) -> None:
        """
        Mend the wire that `down` has cut; it is as `shape` has made it.

        Raises:
            BoxError: The link or one of its boxes is closed.
        """
        self._shape_as("mend", *self._shape)

    def shape(self, *, delay: float = 0.0, loss: float = 0.0) -> None:
        """
        Have the wire be slow, or lose what is sent; without arguments, no longer.

        Args:
            delay: Seconds that each packet takes, each way.
            loss: Share of packets that are lost, from 0 to 1, each way.

        Raises:
            BoxError: The link or one of its boxes is closed, an argument is none of
                these, or the kernel has no netem. Source: tc-netem(8).
        """
        if not delay >= 0 or not 0 <= loss <= 1:
            raise BoxError(trouble.no_shape(self._name("shape"), delay, loss))
        self._shape_as("shape", delay, loss)
        self._shape = (delay, loss)

    def _shape_as(self, action: str, delay: float, loss: float) -> None:
        if delay or loss:
            given = {"delay": round(delay * 1e6), "loss": loss * 100}
            self._queue(action, "netem", **given)
        else:
            # As long as that of a new interface that has one.
            self._queue(action, "pfifo", limit=1000)

    def close(self) -> None:
        """
        Take the wire away; a second time this does nothing.
        """
        was_open, self._is_open = self._is_open, False
        # One end is both, and where no box is open, the kernel has seen to it.
        found = [box for box in self.boxes if box.is_open]
        if was_open and found:
            self._fork(self._name("close"), found[:1], self._remove)

    def _name(self, action: str) -> str:
        one, other = self.boxes
        return f"{action} the link of {one.name} and {other.name}"

    def _queue(self, action: str, kind: str, **options: float) -> None:
        """
        Give both interfaces a queueing discipline. Source: tc(8).
        """
        name = self._name(action)
        if not self._is_open:
            raise BoxError(trouble.closed_link(name))

        def replace(route: Any, index: int) -> None:  # noqa: ANN401 - untyped
            call = f"RTM_NEWQDISC({kind})"
            _told(call, route.tc, "replace", kind, index, **options)

        self._do(name, self.boxes, replace)

    def _do(
        self, name: str, boxes: Sequence[Box], do: Callable[[Any, int], None]
    ) -> None:
        """
        In a fork, *do* something to the interface in each of *boxes*.
        """

        def act(ends: Sequence[Sandbox]) -> None:
            for end in ends:
                self._at(end, do)

        self._fork(name, boxes, act)

    def _fork(
        self,
        name: str,
        boxes: Sequence[Box],
        action: Callable[[Sequence[Sandbox]], None],
    ) -> None:
        """
        Do *action* in a fork that has joined the user namespace of *boxes*.
        """
        ends = [reach(box, name) for box in boxes]
        _import(name)

        def act() -> None:
            if ends[0].identity != launcher.PLAIN:
                linux.setns(ends[0].init, linux.CLONE_NEWUSER)
            action(ends)

        refused = attempt(act)
        if refused is not None:
            self._refuse(name, refused)

    def _refuse(self, name: str, refused: Refused) -> NoReturn:
        if refused.number == errno.EPERM and refused.call.startswith("setns("):
            raise BoxError(trouble.other_owner(name, refused))
        if "netem" in refused.call and refused.number == errno.ENOENT:
            raise BoxError(trouble.no_netem(name, refused))
        raise BoxError(diagnosis.explain(name, refused))

    def _make(self, ends: Sequence[Sandbox]) -> None:
        """
        In a fork: make the pair, one interface in each box, and have both be up.
        """
        linux.setns(ends[1].init, linux.CLONE_NEWNET)
        there = _namespace()
        linux.setns(ends[0].init, linux.CLONE_NEWNET)
        peer = {"ifname": self.interface, "net_ns_fd": there}
        for route in _routes():
            _told(
                "RTM_NEWLINK(veth)",
                route.link,
                "add",
                ifname=self.interface,
                kind="veth",
                peer=peer,
            )
        for box, end in zip(self.boxes, ends, strict=True):
            self._at(end, functools.partial(self._begin, box))

    def _begin(self, box: Box, route: Any, index: int) -> None:  # noqa: ANN401 - untyped
        address = functools.partial(
            _told, "RTM_NEWADDR", route.addr, "add", index=index
        )
        address(address=self.address(box), prefixlen=24)
        if socket.has_dualstack_ipv6():
            address(
                address=self.address(box, 6),
                prefixlen=64,
                family=socket.AF_INET6,
                flags=_NO_DETECTION,
            )
        _told("RTM_SETLINK", route.link, "set", index=index, state="up")

    def _at(self, end: Sandbox, do: Callable[[Any, int], None]) -> None:
        """
        In a fork: *do* something to the interface in *end*.
        """
        linux.setns(end.init, linux.CLONE_NEWNET)
        for route in _routes():
            try:
                index = socket.if_nametoindex(self.interface)
            except OSError as error:
                # Python does not always tell it. Source: if_nametoindex(3)
                number = error.errno or errno.ENODEV
                raise Refused("if_nametoindex()", number) from None
            do(route, index)

    def _remove(self, ends: Sequence[Sandbox]) -> None:
        """
        In a fork: take the wire away, at its first end.
        """

        def remove(route: Any, index: int) -> None:  # noqa: ANN401 - untyped
            _told("RTM_DELLINK", route.link, "del", index=index)

        try:
            self._at(ends[0], remove)
        except Refused as refused:
            # The kernel does so itself some time after a box is closed: cleanup_net().
            if refused.number != errno.ENODEV:
                raise


def _mismatch(one: Box, other: Box) -> str | None:
    """
    Return why these two cannot be linked, if something about them is wrong.
    """
    if one is other:
        return "both are the same box"
    for box in (one, other):
        if "net" not in box.namespaces:
            return f"{box.name} has no network of its own"
    return None


def _namespace() -> int:
    """
    Return a descriptor of the network namespace that this process is in.

    Not by /proc, which need not know of this process: see `proc=False`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return fcntl.ioctl(one, _SIOCGSKNS)


def _import(name: str) -> None:
    """
    Make sure that pyroute2 is there, before the fork in which it is used.
    """
    try:
        import pyroute2  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise BoxError(trouble.no_pyroute2(name, error)) from None


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
