"""
Tracebacks beside other plugins: no frame of the package, though it works with theirs.
"""

from __future__ import annotations

import pytest
from twins import WITHOUT, normal

pytestmark = pytest.mark.python

SYNCHRONOUS = """
    import pytest

    def fail(text):
        raise OSError(text)

    @pytest.fixture(scope="SCOPE")
    def setup(): fail("setup")

    @pytest.fixture(scope="SCOPE")
    def teardown():
        yield
        fail("teardown")

    def test_setup(setup): pass
    def test_teardown(teardown): pass
    def test_in_call(request): request.getfixturevalue("setup")
"""

ASYNCHRONOUS = """
    import pytest
    IMPORT

    def fail(text):
        raise OSError(text)

    @FIXTURE(scope="SCOPE")
    async def setup(): fail("setup")

    @FIXTURE(scope="SCOPE")
    async def teardown():
        yield
        fail("teardown")

    pytestmark = MARK

    async def test_setup(setup): pass
    async def test_teardown(teardown): pass
    async def test_fails(): fail("call")
"""

ANYIO = """
    import pytest

    @pytest.fixture(scope="session")
    def anyio_backend(): return "asyncio"
"""

PLUGINS = {
    "timeout": ("timeout", SYNCHRONOUS, ("--timeout=60",)),
    "randomly": ("randomly", SYNCHRONOUS, ("--randomly-seed=1",)),
    "allure": ("allure_pytest", SYNCHRONOUS, ("--alluredir=allure",)),
    "json-report": (
        "pytest_jsonreport.plugin",
        SYNCHRONOUS,
        ("-ppytest_metadata.plugin", "--json-report"),
    ),
    "asyncio": (
        "asyncio",
        ASYNCHRONOUS.replace("IMPORT", "import pytest_asyncio")
        .replace("FIXTURE", "pytest_asyncio.fixture")
        .replace("MARK", 'pytest.mark.asyncio(loop_scope="session")'),
        ("-oasyncio_default_fixture_loop_scope=session",),
    ),
    "anyio": (
        "anyio",
        ASYNCHRONOUS.replace("IMPORT", "")
        .replace("FIXTURE", "pytest.fixture")
        .replace("MARK", "pytest.mark.anyio"),
        (),
    ),
}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_failing_fixtures(pytester: pytest.Pytester, plugin: str) -> None:
    """
    A fixture that fails reads as without the package, and has no frame of it.
    """
    name, source, arguments = PLUGINS[plugin]
    pytester.makeconftest(ANYIO)
    scopes = ("function", "module", "session")
    pytester.makepyfile(
        **{f"test_{one}": source.replace("SCOPE", one) for one in scopes}
    )
    plain, installed, isolated = (
        normal(
            str(
                pytester.runpytest_subprocess(
                    *WITHOUT,
                    *("-p", name, *arguments, *way, "--no-header", "--tb=native"),
                    timeout=120,
                ).stdout
            )
        )
        for way in ([], ["-p", "nsisolate"], ["-p", "nsisolate", "--nsisolate"])
    )

    assert any("OSError: teardown" in line for line in plain)
    assert installed == plain
    assert not [line for line in isolated if "pytest_nsisolate" in line]
    raised = [line for line in plain if line.startswith("OSError: ")]
    assert [line for line in isolated if line.startswith("OSError: ")] == raised
