"""
Servers of pytest-httpserver.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

pytestmark = pytest.mark.about("pytest-httpserver")

TESTS = """
    import logging
    import urllib.error
    import urllib.request
    import pytest

    # It logs the time of each request.
    logging.getLogger("werkzeug").setLevel("ERROR")

    def get(url):
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read()

    def test_data(httpserver):
        httpserver.expect_request("/").respond_with_data("data")
        assert get(httpserver.url_for("/")) == b"data"
        httpserver.check()

    def test_is_cleared(httpserver):
        assert httpserver.log == []
        with pytest.raises(urllib.error.HTTPError, match="500"):
            get(httpserver.url_for("/"))

    def test_fails(httpserver):
        httpserver.expect_oneshot_request("/other").respond_with_json({})
        with pytest.raises(urllib.error.HTTPError, match="500"):
            get(httpserver.url_for("/"))
        if httpserver.assertions:
            pytest.fail("no handler", pytrace=False)

    def test_ipv4(httpserver_ipv4):
        with httpserver_ipv4.wait(timeout=10) as waiting:
            httpserver_ipv4.expect_oneshot_request("/").respond_with_data("4")
            assert get(httpserver_ipv4.url_for("/")) == b"4"
        assert waiting.result

    def test_stop(httpserver):
        httpserver.stop()
        assert not httpserver.is_running()
        httpserver.start()
        httpserver.expect_request("/").respond_with_data("again")
        assert get(httpserver.url_for("/")) == b"again"
"""


@pytest.mark.python
def test_httpserver(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    Handlers that a test registers answer it, and it can stop the server.
    """
    pytester.makepyfile(TESTS)
    run = with_plugins("pytest_httpserver.pytest_plugin")()
    run.result.assert_outcomes(passed=4, failed=1)


def test_scopes_and_networks(pytester: pytest.Pytester) -> None:
    """
    A server may be shared inside, or be the same address in a network of its own.
    """
    pytester.makeconftest(
        """
        import pytest
        from pytest_httpserver import HTTPServer

        @pytest.fixture(scope="session")
        def ours():
            with HTTPServer(port=0) as server:
                server.expect_request("/").respond_with_data("outside")
                yield server

        @pytest.fixture(scope="session")
        def url(ours):
            return ours.url_for("/")
        """
    )
    pytester.makepyfile(
        test_a_borrowed="""
        import urllib.request
        import pytest

        def get(url):
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()

        pytestmark = pytest.mark.isolated(timeout=60)

        def test_same_handlers(ours, url):
            assert get(ours.url_for("/")) == b"outside"
            assert get(url) == b"outside"

        @pytest.mark.isolated(net=True)
        def test_same_address(ours, url):
            assert ours.url_for("/") == url
            ours.clear()
            ours.expect_request("/").respond_with_data("inside")
            assert get(url) == b"inside"

        @pytest.mark.isolated(scope="class")
        class TestShared:
            def test_first(self): pass

            def test_second(self, ours):
                ours.expect_request("/more").respond_with_data("more")

            def test_third(self, ours):
                assert get(ours.url_for("/more")) == b"more"

        def test_nothing_remains(ours):
            assert "/more" not in ours.format_matchers()
        """,
        test_b_inside="""
        import pytest
        from test_a_borrowed import get

        pytestmark = pytest.mark.isolated(scope="module", timeout=60)

        @pytest.fixture(scope="module")
        def server():
            from pytest_httpserver import HTTPServer
            with HTTPServer(port=0) as server:
                yield server

        def test_first(server):
            server.expect_request("/").respond_with_data("first")

        def test_second(server):
            assert get(server.url_for("/")) == b"first"
        """,
    )
    result = pytester.runpytest_subprocess(
        "-p", "nsisolate", "-p", "pytest_httpserver.pytest_plugin", timeout=60
    )
    result.assert_outcomes(passed=8)
