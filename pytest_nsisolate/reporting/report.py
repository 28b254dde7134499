"""
Reports as messages from guest to supervisor, and how two of them are joined.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NoReturn, cast, get_args

import pytest

from pytest_nsisolate.compat import items
from pytest_nsisolate.guest import values
from pytest_nsisolate.guest.messages import Garbled, Passed, Phase, Report
from pytest_nsisolate.reporting.report_schema import check_report

_PHASES = get_args(Phase)

#: The heading of a second failure, below the first one.
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
    if not isinstance(data.get("longrepr"), values.TYPES):
        # pytest shows any other one by its str().
        data["longrepr"] = _text(data["longrepr"], "longrepr")
    if isinstance(data.get("sections"), list):
        data["sections"] = list(map(_section, data["sections"]))
    return Report(report=data, marked=_marked(config, report.longrepr))


def passed_to_message(item: pytest.Item, report: pytest.TestReport) -> Passed | None:
    """
    Return *report* of *item* as a short message, None if that does not hold all of it.
    """
    if type(report) is not pytest.TestReport or report.outcome != "passed":
        return None
    try:
        message = Passed(
            when=report.when,
            keywords=[*report.keywords],
            duration=report.duration,
            start=report.start,
            stop=report.stop,
        )
        made = passed_from_message(item, message, dict.fromkeys(message.keywords, 1))
        is_all = (
            message.when in _PHASES
            and {*map(type, message.keywords)} <= {str}
            and {*map(type, (message.duration, message.start, message.stop))} == {float}
            and vars(made) == vars(report)
        )
    except Exception:  # noqa: BLE001 - whatever a plugin's attribute raises
        return None
    return message if is_all else None


def passed_from_message(
    item: pytest.Item, message: Passed, keywords: dict[str, int]
) -> pytest.TestReport:
    """
    Return the report of *item* in *message*, with *keywords* for those in there.
    """
    return pytest.TestReport(
        items.id_of(item),
        item.location,
        cast("dict[str, Literal[1]]", keywords),
        "passed",
        None,
        message.when,
        duration=message.duration,
        start=message.start,
        stop=message.stop,
    )


def report_from_message(config: pytest.Config, message: Report) -> pytest.TestReport:
    """
    Return the report in *message*.

    Raises:
        Garbled: It holds no valid report.
    """
    try:
        report = _report_from_message(config, message)
    except Exception as error:  # noqa: BLE001 - whatever is wrong in there
        text = f"{type(error).__name__}: {error}"
        raise Garbled(f"a report that cannot be read ({ascii(text)[1:80]})") from None
    check_report(config, report)
    return report


def _report_from_message(config: pytest.Config, message: Report) -> pytest.TestReport:
    data, marked = message.report, message.marked
    longrepr = data.get("longrepr")
    if not isinstance(longrepr, dict):
        # pytest looks into it, whatever it is.
        data["longrepr"] = None
    report = config.hook.pytest_report_from_serializable(config=config, data=data)
    assert report is not None
    report = cast("pytest.TestReport", report)
    if not isinstance(longrepr, dict):
        report.longrepr = cast("str", longrepr)
    if marked is not None:
        # pytest calls only two methods of a longrepr: this class has both.
        report.longrepr = cast("str", _Drawn(str(report.longrepr), marked))
    context = cast("Any", data.get("_subtest.context"))
    if context is not None:
        # pytest takes the repr of these values once more when it reads them.
        object.__setattr__(cast("Any", report).context, "kwargs", context["kwargs"])
    return report


def intern(item: pytest.Item, report: pytest.TestReport) -> None:
    """
    Make *report*, which pytest keeps, share its strings with others, to save memory.
    """
    items.share_id(item, report)
    if report.location == item.location:
        report.location = item.location
    of_it = vars(report)
    # pytest's deserialisation leaves the last of these behind.
    for name in ("when", "outcome", "$report_type"):
        if type(of_it.get(name)) is str:
            of_it[name] = sys.intern(of_it[name])
    names = shared_names(item, report.keywords)
    report.keywords = dict(zip(names, report.keywords.values(), strict=True))


def shared_names(item: pytest.Item, names: Iterable[str]) -> Iterator[str]:
    """
    Yield *names*, keywords of a report of *item*, as strings that others have too.
    """
    # A report made in the supervisor has the strings of the item itself.
    known = {name: name for name in item.keywords}
    for name in names:
        yield known.get(name) or (sys.intern(name) if type(name) is str else name)


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


def join_outcomes(
    config: pytest.Config, first: pytest.TestReport, second: pytest.TestReport
) -> pytest.TestReport:
    """
    Return the worse of two reports of one teardown, or *first* if they are equal.

    pytest's plugins expect one report of each phase. If both failed, the text of the
    second is added below that of the first.
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
    Return *sections* with the guest's part of setup joined to the supervisor's.

    So a phase that runs partly in the supervisor and partly in the guest looks as if it
    had run in one piece.

    Args:
        sections: The sections of a report from a guest.
        borrowed: How many of them, from the first, the supervisor made.
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
    Append *content* to the last of *sections* titled *title*, or as a new section.
    """
    for number, (one, before) in reversed(list(enumerate(sections))):
        if one == title:
            between = "\n" if title.startswith("Captured log") else ""
            sections[number] = (title, before + between + content)
            return
    # In pytest the log of a phase comes after its captured output.
    last = sections[-1][0] if sections else ""
    kind, _, phase = title.removeprefix("Captured ").partition(" ")
    if kind != "log" and last == f"Captured log {phase}":
        sections.insert(len(sections) - 1, (title, content))
    else:
        sections.append((title, content))


class _Drawn:
    """
    The longrepr of a special failure, as of a doctest, as drawn for a terminal.

    pytest's serialisation turns it into a plain string, which pytest then treats
    differently, for example in its summary.
    """

    def __init__(self, plain: str, marked: str) -> None:
        self._plain = plain
        self._marked = marked

    def __str__(self) -> str:
        return self._plain

    def toterminal(self, tw: pytest.TerminalReporter) -> None:
        """
        Write the failure to *tw*, a terminal writer, with colours if *tw* has any.
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


def _section(one: object) -> object:
    """
    Return *one* of the sections of a report with text as its title and content.
    """
    match one:
        case (str(), str()):
            return one
        case (title, content):
            return _text(title, "title"), _text(content, "content")
    return one


def _text(value: object, what: str) -> str:
    """
    Return *value*, which is *what* of a report, as text.
    """
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<{what} whose str() raises {type(error).__name__}>"


def _plain_copy(report: pytest.TestReport) -> pytest.TestReport:
    longrepr = report.longrepr
    text = None if longrepr is None else _text(longrepr, "longrepr")
    return pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords=dict.fromkeys(report.keywords, 1),
        outcome=report.outcome,
        longrepr=text,
        when=report.when,
        sections=report.sections,
        duration=report.duration,
        start=report.start,
        stop=report.stop,
    )
