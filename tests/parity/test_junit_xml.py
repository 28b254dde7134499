"""
The JUnit XML file, with and without isolation.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from sources import EXPECTED_FAILURES, FEW, OUTCOMES, OUTPUT, PHASES
from twins import WITHOUT, Twins

RECORDS = """
    import pytest

    pytestmark = pytest.mark.filterwarnings("ignore:record_xml_attribute")

    @pytest.fixture
    def narrow(record_property, record_xml_attribute):
        record_property("setup", 1)
        record_xml_attribute("assertions", 1)
        yield
        record_property("teardown", {"a": [1]})
        record_xml_attribute("later", "<teardown>")

    def test_property(record_property, narrow):
        record_property("call", "<&>")
        record_property("call", None)

    def test_attribute(record_xml_attribute):
        record_xml_attribute("assertions", 42)
        record_xml_attribute("url", "http://example.org/?a=1&b=2")

    def test_class_name(record_xml_attribute):
        record_xml_attribute("classname", "my.name")
        record_xml_attribute("name", "other")
        assert 0

    def test_user_property(request):
        request.node.user_properties.append(("direct", "value"))

    def test_of_suite(record_testsuite_property):
        record_testsuite_property("in a test", 1)
        record_testsuite_property("text", "<&>")

    @pytest.fixture(scope="session", autouse=True)
    def wide(record_testsuite_property):
        record_testsuite_property("in a session fixture", "yes")
        yield
        record_testsuite_property("in its teardown", "yes")

    def test_of_suite_again(record_testsuite_property):
        record_testsuite_property("in a test", 2)

    def test_fails_after(record_property, record_testsuite_property):
        record_property("before", 1)
        record_testsuite_property("before", 1)
        raise KeyError
"""


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_recorded(pytester: pytest.Pytester, twins: Twins, family: str) -> None:
    """
    Properties and attributes of tests, and properties of the suite, are written.
    """
    pytester.makepyfile(RECORDS)
    run = twins(
        "--junitxml=junit.xml", "-o", f"junit_family={family}", file="junit.xml"
    )
    assert 'name="in a test" value="2"' in run.file
    assert ('assertions="42"' in run.file) == (family != "xunit2")


def test_properties_from_hooks(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Properties that hooks add to tests, reports and the suite are written.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def of_suite(record_testsuite_property):
            record_testsuite_property("built", "today")

        def pytest_runtest_setup(item):
            item.user_properties.append(("in setup hook", item.name))

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            report.user_properties.append(("made in", call.when))
            return report

        def pytest_collection_modifyitems(items):
            for item in items:
                item.user_properties.append(("collected", "yes"))
        """
    )
    pytester.makepyfile("def test_one(): pass\n\ndef test_two(): assert 0")
    run = twins("--junitxml=junit.xml", "-o", "junit_family=xunit1", file="junit.xml")
    assert '"in setup hook" value="test_two"' in run.file


@pytest.mark.parametrize(
    ("logging", "passing"),
    [("system-out", "true"), ("log", "false")],
)
def test_output(
    pytester: pytest.Pytester, twins: Twins, logging: str, passing: str
) -> None:
    """
    The file has output and logs as it is configured to.
    """
    pytester.makepyfile(test_few=FEW, test_output=OUTPUT)
    twins(
        "--junitxml=junit.xml",
        "--override-ini=junit_family=xunit1",
        f"--override-ini=junit_logging={logging}",
        f"--override-ini=junit_log_passing_tests={passing}",
        "--disable-warnings",
        file="junit.xml",
    )


def test_options(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    The other options of the XML file have their effect.
    """
    pytester.makepyfile(test_few=FEW, test_expected=EXPECTED_FAILURES)
    twins(
        "--junitxml=junit.xml",
        "--junitprefix=pre.fix",
        "--override-ini=junit_suite_name=mine",
        "--override-ini=junit_duration_report=call",
        file="junit.xml",
    )


def test_without_a_file(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Without an XML file, fixtures that record for it do no harm.
    """
    pytester.makepyfile(RECORDS)
    twins("-rA")


def _canonical(path: str) -> str:
    """
    Return the XML file at *path* without times and addresses.
    """
    tree = ElementTree.parse(path)
    for element in tree.iter():
        for name in ("time", "timestamp", "hostname"):
            element.attrib.pop(name, None)
    text = ElementTree.tostring(tree.getroot(), encoding="unicode")
    return re.sub(r"0x[0-9a-f]{6,}", "0x", text)


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_outcomes(pytester: pytest.Pytester, family: str) -> None:
    """
    Every outcome is the same in the XML file as in a plain run.
    """
    pytester.makepyfile(
        test_outcomes=OUTCOMES,
        test_xfail=EXPECTED_FAILURES,
        test_phases=PHASES,
        test_output=OUTPUT,
        test_properties="def test(record_property): record_property('a', '<1>')",
    )
    files = []
    for switch in ("--no-nsisolate", "--nsisolate"):
        path = f"{pytester.path}/{switch}.xml"
        pytester.runpytest_inprocess(
            switch,
            f"--junitxml={path}",
            *WITHOUT,
            f"--override-ini=junit_family={family}",
            "--override-ini=junit_logging=all",
        )
        files.append(_canonical(path))
    assert files[0] == files[1]


ENDINGS = """
    import os
    import subprocess
    import sys
    import pytest

    isolated = pytest.mark.isolated

    def say():
        said = "bell\\a nul\\0 esc\\x1b[31m sep\\u2028 bom\\ufffe \\ud800 ]]> <&>"
        os.write(1, said.encode("utf-8", "surrogatepass") + b"\\xff\\n")

    @isolated
    def test_passes(request):
        request.node.user_properties.append(("key", "\\x1b\\0"))
        say()

    @isolated
    def test_fails():
        say()
        assert "\\x1b" == "\\0"

    @isolated
    def test_skips(): pytest.skip("\\x1b\\0")

    @isolated
    def test_crashes():
        say()
        os.kill(os.getpid(), 11)

    @isolated(memory="1K")
    def test_refused(): pass

    @isolated(colour="red")
    def test_bad_marker(): pass

    @isolated(leaks="fail")
    def test_leaks():
        say()
        open("/dev/shm/\\x1b", "w").close()

    @isolated(scope="class")
    class TestShared:
        def test_dies(self): os.kill(os.getpid(), 9)
        def test_goes_on(self): say()
"""


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_endings(pytester: pytest.Pytester, family: str) -> None:
    """
    However a test ends, and whatever it prints, services can read its result.

    GitLab takes one of failure, error and skipped, and Jenkins both of the first two.
    """
    pytester.makepyfile(ENDINGS)
    pytester.runpytest_inprocess(
        "--junitxml=junit.xml",
        *WITHOUT,
        f"--override-ini=junit_family={family}",
        "--override-ini=junit_logging=all",
    )
    suite = ElementTree.parse("junit.xml").getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    kinds = {"failure", "error", "skipped"}
    assert {
        one.get("name"): [*kinds & {part.tag for part in one}] for one in cases
    } == {
        "test_passes": [],
        "test_fails": ["failure"],
        "test_skips": ["skipped"],
        "test_crashes": ["failure"],
        "test_refused": ["error"],
        "test_bad_marker": ["error"],
        "test_leaks": ["error"],
        "test_dies": ["failure"],
        "test_goes_on": [],
    }
    # Not tests: pytest 8 counts one more for the error of a teardown.
    counts = [suite.get(name) for name in ("failures", "errors", "skipped")]
    assert counts == ["3", "3", "1"]
    assert all(float(one.get("time", -1)) >= 0 for one in cases)
    assert all(one.get("classname", "").startswith("test_") for one in cases)
    lines = [one.get("line") for one in cases if one.get("file")]
    assert len(lines) == (9 if family == "xunit1" else 0)
