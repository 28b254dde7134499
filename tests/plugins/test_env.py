"""
Environment variables of pytest-env.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-env")


def test_env(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    A test and the processes it starts have the variables from the ini file.
    """
    pytester.makeini(
        """
        [pytest]
        env =
            NEW=a
            D:PATH=never
            R:RAW={NEW}
            MADE={NEW}b
        """
    )
    pytester.makepyfile(
        """
        import os
        import subprocess
        import pytest

        @pytest.fixture(scope="session")
        def borrowed():
            return os.environ["NEW"]

        def test_set(borrowed):
            assert borrowed == os.environ["NEW"] == "a"
            assert os.environ["RAW"] == "{NEW}"
            assert os.environ["MADE"] == "ab"

        def test_default():
            assert os.environ["PATH"] != "never"

        def test_started():
            assert subprocess.check_output("echo $MADE", shell=True) == b"ab\\n"
        """
    )
    run = with_plugins("pytest_env.plugin")("-v")
    run.result.assert_outcomes(passed=3)
