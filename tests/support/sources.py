"""
Sources of tests for inner runs: every way in which a test can end.
"""

OUTCOMES = """
    import pytest

    def test_pass():
        pass

    def test_fail():
        left, right = [1, 2, 3], [1, 3, 3]
        assert left == right, "unequal"

    def test_error_inside_a_call():
        def inner(value):
            raise ValueError(value)
        inner({"key": "value"})

    def test_skip():
        pytest.skip("not today")

    @pytest.mark.skip(reason="marked")
    def test_marked_skip():
        raise AssertionError

    @pytest.mark.skipif(True, reason="so")
    def test_skip_if():
        raise AssertionError

    @pytest.mark.skipif("sys.platform == 'linux'", reason="by text")
    def test_skip_if_text():
        raise AssertionError

    def test_import_or_skip():
        pytest.importorskip("no_such_module")

    def test_pytest_fail():
        pytest.fail("said so", pytrace=False)

    def test_raises():
        with pytest.raises(KeyError, match="b"):
            {"a": 1}["c"]

    def test_system_exit():
        raise SystemExit(3)

    def test_assertion_without_text():
        assert 0

    def test_no_such_fixture(nope):
        pass
"""

EXPECTED_FAILURES = """
    import pytest

    @pytest.mark.xfail
    def test_fails():
        assert 0

    @pytest.mark.xfail(reason="known")
    def test_passes():
        pass

    @pytest.mark.xfail(strict=True, reason="known")
    def test_passes_strictly():
        pass

    @pytest.mark.xfail(raises=KeyError)
    def test_right_error():
        {}["a"]

    @pytest.mark.xfail(raises=KeyError)
    def test_wrong_error():
        raise ValueError

    @pytest.mark.xfail(run=False, reason="hangs")
    def test_not_run():
        raise AssertionError

    @pytest.mark.xfail(False, reason="no")
    def test_condition_false():
        assert 0

    @pytest.mark.xfail(True, reason="yes")
    def test_condition_true():
        assert 0

    @pytest.mark.xfail("no_such_name", reason="evaluation fails")
    def test_condition_broken():
        pass

    def test_imperative():
        pytest.xfail("from within")

    def test_added_at_run_time(request):
        request.node.add_marker(pytest.mark.xfail(reason="late"))
        assert 0

    @pytest.fixture
    def broken():
        raise RuntimeError("setup")

    @pytest.mark.xfail(reason="setup too")
    def test_setup(broken):
        pass

    @pytest.fixture
    def breaks_later():
        yield
        raise RuntimeError("teardown")

    @pytest.mark.xfail(reason="not teardown")
    def test_teardown(breaks_later):
        assert 0
"""

PHASES = """
    import pytest

    @pytest.fixture
    def broken():
        print("in setup")
        raise RuntimeError("setup")

    @pytest.fixture
    def breaks_later():
        yield
        print("in teardown")
        raise RuntimeError("teardown")

    @pytest.fixture
    def breaks_later_too():
        yield
        raise LookupError("teardown too")

    @pytest.fixture
    def skips():
        pytest.skip("from a fixture")

    def test_setup(broken):
        pass

    def test_teardown(breaks_later):
        pass

    def test_two_in_teardown(breaks_later, breaks_later_too):
        pass

    def test_call_and_teardown(breaks_later):
        assert 0

    def test_setup_and_teardown(breaks_later, broken):
        pass

    def test_skipping_fixture(breaks_later, skips):
        pass
"""

ERRORS = """
    import pytest

    def cause():
        raise KeyError("first")

    def test_from():
        try:
            cause()
        except KeyError as error:
            raise ValueError("second") from error

    def test_while_handling():
        try:
            cause()
        except KeyError:
            raise ValueError("second")

    def test_from_none():
        try:
            cause()
        except KeyError:
            raise ValueError("second") from None

    def test_source_is_not_there():
        exec(compile("def f():\\n    raise OSError(5, 'lost')\\nf()", "<made>", "exec"))

    def test_syntax_error():
        compile("a b", "<text>", "exec")

    def test_many_lines():
        raise ValueError("one\\ntwo\\n\\nfour")

    def test_not_ascii():
        raise ValueError("h\\u00e9 \\u2603 \\U0001f40d")
"""

OUTPUT = """
    import logging, os, sys, warnings
    import pytest

    log = logging.getLogger("name")

    def say(where):
        print(where, "by print")
        print(where, "by print to stderr", file=sys.stderr)
        os.write(1, f"{where} by write\\n".encode())
        os.write(2, f"{where} by write to 2\\n".encode())
        os.system(f"echo {where} by a process")
        log.warning("%s logged", where)
        log.debug("%s not logged", where)
        warnings.warn(f"{where} warned")

    @pytest.fixture(scope="module")
    def wide():
        say("wide setup")
        yield
        say("wide teardown")

    @pytest.fixture
    def narrow(wide):
        say("setup")
        yield
        say("teardown")

    def test_pass(narrow):
        say("call")

    def test_fail(narrow):
        say("call")
        assert 0

    def test_alone():
        say("alone")
        assert 0

    def test_last(narrow):
        assert 0
"""

FEW = """
    import pytest

    @pytest.fixture(scope="module")
    def wide():
        print("wide setup")
        yield
        raise RuntimeError("wide teardown")

    @pytest.fixture
    def narrow(wide):
        print("narrow setup")
        yield
        print("narrow teardown")

    def test_pass(narrow):
        print("call")

    def test_fail(narrow, tmp_path):
        value = {"key": list(range(30))}
        print("call")
        assert value == {"key": 1, "more": "x" * 100}

    def test_skip():
        pytest.skip("not today")

    @pytest.mark.xfail(reason="known")
    def test_xfail():
        raise KeyError("first")

    @pytest.mark.xfail(strict=True, reason="known")
    def test_strict():
        pass

    def test_setup(nope):
        pass

    class TestIn:
        @pytest.mark.parametrize("number", [1, "\\u00e9", "a\\nb"])
        def test_parameter(self, number):
            assert number == 1
"""
