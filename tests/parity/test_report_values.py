"""
Values of any kind on what a test reports: they arrive as they are in a plain run.
"""

from __future__ import annotations

import pytest
from twins import WITHOUT
from ways import RunPytest

pytestmark = pytest.mark.python

#: Tells what arrives, with the types of everything, in a file.
TELLS = '''
import collections
import enum
import pytest

class Color(enum.IntEnum):
    RED = 3

Point = collections.namedtuple("Point", "x y")

shared, endless, deep = [1], [2], []
endless.append({"itself": endless})
for _ in range(5_000):
    deep = [deep]

VALUES = {
    "lines": {"a.py": {1, 2}},
    "pair": (1, "x"),
    "nothing": None,
    "yes": True,
    "large": [2**64, -(10**5000), 2**63],
    "floats": [0.1, -0.0, float("inf"), float("-inf"), float("nan"), 1e300],
    "complexes": [1j, complex(-0.0, float("inf"))],
    "text": "\\ud800\\udc00 \\0 \\x1b",
    "raw": b"\\x00\\xff",
    "changing": bytearray(b"x"),
    "sets": [set(), {1}, frozenset({(2, frozenset())})],
    "numbers": {1: 2, 0: {None: [()]}, False: 3, (1, (2,)): b"", b"": 1.5},
    "order": {"z": 1, "a": 2, 1: 3, "m": 4},
    "shared": (shared, shared),
    "endless": endless,
    "deep": deep,
    "many": {"x" * number: [number] * number for number in range(200)},
}

def told(value):
    """Tell types and contents, with no recursion into depth."""
    kind = type(value).__name__
    if value is deep or kind == "list" and len(value) == 1 and depth_of(value) > 9:
        return f"{kind} in {depth_of(value)} lists"
    if isinstance(value, dict):
        inside = [f"{told(key)}: {told(one)}" for key, one in value.items()
                  if key != "itself"]
        if "itself" in value:
            inside.append(str(value["itself"][1] is value))
    elif isinstance(value, (set, frozenset)):
        inside = sorted(map(told, value))
    elif isinstance(value, (list, tuple)):
        inside = list(map(told, value))
    elif isinstance(value, int) and value.bit_length() > 100:
        inside = [hex(value)]
    else:
        inside = [ascii(value)]
    return f"{kind}({', '.join(inside)})"

def depth_of(value):
    depth = 0
    while type(value) is list and len(value) == 1:
        depth, (value,) = depth + 1, value
    return depth

def tell(*texts):
    with open("told", "a") as file:
        print(*texts, file=file)
'''


def _told_both_ways(
    pytester: pytest.Pytester, run: RunPytest, *arguments: str
) -> tuple[list[str], list[str]]:
    """
    Return what `tell` has written in a plain and in an isolated run.
    """
    found = []
    for one in ("--no-nsisolate", "--nsisolate"):
        path = pytester.path / "told"
        path.unlink(missing_ok=True)
        result = run(one, *WITHOUT, *arguments)
        text = result.stdout.str() + result.stderr.str()
        assert "INTERNALERROR" not in text, text
        found.append(path.read_text().splitlines())
    plain, isolated = found
    return plain, isolated


def test_attributes(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    Attributes and properties of builtin types arrive as in a plain run.
    """
    pytester.makepyfile(tells=TELLS)
    pytester.makeconftest(
        """
        import pytest
        from tells import VALUES, told, tell

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            vars(report).update(VALUES)
            return report

        def pytest_runtest_logreport(report):
            tell(report.nodeid, report.when, report.outcome)
            for name in VALUES:
                tell(name, told(getattr(report, name)))
            for name, value in report.user_properties:
                tell(name, told(value))
            tell(report.shared[0] is report.shared[1])
            tell(told(report.location), told(report.longrepr))
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from tells import VALUES

        def test_passes(record_property):
            for name, value in VALUES.items():
                record_property(name, value)

        def test_skips():
            pytest.skip("why")
        """
    )
    plain, isolated = _told_both_ways(pytester, run_both_ways)
    assert len(plain) > 100
    assert isolated == plain


def test_longrepr_and_sections(
    pytester: pytest.Pytester, run_both_ways: RunPytest
) -> None:
    """
    A longrepr or a section of any kind keeps the outcome, and is shown as plain.
    """
    pytester.makepyfile(tells=TELLS)
    pytester.makeconftest(
        """
        import pytest
        from tells import told, tell

        class Text:
            def __str__(self):
                return "as shown"

        KINDS = [
            "text", "", None, ("a.py", 3, "why"), ["a", 1], b"raw", 3, {"a": {1}},
            Text(),
        ]

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call":
                report.longrepr = KINDS[item.callspec.params["number"]]
                report.sections.append(("Mine", "content"))
                report.sections.append(["A list", "content"])
                report.sections.append(("A number", 3))
                report.user_properties.append(["a", "list"])
            return report

        def pytest_runtest_logreport(report):
            tell(report.nodeid, report.when, report.outcome, str(report.longrepr))
            tell(told([[str(one) for one in pair] for pair in report.sections]))
            tell(told(report.user_properties))
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(9))
        def test_passes(number):
            pass

        @pytest.mark.parametrize("number", range(9))
        def test_fails(number):
            assert number == -1
        """
    )
    plain, isolated = _told_both_ways(pytester, run_both_ways, "-p", "no:terminal")
    assert len(plain) == 18 * 9
    assert isolated == plain


def test_warnings(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    A warning keeps its arguments and attributes.
    """
    pytester.makepyfile(tells=TELLS)
    pytester.makepyfile(
        kinds="""
        class Coded(UserWarning):
            def __init__(self, code, *rest, text="no text"):
                super().__init__(code, *rest)
                self.code, self.text = code, text

            def __str__(self):
                return f"{self.code} {self.text}"

        class Two(Warning):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")

        class Odd(UserWarning):
            pass
        """
    )
    pytester.makeconftest(
        """
        from tells import told, tell

        def pytest_warning_recorded(warning_message, nodeid):
            warning = warning_message.message
            if type(warning).__name__ == "ReprWarning":
                return
            attributes = {
                name: value for name, value in sorted(vars(warning).items())
                if name != "broken"
            }
            tell(nodeid, type(warning).__name__, ascii(str(warning)), told(attributes))
            if "broken" not in vars(warning):
                tell(told(warning.args))
        """
    )
    pytester.makepyfile(
        """
        import warnings
        from kinds import Coded, Odd, Two
        from tells import VALUES

        def test_warns():
            warnings.warn(Coded(3, (1, {2}), b"x", text="told"))
            warnings.warn(Two(1, "two"))
            warnings.warn("plain")
            warnings.warn(UserWarning(1, (2,), {3: b"4"}))
            warnings.warn(UserWarning())

        def test_attributes():
            warning = Odd("text")
            warning.hint, warning.lines = (1, 2), {"a.py": {3}}
            warnings.warn(warning)

        def test_object():
            warning = Odd("text", object)
            warning.broken = object()
            warnings.warn(warning)
        """
    )
    plain, isolated = _told_both_ways(pytester, run_both_ways)
    assert len(plain) == 6 * 2 + 1
    assert isolated == plain


def test_session_end(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What a plugin sets to stop the session is the same object in kind and content.
    """
    pytester.makepyfile(tells=TELLS)
    pytester.makeconftest(
        """
        from tells import told, tell

        def pytest_runtest_teardown(item):
            item.session.shouldstop = ("why", {1: b"x"})

        def pytest_sessionfinish(session):
            tell(told(session.shouldstop))
        """
    )
    pytester.makepyfile("def test_stops(): pass", "def test_never(): pass")
    plain, isolated = _told_both_ways(pytester, run_both_ways)
    assert isolated == plain == ["tuple(str('why'), dict(int(1): bytes(b'x')))"]


def test_payload(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    What a plugin collects in a guest is handed over as it is.
    """
    pytester.makepyfile(tells=TELLS)
    pytester.makeconftest(
        """
        from tells import VALUES, told, tell

        def pytest_nsisolate_collect(item, report, payload):
            if report is None:
                payload["mine"] = VALUES

        def pytest_nsisolate_hand_over(item, payload):
            for name, value in VALUES.items():
                assert told(payload["mine"][name]) == told(value)
            tell("handed over")
        """
    )
    pytester.makepyfile("def test_one(): pass")
    result = run_both_ways("--nsisolate", *WITHOUT)
    result.assert_outcomes(passed=1)
    assert (pytester.path / "told").read_text() == "handed over\n"
