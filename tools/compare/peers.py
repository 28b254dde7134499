"""
Peers: the ways to isolate tests that are compared.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

PLAIN, OURS, CONTAINER = "plain", "pytest-nsisolate", "docker run pytest"

_UNSHARE = (
    *("unshare", "--ipc", "--uts", "--pid", "--fork", "--mount-proc"),
    *("--user", "--map-root-user"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """
    One way to use a peer.
    """

    label: str = ""
    """What is added to the usual way; empty for that way itself."""
    arguments: tuple[str, ...] = ()
    """Arguments for pytest."""
    prefix: tuple[str, ...] = ()
    """What starts pytest."""
    options: tuple[str, ...] = ()
    """Options for the container."""
    keywords: str = ""
    """Keywords for the marker of all tests."""
    each: bool = False
    """Whether each test has a session of its own."""
    slow: bool = False
    """Whether each test starts an interpreter, so that fewer tests are measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """
    A package, or a program that starts pytest.
    """

    name: str
    """What the tables call it."""
    package: str = ""
    """The package that is installed; the name, if empty."""
    program: str = ""
    """The program that must be there, besides."""
    ways: tuple[Way, ...]
    """The usual way, and others that answer each question."""
    more: Mapping[str, tuple[Way, ...]] = dataclasses.field(default_factory=dict)
    """Ways that answer one question, by its key."""

    def ways_for(self, key: str) -> list[Way]:
        """
        Return the ways that may answer the question *key*, the usual one first.
        """
        first, *others = self.ways
        return [first, *self.more.get(key, ()), *others]

    @property
    def usual(self) -> Way:
        """
        The usual way.
        """
        return self.ways[0]


def _asked(**by_key: str) -> dict[str, tuple[Way, ...]]:
    """
    Return the ways of this plugin that set keywords of the marker, by question.
    """
    arguments = ("--nsisolate",)
    return {
        key: (Way(label=f"`{keywords}`", arguments=arguments, keywords=keywords),)
        for key, keywords in by_key.items()
    }


def _started(
    prefix: tuple[str, ...], **by_key: tuple[str, ...]
) -> dict[str, tuple[Way, ...]]:
    """
    Return the ways in which *prefix* has further options, by question.
    """
    return {
        key: (
            Way(label=f"`{' '.join(options)}`", prefix=(*prefix, *options)),
            Way(
                label=f"`{' '.join(options)}` and a session for each test",
                prefix=(*prefix, *options),
                each=True,
            ),
        )
        for key, options in by_key.items()
    }


_SESSION_EACH = "a session for each test"

PEERS = (
    Peer(
        name=OURS,
        ways=(Way(arguments=("--nsisolate",)),),
        more=_asked(
            port="net=True",
            project_files="overlay=['.']",
            tmp_files="tmpfs=['/tmp']",
            clock="time={'monotonic': 2592000}",
            hang="timeout=3",
            memory_limit="memory='300M'",
        )
        | {
            "same_time": (
                Way(
                    label="`--nsisolate-jobs=2`",
                    arguments=("--nsisolate", "--nsisolate-jobs=2"),
                ),
            )
        },
    ),
    Peer(
        name="pytest-forked",
        ways=(Way(arguments=("--forked",)),),
    ),
    Peer(
        name="pytest-isolate",
        ways=(Way(arguments=("--isolate",)),),
        more={
            "hang": (
                Way(
                    label="`--isolate-timeout`",
                    arguments=("--isolate", "--isolate-timeout=5"),
                ),
            ),
            "memory_limit": (
                Way(
                    label="`--isolate-mem-limit`",
                    arguments=("--isolate", f"--isolate-mem-limit={300 * 2**20}"),
                ),
            ),
        },
    ),
    Peer(
        name="pytest-isolated",
        ways=(Way(arguments=("--isolated",), slow=True),),
        more={
            "hang": (
                Way(
                    label="`--isolated-timeout`",
                    arguments=("--isolated", "--isolated-timeout=8"),
                ),
            ),
            "same_time": (
                Way(
                    label="`--isolated-numprocesses=2`",
                    arguments=("--isolated", "--isolated-numprocesses=2"),
                ),
            ),
        },
    ),
    Peer(
        # Tests of a file have one process, so that it is known what each one finds.
        name="pytest-xdist",
        ways=(Way(arguments=("-n2", "--dist=loadfile")),),
        more={
            # These ask what becomes of tests in several processes.
            **dict.fromkeys(
                ("same_time", "session_fixture"), (Way(arguments=("-n2",)),)
            ),
            # With files kept together, a test that ends its process is run again.
            **dict.fromkeys(
                ("segfault", "kill", "exit"),
                (Way(label="`--dist=load`", arguments=("-n2", "--dist=load")),),
            ),
        },
    ),
    Peer(
        name="pytest-bwrap",
        program="bwrap",
        ways=(Way(arguments=("--bwrap",), slow=True),),
    ),
    Peer(
        name="unshare pytest",
        package="pytest",
        program="unshare",
        ways=(
            Way(prefix=_UNSHARE),
            Way(label=_SESSION_EACH, prefix=_UNSHARE, each=True),
        ),
        more=_started(
            _UNSHARE,
            port=("--net",),
            clock=("--time", f"--monotonic={30 * 86400}"),
        ),
    ),
    Peer(
        name=CONTAINER,
        package="pytest",
        ways=(Way(), Way(label=_SESSION_EACH, each=True)),
        more={
            "memory_limit": (
                Way(label="`--memory`", options=("--memory=300m",)),
                Way(
                    label=f"`--memory` and {_SESSION_EACH}",
                    options=("--memory=300m",),
                    each=True,
                ),
            )
        },
    ),
)

#: What all are compared with: pytest, as it is.
NOTHING = Peer(name=PLAIN, package="pytest", ways=(Way(),))

EVERYONE = tuple(itertools.chain([NOTHING], PEERS))
