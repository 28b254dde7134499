"""
Messages of teamcity-messages.
"""

from __future__ import annotations

import re

import pytest
from ways import RunPytest

pytestmark = pytest.mark.about("teamcity-messages")

_TESTS = """
    import unittest
    import pytest

    class Shown:
        def __repr__(self):
            return "a repr"

    @pytest.mark.parametrize("left, right", [
        (1, 2), ("one", "two"), ("it's | [so]", "x\\ny"), ({"a": {1}}, {"a": (1,)}),
        ([b"x"], None), (list(range(60)), []), (Shown(), [Shown()]), (True, "True"),
    ], ids=range(8))
    def test_compares(left, right):
        assert left == right

    def test_other():
        assert not 3

    def test_caught():
        with pytest.raises(AssertionError):
            assert 1 == 2

    def test_raises():
        raise ValueError("what")

    @pytest.fixture
    def breaks():
        print("set up")
        yield
        assert "left" == "right"

    def test_breaks(breaks):
        print("printed")

    @pytest.fixture
    def refuses():
        assert [1] == [2]

    def test_refuses(refuses): pass

    @pytest.mark.skip(reason="a reason")
    def test_skip(): pass

    class TestUnit(unittest.TestCase):
        def test_equal(self):
            self.assertEqual({"a": 1}, {"a": 2})

        def test_text(self):
            self.assertEqual("one", "two", "a message")
"""


@pytest.mark.parametrize("arguments", [[], ["--jb-swapdiff"]], ids=["", "swapped"])
def test_messages(
    pytester: pytest.Pytester, run_both_ways: RunPytest, arguments: list[str]
) -> None:
    """
    TeamCity is told the same as in a plain run, both sides of comparisons too.
    """
    pytester.makepyfile(_TESTS)
    told = []
    for way in ("--no-nsisolate", "--nsisolate"):
        result = run_both_ways(
            *("-p", "nsisolate", "-p", "teamcity.pytest_plugin", "--teamcity", way),
            *arguments,
        )
        text = re.sub(
            r"(timestamp|duration)='[^']*'|0x[0-9a-f]+", "", result.stdout.str()
        )
        told.append(re.findall(r"##teamcity\[.*", text))
    plain, isolated = told
    assert sum(" actual='" in line for line in plain) == 8 + 2 + 2
    assert isolated == plain
