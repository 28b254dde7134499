"""
Reports on their way from guest to supervisor.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar, cast

import pytest

from pytest_nsisolate.compat import items
from pytest_nsisolate.guest.messages import Garbled, Report
from pytest_nsisolate.reporting.report_schema import check_report

_T = TypeVar("_T")

Phase: TypeAlias = Literal["setup", "call", "teardown"]

#: What stands above the text of a failure that is told below another one.
_ANOTHER = "another error in teardown"


def report_to_message(config: pytest.Config, report: pytest.TestReport) -> Report:
    """
    Return *report* as a message, by pytest's own serialisation.

    One that cannot be serialised, as a plugin's own report type may be, keeps its
    outcome and loses its structure.
    """
    try:
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
    except Exception:  # noqa: BLE001 - whatever a plugin's attribute raises
        data = None
    if data is None:
        data = config.hook.pytest_report_to_serializable(
            config=config, report=_plain_copy(report)
        )
    return Report(report=data, marked=_marked(config, report.longrepr))


def report_from_message(config: pytest.Config, message: Report) -> pytest.TestReport:
    """
    Return the report in *message*.

    Raises:
        Garbled: There is none in it.
    """
    try:
        report = _report_from_message(config, message)
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        text = f"{type(error).__name__}: {error}"
        raise Garbled(f"a report that cannot be read ({ascii(text)[1:80]})") from None
    check_report(config, report)
    return report


def _report_from_message(config: pytest.Config, message: Report) -> pytest.TestReport:
    """
    Return the report in *message*, with the tuples that JSON has made lists of.
    """
    data, marked = message.report, message.marked
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    assert report is not None
    report = cast("pytest.TestReport", report)
    if marked is not None:
        # What pytest asks of a longrepr is these two methods.
        report.longrepr = cast("str", _Drawn(str(report.longrepr), marked))
    context = cast("Any", data.get("_subtest.context"))
    if context is not None:
        # pytest takes the repr of these values once more when it reads them.
        object.__setattr__(cast("Any", report).context, "kwargs", context["kwargs"])
    report.location = _as_tuple(report.location)
    report.sections = [_as_tuple(one) for one in report.sections]
    report.user_properties = [_as_tuple(one) for one in report.user_properties]
    if isinstance(report.longrepr, list):
        # A skip: path, line, reason.
        report.longrepr = _as_tuple(report.longrepr)
    return report


def intern(item: pytest.Item, report: pytest.TestReport) -> None:
    """
    Have *report*, which pytest keeps, share what is the same in all reports of a test.
    """
    items.share_id(item, report)
    if report.location == item.location:
        report.location = item.location
    of_it = vars(report)
    # The last is what pytest leaves of its serialisation.
    for name in ("when", "outcome", "$report_type"):
        if type(of_it.get(name)) is str:
            of_it[name] = sys.intern(of_it[name])
    # Those of the item itself, which a report that was made here has, too.
    known = {name: name for name in item.keywords}
    report.keywords = {
        known.get(name) or sys.intern(name): 1 for name in report.keywords
    }


def failed_report(
    item: pytest.Item, phase: Phase, error: BaseException
) -> pytest.TestReport:
    """
    Return the report of *item* that pytest makes where *phase* raises *error*.
    """

    def fail() -> NoReturn:
        raise error from None

    call = pytest.CallInfo.from_call(fail, when=phase)
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(
        item=item, call=call
    )
    return report


def never_expected(report: pytest.TestReport) -> None:
    """
    Have *report* of a refusal be an error, even if a mark ``xfail`` excused it.
    """
    if hasattr(report, "wasxfail"):
        report.outcome = "failed"
        del report.wasxfail


def join_outcomes(
    config: pytest.Config, first: pytest.TestReport, second: pytest.TestReport
) -> pytest.TestReport:
    """
    Return that of two reports of a teardown which weighs more, the first of equals.

    pytest's plugins know one report of each phase: where both failed, the text of the
    second is below that of the first.
    """
    if first.failed and second.failed:
        text = _draw(config, second.longrepr, colours=False)
        longrepr = cast("Any", first.longrepr)
        if hasattr(longrepr, "addsection"):
            longrepr.addsection(_ANOTHER, text)
        else:
            first.longrepr = f"{longrepr}\n\n{text}"
    return max(first, second, key=lambda one: (one.failed, not one.passed))


def join_sections(
    sections: Sequence[tuple[str, str]], borrowed: int
) -> list[tuple[str, str]]:
    """
    Return *sections* with the first of setup joined to those of the borrowed part.

    A phase that runs partly in the supervisor and partly in the guest so shows as it
    does where it runs in one piece.

    Args:
        sections: Those of a report from a guest.
        borrowed: How many of them, the first ones, were made by the supervisor.
    """
    joined = list(sections[:borrowed])
    waiting = {title for title, _ in joined}
    for title, content in sections[borrowed:]:
        if title in waiting:
            waiting.remove(title)
            append_section(joined, title, content)
        else:
            joined.append((title, content))
    return joined


def append_section(sections: list[tuple[str, str]], title: str, content: str) -> None:
    """
    Append *content* to the last of *sections* with that title, or as a new one.
    """
    for number, (one, before) in reversed(list(enumerate(sections))):
        if one == title:
            between = "\n" if title.startswith("Captured log") else ""
            sections[number] = (title, before + between + content)
            return
    # pytest has them in this order: what was captured of a phase, and then its log.
    last = sections[-1][0] if sections else ""
    kind, _, phase = title.removeprefix("Captured ").partition(" ")
    if kind != "log" and last == f"Captured log {phase}":
        sections.insert(len(sections) - 1, (title, content))
    else:
        sections.append((title, content))


class _Drawn:
    """
    What a failure of a kind of its own, as of a doctest, looks like on a terminal.

    pytest's serialisation makes a plain string of it, which pytest then treats as
    another kind of failure, in its summary for one.
    """

    def __init__(self, plain: str, marked: str) -> None:
        self._plain = plain
        self._marked = marked

    def __str__(self) -> str:
        return self._plain

    def toterminal(self, tw: pytest.TerminalReporter) -> None:
        """
        Write it to *tw*, a terminal writer, with its colours if that has any.
        """
        marked = getattr(tw, "hasmarkup", False)
        tw.line(self._marked if marked else self._plain)


def _marked(config: pytest.Config, longrepr: object) -> str | None:
    """
    Return *longrepr* as drawn with colours, if it is of a kind that pytest flattens.
    """
    if not hasattr(longrepr, "toterminal") or hasattr(longrepr, "reprtraceback"):
        return None
    try:
        return _draw(config, longrepr, colours=True)
    except Exception:  # noqa: BLE001 - whatever a plugin's attribute raises
        return None


def _draw(config: pytest.Config, longrepr: object, *, colours: bool) -> str:
    """
    Return *longrepr* as pytest writes it.
    """
    draw = getattr(longrepr, "toterminal", None)
    if draw is None or not config.pluginmanager.has_plugin("terminalreporter"):
        return str(longrepr)
    file, screen = io.StringIO(), config.get_terminal_writer()
    writer = type(screen)(file)
    writer.hasmarkup = colours
    writer.fullwidth = screen.fullwidth
    draw(writer)
    return file.getvalue().removesuffix("\n")


def _as_tuple(value: _T) -> _T:
    return cast("_T", tuple(value)) if isinstance(value, list) else value


def _plain_copy(report: pytest.TestReport) -> pytest.TestReport:
    try:
        text = str(report.longrepr) if report.longrepr is not None else None
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        text = f"<longrepr whose str() raises {type(error).__name__}>"
    return pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords=dict.fromkeys(report.keywords, 1),
        outcome=report.outcome,
        longrepr=text,
        when=report.when,
        sections=[(str(title), str(content)) for title, content in report.sections],
        duration=report.duration,
        start=report.start,
        stop=report.stop,
    )
