"""
A link: a wire between two boxes, as a test holds it.
"""

from __future__ import annotations

import errno
import itertools
from types import TracebackType

from pytest_nsisolate.box import explanations, veth
from pytest_nsisolate.box.box import Box, reach
from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.model.errors import BoxError, Refused

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
        action = f"link {one.name} and {other.name}"
        why = _mismatch(one, other)
        if why is not None:
            raise BoxError(explanations.no_wire(action, why))
        _import(action)
        self._check(action, veth.make(*self._ends(action)))
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
            raise BoxError(explanations.no_shape(self._name("shape"), delay, loss))
        self._shape_as("shape", delay, loss)
        self._shape = (delay, loss)

    def close(self) -> None:
        """
        Take the wire away; a second time this does nothing.
        """
        was_open, self._is_open = self._is_open, False
        # One end is both, and where no box is open, the kernel has seen to it.
        found = [box for box in self.boxes if box.is_open]
        if was_open and found:
            name = self._name("close")
            self._check(name, veth.remove(self._end(name, found[0])))

    def _shape_as(self, action: str, delay: float, loss: float) -> None:
        if delay or loss:
            given = {"delay": round(delay * 1e6), "loss": loss * 100}
            self._queue(action, "netem", **given)
        else:
            # As long as that of a new interface that has one.
            self._queue(action, "pfifo", limit=1000)

    def _queue(self, action: str, kind: str, **options: float) -> None:
        name = self._name(action)
        if not self._is_open:
            raise BoxError(explanations.closed(name, "sandbox_factory.link()"))
        one, other = self._ends(name)
        self._check(name, veth.queue(one, other, kind, **options))

    def _name(self, action: str) -> str:
        one, other = self.boxes
        return f"{action} the link of {one.name} and {other.name}"

    def _ends(self, action: str) -> tuple[veth.End, veth.End]:
        one, other = self.boxes
        return self._end(action, one), self._end(action, other)

    def _end(self, action: str, box: Box) -> veth.End:
        """
        Return the end in *box*, for *action* on it.
        """
        return veth.End(
            sandbox=reach(box, action),
            interface=self.interface,
            addresses={version: self.address(box, version) for version in (4, 6)},
        )

    def _check(self, name: str, refused: Refused | None) -> None:
        if refused is None:
            return
        if refused.number == errno.EPERM and refused.call.startswith("setns("):
            raise BoxError(explanations.other_owner(name, refused))
        if "netem" in refused.call and refused.number == errno.ENOENT:
            raise BoxError(explanations.no_netem(name, refused))
        raise BoxError(explain.explain(name, refused))


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


def _import(name: str) -> None:
    """
    Make sure that pyroute2 is there, before the fork in which it is used.
    """
    try:
        import pyroute2  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise BoxError(explanations.no_pyroute2(name, error)) from None
