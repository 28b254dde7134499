"""
pytest's own fixtures and log files, with and without isolation.
"""

from __future__ import annotations

import pytest
from twins import Twins

CAPTURING = """
    import logging
    import os
    import sys
    import pytest

    log = logging.getLogger("name")

    def say(where):
        print(where)
        print(where, "to stderr", file=sys.stderr)
        log.warning("%s logged", where)

    def test_capsys(capsys):
        say("one")
        assert capsys.readouterr() == ("one\\n", "one to stderr\\n")
        with capsys.disabled():
            print("not captured")
        print("left")

    def test_capsysbinary(capsysbinary):
        sys.stdout.buffer.write(b"\\xff")
        assert capsysbinary.readouterr().out == b"\\xff"
        print("left")

    def test_capfd(capfd):
        say("one")
        os.write(1, b"written\\n")
        assert capfd.readouterr() == ("one\\nwritten\\n", "one to stderr\\n")
        with capfd.disabled():
            os.write(1, b"not captured\\n")
        os.system("echo left")

    def test_capfdbinary(capfdbinary):
        os.write(2, b"\\xff")
        assert capfdbinary.readouterr().err == b"\\xff"

    def test_capsys_fails(capsys):
        say("before")
        assert 0

    def test_capfd_fails(capfd):
        say("before")
        os.write(1, b"written\\n")
        assert 0

    def test_two(capsys, capfd):
        pass

    @pytest.fixture
    def printing(capsys):
        print("in setup")
        yield
        print("in teardown")
        assert capsys.readouterr().out == "in teardown\\n"

    def test_in_fixture(printing, capsys):
        assert capsys.readouterr().out == "in setup\\n"

    @pytest.fixture(scope="module")
    def wide():
        say("wide setup")
        yield
        say("wide teardown")

    def test_wide_before_capsys(wide, capsys):
        assert capsys.readouterr().out == ""
        print("left")

    def test_capsys_before_wide(capsys, wide):
        assert capsys.readouterr().out == ""
        assert 0
"""

LOGGING = """
    import logging
    import pytest

    log = logging.getLogger("name")

    @pytest.fixture
    def narrow():
        log.warning("in setup")
        yield
        log.warning("in teardown")

    def test_records(caplog, narrow):
        log.info("not seen")
        log.error("seen %s", 1)
        assert caplog.messages == ["seen 1"]
        assert [one.message for one in caplog.get_records("setup")] == ["in setup"]
        with caplog.at_level("DEBUG", logger="name"):
            log.debug("seen too")
        caplog.set_level(logging.INFO)
        log.info("and this")
        assert len(caplog.record_tuples) == 3
        caplog.clear()
        log.info("last")
        assert caplog.text.endswith("last\\n")

    def test_level_is_back(caplog):
        log.info("not seen")
        assert not caplog.records

    def test_filtering(caplog):
        with caplog.filtering(lambda record: "no" not in record.msg):
            log.warning("no")
            log.warning("yes")
        assert caplog.messages == ["yes"]

    def test_disabled(caplog):
        logging.disable(logging.CRITICAL)
        log.critical("nowhere")
        with caplog.at_level("INFO"):
            log.info("somewhere")
        logging.disable(logging.NOTSET)

    def test_fails(caplog, narrow):
        log.warning("before it fails")
        log.warning("two\\nlines")
        assert 0

    def test_exception():
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("caught")
        assert 0

    def test_wrong_arguments():
        log.warning("%s %s", 1)
"""


@pytest.mark.parametrize("capture", ["fd", "no"])
def test_fixtures(
    pytester: pytest.Pytester,
    twins: Twins,
    capture: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Capturing fixtures return, and leave for the report, what they do without isolation.
    """
    # Otherwise Python's buffers are flushed at each fork, which changes the order.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    pytester.makepyfile(CAPTURING)
    twins(f"--capture={capture}", "-rA", apart=True)


def test_caplog(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Log records are captured by phase, and levels are restored.
    """
    pytester.makepyfile(LOGGING)
    twins("-rA")


def test_level_and_format(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    Logs are captured at the level and in the format that the options ask for.
    """
    pytester.makepyfile(LOGGING)
    run = twins("-rA", "--log-level=DEBUG", "--log-format=%(levelname)s %(message)s")
    assert "INFO not seen" in run.stdout


@pytest.mark.parametrize("more", [(), ("--capture=no",)], ids=" ".join)
def test_live(
    pytester: pytest.Pytester,
    twins: Twins,
    more: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Live logs come in order, with one heading for each phase that logs.
    """
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    pytester.makepyfile(test_one=LOGGING, test_two=LOGGING)
    arguments = ("--log-cli-level=INFO", "--log-cli-format=%(levelname)s %(message)s")
    twins(*arguments, *more, apart=True)


def test_log_file(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A log file has the records of all tests and hooks in order, wherever they ran.
    """
    pytester.makeconftest(
        """
        import logging
        import pytest

        log = logging.getLogger("conftest")

        @pytest.fixture(scope="session", autouse=True)
        def session():
            log.error("session setup")
            yield
            log.error("session teardown")

        def pytest_runtest_logreport(report):
            log.error("report of %s", report.when)

        def pytest_sessionfinish():
            log.error("session finish")
        """
    )
    pytester.makepyfile(test_one=LOGGING, test_two=LOGGING)
    run = twins(
        "--log-file=tests.log",
        "--log-file-level=INFO",
        "--log-file-format=%(levelname)s %(name)s %(message)s",
        file="tests.log",
    )
    assert run.file.count("before it fails") == 2


def test_file_of_a_session_fixture(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    What a session fixture has buffered for an open file is written only once.
    """
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def story():
            with open("story.txt", "w") as stream:
                stream.write("opened\\n")
                yield stream
                stream.write("closed\\n")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_one(story, number): pass
        """
    )
    run = twins(file="story.txt")
    assert run.file == "opened\nclosed\n"


def test_fixtures_of_pytest(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    pytest's own fixtures work inside as they do outside.
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


def test_monkeypatch(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A patch of one test affects no other test and respects patches of wider fixtures.
    """
    pytester.mkdir("modules").joinpath("found_there.py").write_text("value = 1")
    pytester.makepyfile(
        """
        import os
        import sys
        from pathlib import Path
        import pytest

        start = os.getcwd()

        class Target:
            value = "unpatched"

        @pytest.fixture(scope="module", autouse=True)
        def wide():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("FROM_WIDE", "1")
                patch.setattr(Target, "value", "by the module")
                yield

        def test_first(monkeypatch, tmp_path):
            assert Target.value == "by the module"
            monkeypatch.setenv("FROM_TEST", "1")
            monkeypatch.setenv("PATH", "/first", prepend=os.pathsep)
            monkeypatch.delenv("FROM_WIDE")
            monkeypatch.setattr(Target, "value", "by the test")
            monkeypatch.setattr("os.path.sep", "!")
            monkeypatch.setitem(sys.modules, "made_up", Target)
            monkeypatch.syspath_prepend(Path(start) / "modules")
            monkeypatch.chdir(tmp_path)
            import found_there, made_up
            assert found_there.value == 1
            assert Target.value == "by the test"

        def test_second(monkeypatch):
            assert os.getcwd() == start
            assert os.environ["FROM_WIDE"] == "1"
            assert "FROM_TEST" not in os.environ
            assert os.path.sep == "/"
            assert Target.value == "by the module"
            assert "made_up" not in sys.modules
            with pytest.raises(ImportError):
                import found_there_not

        def test_undone(monkeypatch):
            with monkeypatch.context() as patch:
                patch.delattr(Target, "value")
                assert not hasattr(Target, "value")
            assert Target.value == "by the module"

        def test_fails(monkeypatch):
            monkeypatch.delattr(Target, "no_such_name")

        def test_environment_of_pytest():
            assert os.environ["PYTEST_CURRENT_TEST"].endswith(
                "::test_environment_of_pytest (call)"
            )
        """
    )
    twins("-rA")
