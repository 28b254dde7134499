"""
A link: a test's handle on a wire between two boxes.
"""

from __future__ import annotations

import errno
import itertools
from types import TracebackType

from pytest_nsisolate.box import explanations, veth
from pytest_nsisolate.box.box import Box, reach
from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.model.errors import BoxError, Refused, safe_repr

#: Numbers the links of a process, for the names of their subnets and interfaces.
_numbers = itertools.count(1)

#: The longest delay, in seconds: netem keeps it in 32 bits, in units of 64 ns. Source:
#: linux/pkt_sched.h, tc_netem_qopt; include/net/pkt_sched.h, PSCHED_SHIFT.
_LONGEST_DELAY = 274


class Link:
    """
    A wire between two boxes with their own network; its interfaces are up.

    Args:
        one: A box with ``net=True``.
        other: Another one.

    Raises:
        BoxError: The boxes cannot be linked.

    .. versionadded:: 1.0.0
    """

    def __init__(self, one: Box, other: Box) -> None:
        __tracebackhide__ = True
        action = f"link {_shown(one)} and {_shown(other)}"
        _check_ends(action, one, other)
        number = next(_numbers)
        #: The two boxes.
        self.boxes = (one, other)
        #: The name of the interface in each box.
        self.interface = f"veth{number}"
        subnet = f"10.{77 + number // 256}.{number % 256}"
        #: For each box and IP version.
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
            BoxError: The box is not on this wire, or there is no such version.
        """
        __tracebackhide__ = True
        one, other = self.boxes
        action = f"give an address on {self._own_name()}"
        if box not in self.boxes:
            ends = f"{one.name} and {other.name}"
            raise BoxError(explanations.not_linked(action, _shown(box), ends))
        if version not in (4, 6):
            raise BoxError(explanations.no_version(action, version))
        return self._addresses[id(box), version]

    def down(self) -> None:
        """
        Cut the wire: packets are lost without an error.

        Raises:
            BoxError: The link or one of its boxes is closed.
        """
        __tracebackhide__ = True
        # A queue that takes nothing. Source: tc-pfifo(8).
        self._queue("cut", "pfifo", limit=0)

    def up(self) -> None:
        """
        Repair the wire that `down` has cut, with the delay and loss it had before.

        Raises:
            BoxError: The link or one of its boxes is closed.
        """
        __tracebackhide__ = True
        self._shape_as("repair", *self._shape)

    def shape(self, *, delay: float = 0.0, loss: float = 0.0) -> None:
        """
        Make the wire slow or lossy; without arguments, make it perfect again.

        Args:
            delay: Seconds that each packet takes, each way.
            loss: Share of packets that are lost, from 0 to 1, each way.

        Raises:
            BoxError: The link or one of its boxes is closed, an argument is out of
                range, or the kernel has no netem. Source: tc-netem(8).
        """
        __tracebackhide__ = True
        is_right = _is_within(delay, _LONGEST_DELAY) and _is_within(loss, 1)
        if not is_right:
            name = self._name("shape")
            raise BoxError(explanations.no_shape(name, delay, loss, _LONGEST_DELAY))
        self._shape_as("shape", delay, loss)
        self._shape = (delay, loss)

    def close(self) -> None:
        """
        Remove the wire. Closing a link again does nothing.
        """
        __tracebackhide__ = True
        was_open, self._is_open = self._is_open, False
        # Removing one end removes both. If no box is open, the kernel has done so.
        found = [box for box in self.boxes if box.is_open]
        if was_open and found:
            name = self._name("close")
            self._check(name, veth.remove(self._end(name, found[0])))

    def _shape_as(self, action: str, delay: float, loss: float) -> None:
        __tracebackhide__ = True
        if delay or loss:
            given = {"delay": round(delay * 1e6), "loss": loss * 100}
            self._queue(action, "netem", **given)
        else:
            # The default length of a new interface's queue.
            self._queue(action, "pfifo", limit=1000)

    def _queue(self, action: str, kind: str, **options: float) -> None:
        __tracebackhide__ = True
        name = self._name(action)
        if not self._is_open:
            raise BoxError(explanations.closed(name, "sandbox_factory.link()"))
        one, other = self._ends(name)
        self._check(name, veth.queue(one, other, kind, **options))

    def _name(self, action: str) -> str:
        return f"{action} {self._own_name()}"

    def _own_name(self) -> str:
        one, other = self.boxes
        return f"the link between {one.name} and {other.name}"

    def _ends(self, action: str) -> tuple[veth.End, veth.End]:
        __tracebackhide__ = True
        one, other = self.boxes
        return self._end(action, one), self._end(action, other)

    def _end(self, action: str, box: Box) -> veth.End:
        """
        Return the end in *box*, on which *action* is to happen.
        """
        __tracebackhide__ = True
        return veth.End(
            sandbox=reach(box, action),
            interface=self.interface,
            addresses={version: self.address(box, version) for version in (4, 6)},
        )

    def _check(self, name: str, refused: Refused | None) -> None:
        __tracebackhide__ = True
        if refused is None:
            return
        if refused.number == errno.EPERM and refused.call.startswith("setns("):
            raise BoxError(explanations.other_owner(name, refused))
        if "netem" in refused.call and refused.number == errno.ENOENT:
            raise BoxError(explanations.no_netem(name, refused))
        if "veth" in refused.call and refused.number == errno.EOPNOTSUPP:
            raise BoxError(explanations.no_veth(name, refused))
        raise BoxError(explain.explain(name, refused))


def _shown(box: object) -> str:
    return box.name if isinstance(box, Box) else safe_repr(box)


def _is_within(value: object, most: int) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= most  # type: ignore[operator]


def _check_ends(action: str, one: Box, other: Box) -> None:
    """
    Raise a `BoxError` if these cannot be linked.
    """
    __tracebackhide__ = True
    for box in (one, other):
        if not isinstance(box, Box):
            raise BoxError(explanations.no_box(action, box))
    if one is other:
        raise BoxError(explanations.same_box(action))
    for box in (one, other):
        if "net" not in box.namespaces:
            why = f"{box.name} has no network of its own"
            raise BoxError(explanations.no_wire(action, why))


def _import(name: str) -> None:
    """
    Check that pyroute2 can be imported, before the fork that uses it.
    """
    try:
        import pyroute2  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise BoxError(explanations.no_pyroute2(name, error)) from None
