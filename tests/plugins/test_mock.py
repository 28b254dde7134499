"""
Patches of pytest-mock.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-mock")


def test_scopes(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Patches of every scope apply and are undone, and their failures are explained.
    """
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def in_session(session_mocker):
            yield session_mocker.patch("os.getlogin", return_value="me")
            print(os.getlogin())

        @pytest.fixture(scope="module", autouse=True)
        def in_module(module_mocker):
            return module_mocker.patch.dict("os.environ", {"WHERE": "module"})

        def test_function(mocker):
            mock = mocker.patch("os.listdir", return_value=[1])
            assert os.listdir(3) == [1]
            mock.assert_called_once_with(3)
            assert os.getlogin() == "me"
            assert os.environ["WHERE"] == "module"
            mock.assert_called_once_with(4)

        def test_undone():
            assert os.listdir(".")

        class TestClass:
            @pytest.fixture(scope="class", autouse=True)
            def in_class(self, class_mocker):
                type(self).mock = class_mocker.patch("os.rmdir")

            def test_method(self):
                os.rmdir("x")
                self.mock.assert_called_once_with("x")

        def test_spy(mocker):
            spy = mocker.spy(os.path, "basename")
            os.path.basename("a/b")
            assert spy.spy_return == "c"

        def test_stub(mocker):
            stub = mocker.stub("stub")
            stub(1)
            stub.assert_not_called()
        """
    )
    run = with_plugins("pytest_mock")("-rP")
    run.result.assert_outcomes(passed=2, failed=3)


#: What a guest or its supervisor might call while a patch is active.
PATCHED = """
    import pytest

    NAMES = [
        "json.dumps", "json.loads", "marshal.dumps", "marshal.loads", "os._exit",
        "os.close", "os.fork", "os.fstat", "os.ftruncate", "os.getcwd", "os.getpid",
        "os.kill", "os.pidfd_open", "os.pipe", "os.pread", "os.read", "os.set_blocking",
        "os.stat", "os.umask", "os.waitpid", "os.write", "pickle.dumps", "pickle.loads",
        "select.poll", "signal.getsignal", "signal.signal", "socket.gethostname",
        "struct.pack", "struct.unpack", "subprocess.Popen", "sys.stderr", "sys.stdout",
        "threading.active_count", "time.perf_counter", "time.sleep", "time.time",
        "traceback.format_exc", "warnings.showwarning", "weakref.finalize",
    ]

    @pytest.fixture
    def inside(mocker, name):
        mocker.patch(name)

    @pytest.mark.parametrize("name", NAMES)
    def test_inside(inside, name):
        assert name != "os.write", "seen"

    @pytest.fixture(scope="class", params=NAMES)
    def outside(class_mocker, request):
        class_mocker.patch(request.param)
        return request.param

    class TestOutside:
        def test_outside(self, outside):
            assert outside != "os.read", "seen"
"""


def test_patched_system(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Isolation does not call what a test has patched, inside or outside.
    """
    pytester.makepyfile(PATCHED)
    run = with_plugins("pytest_mock")("-v", "--tb=line")
    run.result.assert_outcomes(passed=76, failed=2)
