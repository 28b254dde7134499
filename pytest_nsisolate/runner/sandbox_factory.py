"""
The factory of boxes, which a test gets from the fixture `sandbox_factory`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import threading
import warnings
from typing import Any

import pytest

from pytest_nsisolate.box import explanations
from pytest_nsisolate.box.box import Box, pid_namespace
from pytest_nsisolate.box.link import Link
from pytest_nsisolate.diagnosis import explain
from pytest_nsisolate.diagnosis.probe import ProbedPool
from pytest_nsisolate.guest import inherited
from pytest_nsisolate.launcher.audit import Facts
from pytest_nsisolate.model.errors import (
    BoxError,
    Explanation,
    LeakWarning,
    Refused,
    SpecError,
)
from pytest_nsisolate.model.keywords import misuse, taking
from pytest_nsisolate.model.spec import KEYWORDS, Spec
from pytest_nsisolate.reporting import crash, leak_policy, refusals
from pytest_nsisolate.reporting.leak_policy import Wording
from pytest_nsisolate.reporting.refusals import Reason
from pytest_nsisolate.runner import roles
from pytest_nsisolate.sandbox.leaks import FILE
from pytest_nsisolate.settings import directories, options

#: The keywords that a box takes; what takes them, its call, and their names; and what
#: to write instead of a keyword of the marker.
_TAKEN = [one for one in KEYWORDS if one.box]
_CALL = ("sandbox_factory", "sandbox_factory", [one.name for one in _TAKEN])
_INSTEAD = {
    "scope": "module_sandbox_factory",
    "alone": "@pytest.mark.isolated(alone=True) on the test",
    "group": '@pytest.mark.isolated(group="name") on the test',
}


class SandboxFactory:
    """
    Makes boxes, and at the end closes those that are still open.

    Args:
        owner: The test, class, module or session that the boxes are for.

    .. versionadded:: 1.0.0
    """

    def __init__(self, owner: pytest.Item | pytest.Collector) -> None:
        config = owner.config
        self._node = owner
        self._owner = owner.name or "the session"
        self._options = config.stash[options.key]
        self._guest = config.stash.get(roles.guest_key, None)
        self._pool = ProbedPool(lambda: directories.of_session(config))
        self._boxes: list[Box] = []
        self._links: list[Link] = []
        #: Held to make a box: threads may do so at the same time.
        self._lock = threading.Lock()
        self._is_open = True
        self._home = _this_process()

    @taking(Spec, _TAKEN)
    def __call__(self, *args: object, **keywords: Any) -> Box:  # noqa: ANN401 - of several types
        """
        Return a new box.
        """
        __tracebackhide__ = True
        place = _caller()
        with self._lock:
            return self._make(args, keywords, place)

    def _make(
        self, args: tuple[object, ...], keywords: dict[str, Any], place: tuple[str, int]
    ) -> Box:
        __tracebackhide__ = True
        hostname = keywords.get("hostname")
        is_name = isinstance(hostname, str) and hostname and hostname.isprintable()
        name = f"box {hostname if is_name else len(self._boxes) + 1}"
        action = f"make {name} for {self._owner}"
        rootdir = str(self._node.config.rootpath)
        self._check_open(action)
        here = _this_process()
        if here != self._home:
            # A launcher serves the process that has started it.
            text = explanations.other_process(action, here, self._home)
            raise BoxError(text)
        try:
            wrong = misuse(*_CALL, args, keywords, instead=_INSTEAD)
            if wrong is not None:
                raise wrong
            spec = _spec_of(keywords, self._options.defaults).below(rootdir)
            directories.check(spec, self._node)
            box = Box(
                self._pool,
                spec,
                name=name,
                on_close=functools.partial(self._report, spec, place),
                grace=self._options.grace,
                entered=functools.partial(self._entered, spec),
            )
        except SpecError as error:
            what = f"cannot {action}: bad argument of sandbox_factory()"
            text = Explanation(what=what, why=error.why, fix=error.fix)
            raise crash.refusal(text, "fail") from None
        except Refused as refused:
            text = explain.explain(action, refused)
            raised = crash.refusal(text, self._options.unavailable)
            refusals.note_box(raised, action, Reason.of(refused, text))
            raise raised from None
        self._boxes.append(box)
        return box

    def link(self, one: Box, other: Box) -> Link:
        """
        Return a link between two boxes with ``net=True``: it is up and has addresses.

        Args:
            one: A box.
            other: Another box.

        Raises:
            BoxError: They cannot be linked.
        """
        __tracebackhide__ = True
        self._check_open("make a link")
        link = Link(one, other)
        self._links.append(link)
        return link

    def close(self) -> None:
        """
        Close all links, then all boxes, the last one first; then stop the launcher.
        """
        self._is_open = False
        with contextlib.ExitStack() as stack:
            stack.callback(self._pool.stop)
            for box in self._boxes:
                stack.callback(box.close)
            for link in self._links:
                stack.callback(link.close)

    def _check_open(self, action: str) -> None:
        __tracebackhide__ = True
        if not self._is_open:
            raise BoxError(explanations.closed_factory(action, self._owner))

    def _entered(self, spec: Spec) -> None:
        """
        In a fork that runs a function: get ready to make boxes there.
        """
        self._home = _this_process()
        # Another thread may have held it at the fork.
        self._lock = threading.Lock()
        inherited.set_environment(spec)
        # In the box too, pytest asks the supervisor, as for a line of the live log.
        if self._guest is not None:
            self._guest.channel.hand_on()

    def _report(
        self, spec: Spec, place: tuple[str, int], box: Box, facts: Facts | None
    ) -> None:
        """
        Warn about what is left in *box* and which files were changed there, or fail.

        Args:
            spec: The spec of the box.
            place: The file and line that made it.
            box: The box.
            facts: What is left in it; None if that is not known.
        """
        __tracebackhide__ = True
        if facts is not None and isinstance(self._node, pytest.Item):
            self._node.user_properties += [
                (FILE, f"{box.name}: {one}") for one in leak_policy.changed_files(facts)
            ]
        wording = Wording.of_box(f"{box.name} of {self._owner}")
        said = leak_policy.verdicts(wording, facts, spec)
        failures = [text for text, fails in said if fails]
        for text, fails in said:
            if not fails:
                warnings.warn_explicit(LeakWarning(text), None, *place)
        if failures:
            pytest.fail("\n".join(failures), pytrace=False)


def _spec_of(keywords: dict[str, Any], defaults: Spec) -> Spec:
    """
    Return the spec of a box with *keywords*, and *defaults* for what they leave open.

    Raises:
        SpecError: A value is wrong, or one keyword lacks another.
    """
    spec = Spec(**keywords)
    if spec.watches_files() and spec.overlay is None:
        spec = dataclasses.replace(spec, overlay=True)
    if spec.overlay_size and not spec.overlay:
        why = "overlay_size= is for the directories of overlay=, and this box has none"
        raise SpecError(why, 'write overlay=["/etc"], or leave overlay_size= out')
    # A box without an overlay has the files of its test: the option gives it none.
    files = spec.files or (defaults.files if spec.overlay else "ignore")
    return dataclasses.replace(spec, leaks=spec.leaks or defaults.leaks, files=files)


def _caller() -> tuple[str, int]:
    """
    Return the file and line that called the factory.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - inspect reads files to say the same
    return frame.f_code.co_filename, frame.f_lineno


def _this_process() -> tuple[str, int]:
    """
    Return the PID namespace of this process, and its process id there.
    """
    return pid_namespace(), os.getpid()
