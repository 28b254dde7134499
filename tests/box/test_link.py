"""
Network links between boxes.
"""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import pytest
import talking
from boxes import MakeBox
from talking import ask, listening
from ways import cannot

from pytest_nsisolate.box.box import Box
from pytest_nsisolate.box.link import Link
from pytest_nsisolate.model.errors import BoxError
from pytest_nsisolate.model.spec import Spec
from pytest_nsisolate.model.user_namespace import UserNamespace
from pytest_nsisolate.sandbox.launcher_client import user_namespace_for
from pytest_nsisolate.sandbox.pool import Pool

RunPytest = Callable[..., pytest.RunResult]

#: How long to wait for an answer that gets lost, and for one that arrives, in seconds.
SHORT, LONG = 0.3, 10.0


@pytest.fixture(autouse=True)
def _pyroute2_is_there() -> None:
    """
    Skip or fail all tests here where pyroute2 is missing.
    """
    if importlib.util.find_spec("pyroute2") is None:
        cannot("pyroute2 is not installed")


@pytest.fixture
def hosts(make: MakeBox) -> tuple[Box, Box]:
    """
    Give two boxes with a network each.
    """
    return make(net=True), make(net=True)


@pytest.mark.parametrize("version", [4, 6])
def test_both_ways(hosts: tuple[Box, Box], version: int) -> None:
    """
    Each box reaches the other by IPv4 and IPv6, and the host sees no interface of it.
    """
    before = socket.if_nameindex()
    with Link(*hosts) as link:
        for here, there in (hosts, hosts[::-1]):
            own, theirs = (link.address(one, version) for one in (here, there))
            with listening(there, theirs):
                assert here.run(ask, theirs, LONG) == f"hello from {own}"
        assert socket.if_nameindex() == before
        assert link.interface in str(hosts[0].run(socket.if_nameindex))
    assert link.interface not in str(hosts[0].run(socket.if_nameindex))


def test_cut(hosts: tuple[Box, Box]) -> None:
    """
    A cut link loses what is sent, and a restored one works as before.
    """
    here, there = hosts
    with Link(here, there) as link:
        for address in (link.address(there), link.address(there, 6)):
            with listening(there, address):
                assert here.run(ask, address, LONG)
                link.down()
                assert here.run(ask, address, SHORT) is None
                link.up()
                assert here.run(ask, address, LONG)


def test_shape(hosts: tuple[Box, Box]) -> None:
    """
    A link delays and drops as asked, or the error says that the kernel cannot do it.
    """
    here, there = hosts
    with Link(here, there) as link:
        address = link.address(there)
        try:
            link.shape(delay=0.2)
        except BoxError as error:
            what, why, _ = str(error).splitlines()
            assert what.endswith("RTM_NEWQDISC(netem) failed: ENOENT")
            assert why.endswith("has no queueing discipline netem")
            with listening(there, address):
                assert here.run(ask, address, LONG)
            return
        with listening(there, address):
            begun = time.monotonic()
            assert here.run(ask, address, LONG)
            assert time.monotonic() - begun >= 0.4
            link.shape(loss=1)
            assert here.run(ask, address, SHORT) is None
            link.shape()
            assert here.run(ask, address, LONG)


def test_three_hosts(make: MakeBox) -> None:
    """
    A box can have several links, each with a subnet of its own.
    """
    one, two, three = (make(net=True) for _ in range(3))
    links = [Link(one, two), Link(one, three)]
    for link, other in zip(links, (two, three), strict=True):
        address = link.address(other)
        with listening(other, address):
            assert one.run(ask, address, LONG)
    assert len(one.run(socket.if_nameindex)) == len(two.run(socket.if_nameindex)) + 1
    assert links[0].address(one) != links[1].address(one)


def test_closed(make: MakeBox) -> None:
    """
    A link ends with either of its boxes, and from then on only says so.
    """
    one, two = make(net=True), make(net=True)
    link = Link(one, two)
    two.close()
    with pytest.raises(
        BoxError, match=r"cannot cut the link between .*: it is closed\n"
    ):
        link.down()
    link.close()
    link.close()
    with pytest.raises(BoxError) as caught:
        link.up()
    assert str(caught.value).splitlines()[1].startswith("why: its close() was called")
    assert link.interface not in str(one.run(socket.if_nameindex))


def test_gone(make: MakeBox) -> None:
    """
    A link that no longer exists cannot be cut, and closing it does nothing.
    """
    one, two = make(net=True, user="root"), make(net=True, user="root")
    link, other = Link(one, two), Link(one, two)

    def remove() -> None:
        """Remove the link from inside."""
        from pyroute2 import IPRoute  # noqa: PLC0415 - an extra

        with IPRoute() as route:
            route.link("del", index=socket.if_nametoindex(link.interface))

    one.run(remove)
    with pytest.raises(BoxError) as caught:
        link.down()
    what = (
        "cannot cut the link between box b and box b: if_nametoindex() failed: ENODEV"
    )
    assert str(caught.value).splitlines()[0] == what
    link.close()

    two.close()
    machine.wait_until(
        lambda: other.interface not in str(one.run(socket.if_nameindex)), "its end"
    )
    other.close()


def test_what_cannot_be_linked(make: MakeBox) -> None:
    """
    A box cannot be linked to itself or to one without a network of its own.
    """
    one, plain = make(net=True), make()
    for two, why, fix in (
        (
            one,
            "both are the same box",
            "make another box with sandbox_factory(net=True), and link these two",
        ),
        (
            plain,
            "box b has no network of its own",
            "link two boxes made with sandbox_factory(net=True)",
        ),
    ):
        with pytest.raises(BoxError) as caught:
            Link(one, two)
        assert str(caught.value).splitlines() == [
            "cannot link box b and box b",
            f"why: {why}",
            f"fix: {fix}",
        ]


def test_link_of_no_boxes(make: MakeBox) -> None:
    """
    Links take two boxes.
    """
    box = make(net=True)
    pairs: list[tuple[object, object, str]] = [("db", box, "'db'"), (box, 5, "5")]
    for one, other, wrong in pairs:
        with pytest.raises(BoxError) as caught:
            Link(one, other)  # type: ignore[arg-type]
        shown = [wrong if each is not box else "box b" for each in (one, other)]
        kind = "str" if wrong == "'db'" else "int"
        assert str(caught.value).splitlines() == [
            f"cannot link {shown[0]} and {shown[1]}: {wrong} is not a box",
            f"why: {wrong} is of type {kind}",
            "fix: link two boxes made with sandbox_factory(net=True)",
        ]


NO_ADDRESS = "cannot give an address on the link between box b and box b:"


def test_address_of_what_is_not_linked(make: MakeBox) -> None:
    """
    A link has addresses of its two boxes only, for IP version 4 and 6.
    """
    one, two, three = make(net=True), make(net=True), make(net=True)
    with Link(one, two) as link:
        for box, shown in ((three, "box b"), ("db", "'db'")):
            with pytest.raises(BoxError) as caught:
                link.address(box)  # type: ignore[arg-type]
            assert str(caught.value).splitlines() == [
                f"{NO_ADDRESS} {shown} is not one of the two",
                "why: link.boxes has two other boxes: box b and box b",
                (
                    "fix: give one of those two, or link this one with "
                    "sandbox_factory.link()"
                ),
            ]
        versions: tuple[object, ...] = (5, "4", None, [])
        for version in versions:
            with pytest.raises(BoxError) as caught:
                link.address(one, version)  # type: ignore[arg-type]
            assert str(caught.value).splitlines() == [
                f"{NO_ADDRESS} there is no IP version {version!r}",
                "why: a link has addresses of IP version 4 and 6",
                "fix: link.address(box), or link.address(box, version=6)",
            ]


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        ({"delay": "1"}, "delay is '1' and loss is 0.0"),
        ({"delay": float("inf")}, "delay is inf and loss is 0.0"),
        ({"delay": float("nan")}, "delay is nan and loss is 0.0"),
        ({"delay": 275}, "delay is 275 and loss is 0.0"),
        ({"delay": -1}, "delay is -1 and loss is 0.0"),
        ({"delay": True}, "delay is True and loss is 0.0"),
        ({"loss": None}, "delay is 0.0 and loss is None"),
        ({"loss": 2}, "delay is 0.0 and loss is 2"),
        ({"loss": -0.1}, "delay is 0.0 and loss is -0.1"),
    ],
)
def test_bad_shape(make: MakeBox, keywords: dict[str, float], why: str) -> None:
    """
    An impossible shape is refused, and the link keeps working.
    """
    with Link(make(net=True), make(net=True)) as link:
        with pytest.raises(BoxError) as caught:
            link.shape(**keywords)
        link.up()

    assert str(caught.value).splitlines() == [
        "cannot shape the link between box b and box b: bad argument",
        f"why: {why}",
        "fix: give a delay of 0 to 274 seconds, and a loss from 0 to 1",
    ]


def test_other_owner(make: MakeBox) -> None:
    """
    Boxes of two launchers can be linked, or the error says what stands in the way.
    """
    pool = Pool()
    one = make(net=True)
    with Box(pool, Spec(net=True), name="box far") as far:
        if user_namespace_for(Spec()) is UserNamespace.NONE:
            Link(one, far).close()
        else:
            with pytest.raises(BoxError) as caught:
                Link(one, far)
            what, why, _ = str(caught.value).splitlines()
            assert what.endswith("box far: setns(pidfd, CLONE_NEWNET) failed: EPERM")
            assert "belong to different user namespaces" in why
    pool.stop()


def test_no_pyroute2(make: MakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without pyroute2 the error says what to install.
    """
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(BoxError) as caught:
        Link(make(net=True), make(net=True))
    what, why, fix = str(caught.value).splitlines()
    assert what == "cannot link box b and box b: pyroute2 cannot be imported"
    assert why.startswith("why: import pyroute2 raises ModuleNotFoundError(")
    assert fix == "fix: pip install 'pytest-nsisolate[link]'"


def test_of_the_factory(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The factory links its boxes in isolated and other tests, and removes the link.
    """
    pytester.makepyfile(
        talking=Path(talking.__file__).read_text(),
        test_it="""
        import socket
        import pytest
        from talking import ask, listening

        @pytest.fixture(params=[
            pytest.param(0, marks=pytest.mark.isolated), 1
        ])
        def boxes(request, sandbox_factory):
            return [sandbox_factory(hostname=name, net=True) for name in "ab"]

        def test_it(boxes, sandbox_factory):
            before = socket.if_nameindex()
            wire = sandbox_factory.link(*boxes)
            with listening(boxes[1], wire.address(boxes[1])):
                assert boxes[0].run(ask, wire.address(boxes[1]), 10)
            assert socket.if_nameindex() == before
            assert "box a and box b" in repr(wire)
        """,
    )
    result = run_both_ways("-W", "error")

    result.assert_outcomes(passed=2)
