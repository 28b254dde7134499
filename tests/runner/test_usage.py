"""
The table of the tests that use most, which ``--nsisolate-usage`` shows.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from ways import RunPytest

ROW = re.compile(r" +([\d.]+)s +([\d.]+) MiB test_uses.py::(.*)")


USES = """
import pytest

@pytest.mark.isolated
def test_spins():
    import time
    until = time.process_time() + 1.5
    while time.process_time() < until:
        pass

@pytest.mark.isolated
def test_allocates():
    assert len(bytearray(b"x") * 100_000_000) == 100_000_000

@pytest.mark.isolated
def test_crashes(record_property):
    record_property("own", "value")
    import os
    os._exit(3)

def test_on_host():
    pass
"""


def test_heaviest(pytester: pytest.Pytester, run_both_ways: RunPytest) -> None:
    """
    The heaviest tests are listed by processor time and by memory.
    """
    pytester.makepyfile(test_uses=USES)

    result = run_both_ways("test_uses.py", "--nsisolate-usage=1", "--junitxml=out.xml")

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.re_match_lines_random(
        [
            "=+ isolated tests by processor time: top 1 of 3 =+",
            "=+ isolated tests by peak memory: top 1 of 3 =+",
        ]
    )
    shown = [
        found.groups() for line in result.outlines if (found := ROW.fullmatch(line))
    ]
    assert [name for _, _, name in shown] == ["test_spins", "test_allocates"]
    assert float(shown[0][0]) >= 1.5
    assert float(shown[1][1]) >= 100
    names = {
        str(case.get("name")): [one.get("name") for one in case.iter("property")]
        for case in ET.parse(pytester.path / "out.xml").iter("testcase")
    }
    figures = ["nsisolate_cpu", "nsisolate_peak_memory"]
    assert names == {
        "test_spins": figures,
        "test_allocates": figures,
        "test_crashes": figures,
        "test_on_host": [],
    }


def test_all_by_ini_option(pytester: pytest.Pytester) -> None:
    """
    With 0 all isolated tests are listed, and without the option there is no table.
    """
    pytester.makepyfile(test_uses=USES)

    ini = ("-o", "nsisolate_usage=0", "-k", "spins or host")
    result = pytester.runpytest_subprocess(*ini, timeout=60)
    plain = pytester.runpytest_subprocess(*ini[2:], "--junitxml=out.xml", timeout=60)

    text = str(result.stdout)
    assert "= isolated tests by processor time: top 1 of 1 =" in text
    assert text.count(" MiB test_uses.py::test_spins\n") == 2
    assert "test_on_host" not in text
    assert "MiB" not in str(plain.stdout)
    assert "property" not in (pytester.path / "out.xml").read_text()


@pytest.mark.parametrize("value", ["-1", "two", "1.5", "²"])
def test_wrong_number(pytester: pytest.Pytester, value: str) -> None:
    """
    An invalid number of tests is refused in three lines.
    """
    result = pytester.runpytest(f"--nsisolate-usage={value}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"ERROR: cannot use --nsisolate-usage={value}",
            "why: the option --nsisolate-usage takes a number of tests from 0 up",
            "fix: write --nsisolate-usage=10 on the command line",
        ]
    )
