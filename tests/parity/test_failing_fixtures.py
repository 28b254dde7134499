"""
Fixtures that fail, and those of pytest itself.
"""

from __future__ import annotations

import pytest
from twins import Twins, run_once

FAILURES = {
    "setup fails": ("print('said'); raise OSError('setup')", "pass"),
    "setup skips": ("print('said'); pytest.skip('not now')", "pass"),
    "setup is expected to fail": ("print('said'); pytest.xfail('known')", "pass"),
    "setup is said to fail": ("pytest.fail('said', pytrace=False)", "pass"),
    "teardown fails": ("pass", "print('said'); raise OSError('teardown')"),
    "teardown skips": ("pass", "pytest.skip('late')"),
}


@pytest.mark.parametrize("scope", ["session", "module", "class"])
@pytest.mark.parametrize("case", FAILURES)
def test_borrowed_fixture_fails(
    pytester: pytest.Pytester, twins: Twins, scope: str, case: str
) -> None:
    """
    A borrowed fixture that fails, skips or expects to gives the usual reports.
    """
    setup, teardown = FAILURES[case]
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture(scope={scope!r})
        def wide():
            {setup}
            yield
            {teardown}

        @pytest.fixture
        def narrow(): print("narrow")

        class TestIn:
            def test_one(self, narrow, wide): pass
            def test_two(self, wide, narrow): print("two")
            @pytest.mark.xfail
            def test_three(self, wide): assert 0

        def test_last(): pass
        """
    )
    twins("-rA")


def test_both_teardowns_fail(pytester: pytest.Pytester) -> None:
    """
    Where the teardown fails inside and outside, both errors are reported.
    """
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def wide():
            yield
            raise OSError("outside fails")

        @pytest.fixture
        def narrow(wide):
            yield
            raise OSError("inside fails")

        def test_one(narrow): pass
        """
    )
    run = run_once(pytester, ["--nsisolate"])
    assert "OSError: inside fails" in run.stdout
    assert "OSError: outside fails" in run.stdout
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


def test_fixtures_of_pytest(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    pytest's own fixtures do inside what they do outside.
    """
    pytester.makepyfile(
        """
        import logging, os, sys, warnings
        import pytest

        def test_tmp(tmp_path, tmp_path_factory, tmpdir):
            (tmp_path / "file").write_text("x")
            assert tmp_path_factory.mktemp("more").is_dir()
            assert str(tmpdir) == str(tmp_path)

        def test_tmp_again(tmp_path): assert not list(tmp_path.iterdir())

        def test_monkeypatch(monkeypatch, tmp_path):
            monkeypatch.setenv("NEW", "1")
            monkeypatch.chdir(tmp_path)
            monkeypatch.syspath_prepend(tmp_path)

        def test_patched_back(): assert "NEW" not in os.environ

        def test_capsys(capsys):
            print("a"); print("b", file=sys.stderr)
            assert capsys.readouterr() == ("a\\n", "b\\n")
            print("left over")
            with capsys.disabled(): pass

        def test_capfd(capfd):
            os.system("echo a")
            assert capfd.readouterr().out == "a\\n"
            os.write(1, b"left over")

        def test_binary(capsysbinary):
            print("a")
            assert capsysbinary.readouterr().out == b"a\\n"

        def test_caplog(caplog):
            with caplog.at_level(logging.INFO):
                logging.info("a")
            assert caplog.messages == ["a"]
            assert caplog.get_records("setup") == []

        def test_recwarn(recwarn):
            warnings.warn("w")
            assert len(recwarn) == 1

        def test_finalizer(request):
            request.addfinalizer(lambda: print("finalised"))
            print(os.environ["PYTEST_CURRENT_TEST"])
        """
    )
    twins("-rA").result.assert_outcomes(passed=10)


def test_tmp_path_is_kept_for_failures(pytester: pytest.Pytester) -> None:
    """
    With the retention policy ``failed`` the directories of failed tests stay.
    """
    pytester.makeini("[pytest]\ntmp_path_retention_policy = failed")
    pytester.makepyfile(
        """
        def test_pass(tmp_path): (tmp_path / "file").touch()
        def test_fail(tmp_path): (tmp_path / "file").touch(); assert 0
        """
    )
    run_once(pytester, ["--nsisolate"])
    left = sorted(path.name for path in (pytester.path / "base").glob("test_*"))
    run_once(pytester, ["--no-nsisolate"])
    plain = sorted(path.name for path in (pytester.path / "base").glob("test_*"))
    assert left == plain
