"""
Libraries that send what they have measured from a thread, which each fork starts anew.
"""

from __future__ import annotations

import pytest
from twins import WithPlugins

OPENTELEMETRY = """
    import os
    from pathlib import Path
    import pytest
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        MetricExporter, MetricExportResult, PeriodicExportingMetricReader
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor, SpanExporter, SpanExportResult
    )

    SPANS = Path("spans").absolute()

    class Spans(SpanExporter):
        def export(self, spans):
            with SPANS.open("a") as file:
                for span in spans:
                    file.write(f"{span.name} ")
            return SpanExportResult.SUCCESS

    class Metrics(MetricExporter):
        calls = 0

        def export(self, *_, **__):
            self.calls += 1
            return MetricExportResult.SUCCESS

        def force_flush(self, *_, **__): return True
        def shutdown(self, *_, **__): pass

    def tracing():
        provider = TracerProvider()
        # Only when it is asked to.
        processor = BatchSpanProcessor(Spans(), schedule_delay_millis=10_000_000)
        provider.add_span_processor(processor)
        return provider

    # Threads that are there from the import on, and those of a fixture.
    PROVIDER = tracing()

    @pytest.fixture(scope="session", autouse=True)
    def at_the_end():
        with PROVIDER.get_tracer("ours").start_as_current_span("session"):
            yield
        PROVIDER.shutdown()

    @pytest.fixture(scope="session")
    def provider():
        provider = tracing()
        yield provider
        provider.shutdown()

    @pytest.fixture(scope="session")
    def meter():
        exporter = Metrics()
        reader = PeriodicExportingMetricReader(exporter, 10_000_000)
        provider = MeterProvider(metric_readers=[reader])
        yield provider, exporter
        provider.shutdown()

    @pytest.mark.parametrize("turn", [1, 2, 3])
    def test_import(turn):
        with PROVIDER.get_tracer("ours").start_as_current_span(f"of_{turn}"):
            pass
        assert PROVIDER.force_flush(20_000)
        assert SPANS.read_text().split()[-1] == f"of_{turn}"

    @pytest.mark.parametrize("turn", [1, 2])
    def test_fixture(provider, turn):
        with provider.get_tracer("ours").start_as_current_span(f"with_{turn}"):
            pass
        assert provider.force_flush(20_000)
        assert SPANS.read_text().split()[-1] == f"with_{turn}"

    def test_metrics(meter):
        provider, exporter = meter
        provider.get_meter("ours").create_counter("number").add(1)
        assert provider.force_flush(20_000)
        assert exporter.calls == 1

    def test_own_fork():
        pid = os.fork()
        if not pid:
            with PROVIDER.get_tracer("ours").start_as_current_span("of_fork"):
                pass
            os._exit(not PROVIDER.force_flush(20_000))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert SPANS.read_text().split()[-1] == "of_fork"

    def test_ends_it(provider):
        provider.shutdown()
"""


# Its tests read the last line of one file.
@pytest.mark.one_job
@pytest.mark.about("opentelemetry-sdk")
def test_opentelemetry(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    A test exports its spans and metrics, whether the provider is borrowed or global.
    """
    pytester.makepyfile(OPENTELEMETRY)
    run = with_plugins()("-Wignore::DeprecationWarning")
    run.result.assert_outcomes(passed=8)
    spans = (pytester.path / "spans").read_text().split()
    # Of both runs; no span is exported twice.
    once = ["of_1", "of_2", "of_3", "with_1", "with_2", "of_fork", "session"]
    assert sorted(spans) == sorted([*once, *once])


SENTRY = """
    import gzip
    import http.server
    import threading
    import pytest
    import sentry_sdk

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with open(LOG, "ab") as file:
                file.write(gzip.decompress(body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_): pass

    @pytest.fixture(scope="session")
    def log(tmp_path_factory):
        return tmp_path_factory.mktemp("sentry") / "log"

    @pytest.fixture(scope="session")
    def sentry(log):
        global LOG
        LOG = log
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = server.server_address
        sentry_sdk.init(
            f"http://key@{host}:{port}/1",
            shutdown_timeout=20,
            default_integrations=False,
        )
        # Its thread starts with the first event.
        sentry_sdk.capture_message("of the session")
        sentry_sdk.flush(20)
        yield
        sentry_sdk.get_client().close(20)
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.mark.parametrize("turn", [1, 2, 3])
    def test_message(sentry, log, turn):
        assert b"of the session" in log.read_bytes()
        sentry_sdk.capture_message(f"of turn {turn}")
        sentry_sdk.flush(20)
        assert f"of turn {turn}".encode() in log.read_bytes()

    def test_own_client(sentry, log):
        assert sentry_sdk.get_client().is_active()
        client = sentry_sdk.Client(sentry_sdk.get_client().dsn)
        client.capture_event({"message": "of another client"})
        client.close(20)
        assert b"of another client" in log.read_bytes()

    def test_exception(sentry, log):
        try:
            raise KeyError("no key")
        except KeyError:
            sentry_sdk.capture_exception()
        sentry_sdk.get_client().close(20)
        assert b"no key" in log.read_bytes()
"""


@pytest.mark.about("sentry-sdk")
def test_sentry(pytester: pytest.Pytester, with_plugins: WithPlugins) -> None:
    """
    A test sends what it captures, and ends the client of the session for itself alone.
    """
    pytester.makepyfile(SENTRY)
    with_plugins()().result.assert_outcomes(passed=5)
