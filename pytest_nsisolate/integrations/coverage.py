"""
Coverage: the measurements of guests, added to that of the supervisor.

coverage.py collects in memory and adds the result to a data file. A guest must not
touch that file: it would replace it with a new one. So the guest's collector writes to
a notebook that takes the same four calls as the data file, and the supervisor makes
these calls on the real file.

Public would be: a collector's data as a value, and a call that adds such a value.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias, cast

import pytest

from pytest_nsisolate.guest.messages import Payload

_NAME = "coverage"

#: For each file its line numbers or, if branches are measured, pairs of them.
_Measured: TypeAlias = "dict[str, set[object]]"


@dataclasses.dataclass(slots=True)
class _Notebook:
    """
    Stands in for a `coverage.CoverageData`, and keeps what is added by context.
    """

    _current_context: str | None
    measured: dict[str | None, _Measured] = dataclasses.field(default_factory=dict)
    tracers: dict[str, str] = dataclasses.field(default_factory=dict)

    def set_context(self, context: str | None) -> str | None:
        before, self._current_context = self._current_context, context
        return before

    def add_lines(self, data: Mapping[str, Collection[object]]) -> None:
        files = self.measured.setdefault(self._current_context, {})
        for name, seen in data.items():
            files.setdefault(name, set()).update(seen)

    add_arcs = add_lines

    def add_file_tracers(self, tracers: Mapping[str, str]) -> None:
        self.tracers.update(tracers)

    def take(self) -> tuple[list[object], dict[str, str]]:
        """
        Return the content in a form that is quick to send, and empty the notebook.
        """
        pages = [
            (context, {name: _columns(seen) for name, seen in files.items()})
            for context, files in self.measured.items()
        ]
        tracers = self.tracers
        self.measured, self.tracers = {}, {}
        return cast("list[object]", pages), tracers


class Integration:
    """
    Carries over measurements, whether by pytest-cov or by ``coverage run``.
    """

    def __init__(self) -> None:
        #: In a guest: what its collector wrote. In the supervisor: what guests sent.
        self._notebook = _Notebook(None)
        self._coverage: Any = None
        self._collector: Any = None
        #: In a guest: the supervisor's data.
        self._data: Any = None

    @pytest.hookimpl
    def pytest_nsisolate_enter(
        self, item: pytest.Item, send: Callable[[], None]
    ) -> None:
        self._coverage, self._collector = _running()
        if self._collector is None:
            return
        # coverage.py drops the data of another process when a new measurement begins,
        # and until 7.0 pytest-cov begins one in a process that it knows to be a fork.
        self._collector.pid = os.getpid()
        plugin = item.config.pluginmanager.get_plugin("_cov")
        if plugin is not None:
            plugin.pid = os.getpid()
        vars(self._collector).pop("flush_data", None)
        self._data = self._collector.covdata
        # The supervisor itself adds what it has measured so far.
        for seen in self._collector.data.values():
            seen.clear()
        self._notebook = _Notebook(_context_of(self._data))
        self._collector.covdata = self._notebook
        # A fork must neither use nor close an inherited database. Source:
        # https://www.sqlite.org/howtocorrupt.html, section 2.6.
        self._coverage._data = type(self._data)(no_disk=True)
        # coverage.py saves before the ends that its user has it handle, as SIGTERM.
        self._coverage.save = send
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        """
        In a fork that the test made: let coverage.py work as in any fork.
        """
        self._collector.covdata = self._coverage._data = self._data
        del self._coverage.save
        # coverage.py knows a fork by this number. A fork inside may have the same
        # process id as the supervisor outside.
        self._data._pid = None

    @pytest.hookimpl
    def pytest_nsisolate_collect(self, payload: Payload) -> None:
        if self._collector is not None:
            self._collector.flush_data()
            pages, tracers = self._notebook.take()
            if pages:
                payload[_NAME] = [pages, tracers]

    @pytest.hookimpl
    def pytest_nsisolate_hand_over(self, payload: Payload) -> None:
        if _NAME not in payload:
            return
        # pytest-testmon begins a new measurement after each batch of tests.
        if self._collector is None or self._collector is not _running()[1]:
            self._join()
        pages, tracers = cast("tuple[list[Any], dict[str, str]]", payload[_NAME])
        for context, files in pages:
            self._notebook.set_context(context)
            self._notebook.add_lines(
                {name: _rows(seen) for name, seen in files.items()}
            )
        self._notebook.add_file_tracers(tracers)

    def _join(self) -> None:
        """
        Add the guests' data whenever coverage.py adds its own.
        """
        self._coverage, self._collector = _running()
        flush = self._collector.flush_data

        def flush_data() -> bool:
            added = self._add_up()
            return bool(flush()) or added

        self._collector.flush_data = flush_data

    def _add_up(self) -> bool:
        notebook, self._notebook = self._notebook, _Notebook(None)
        data = self._collector.covdata
        before = _context_of(data)
        add = data.add_arcs if self._collector.branch else data.add_lines
        for context, files in notebook.measured.items():
            data.set_context(context)
            add(files)
        data.set_context(before)
        data.add_file_tracers(notebook.tracers)
        return bool(notebook.measured)


def _running() -> tuple[Any, Any]:
    """
    Return the `coverage.Coverage` that measures now, if any, and its collector.
    """
    module = sys.modules.get("coverage")
    # Coverage.current() since 5.0; _collector and its covdata since 4.5.
    current = None if module is None else module.Coverage.current()
    return current, getattr(current, "_collector", None)


def _context_of(data: object) -> str | None:
    # Since 5.0. Public would be: what set_context() returns, since 7.16.
    return cast("str | None", getattr(data, "_current_context", None))


def _columns(seen: Collection[Any]) -> list[Any]:
    """
    Return *seen*, lines or arcs, as a list of lines, or of starts and of ends.
    """
    if all(type(one) is int for one in seen):
        return list(seen)
    return [list(column) for column in zip(*seen, strict=True)]


def _rows(columns: list[Any]) -> list[Any]:
    """
    Return what `_columns` was made from.
    """
    if all(type(one) is int for one in columns):
        return columns
    return list(zip(*columns, strict=True))
