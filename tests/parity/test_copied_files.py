"""
Tests whose files are copied on write, and what pytest keeps outside of the copies.
"""

from __future__ import annotations

import pytest
from twins import Twins, TwinSessions

#: Marks each test.
MARKING = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.isolated({}))
"""


@pytest.fixture(params=["marked", "ini", "read-only"])
def copied(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> None:
    """
    Give each test an overlay, of the rootdir or of all, or no right to write there.
    """
    kind = request.param
    if kind == "ini":
        pytester.makeini("[pytest]\nnsisolate_overlay = true")
        return
    keyword = {"marked": 'overlay=["."]', "read-only": 'readonly=["."]'}[kind]
    pytester.makeconftest(MARKING.format(keyword))


pytestmark = pytest.mark.usefixtures("copied")


def test_cache(pytester: pytest.Pytester, twin_sessions: TwinSessions) -> None:
    """
    What tests and sessions store in the cache is there in the next session.
    """
    pytester.makepyfile(
        """
        def test_it(cache):
            seen = cache.get("my/value", 0)
            cache.set("my/value", seen + 1)
            (cache.mkdir("things") / str(seen)).touch()
            print("seen", seen)
            assert 0

        def test_good(): pass
        """
    )
    runs = twin_sessions([], ["--lf"], ["--cache-show", "my/*"])
    assert len(runs[1].outcomes) < len(runs[0].outcomes)
    assert ["seen 0" in runs[0].stdout, "seen 1" in runs[1].stdout] == [True, True]
    for way in ("--nsisolate", "--no-nsisolate"):
        cache = pytester.path / f"cache{way}"
        assert (cache / "CACHEDIR.TAG").exists()
        assert (cache / ".gitignore").exists()
        assert (cache / "d" / "things" / "1").exists()


def test_pytester(pytester: pytest.Pytester, twins: Twins) -> None:
    """
    A test may run pytest itself, in its process and in another.
    """
    pytester.makepyfile(
        """
        import os

        import pytest

        pytest_plugins = "pytester"

        @pytest.mark.parametrize("way", ["inprocess", "subprocess"])
        @pytest.mark.parametrize("fails", [True, False])
        def test_it(pytester, capfd, way, fails):
            pytester.makeini("[pytest]")
            pytester.makepyfile(f"def test_inner(): assert not {fails}")
            run = getattr(pytester, f"runpytest_{way}")
            run("--basetemp=base").assert_outcomes(passed=not fails, failed=fails)
            name = "lastfailed" if fails else "nodeids"
            assert os.path.exists(f".pytest_cache/v/cache/{name}")
            run("--lf").assert_outcomes(passed=not fails, failed=fails)
            # It has times.
            capfd.readouterr()
            assert not fails
        """
    )
    twins("test_pytester.py", apart=True).result.assert_outcomes(passed=2, failed=2)
