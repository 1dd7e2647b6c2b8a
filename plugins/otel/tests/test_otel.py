"""Spans, metrics and events, as the SDK's own exporters see them."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from providerhub import (
    Completion,
    ConfigurationError,
    Detail,
    Embeddings,
    Finish,
    Hub,
    ModelInfo,
    ProviderConfig,
    ProviderInfo,
    RetryPolicy,
    ServerError,
    Settings,
    Usage,
    UsageDelta,
)
from providerhub_otel import Telemetry

SPANS, LOGS = InMemorySpanExporter(), InMemoryLogRecordExporter()
READER = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA, Counter: AggregationTemporality.DELTA})
TOLD = UsageDelta(Usage(input_tokens=1000, output_tokens=100, cached_tokens=10, cache_write_tokens=20, reasoning_tokens=30))
ANSWER = [Detail("model", "m-2026"), Detail("id", "c1"), Detail("request_id", "r1"), "Hi", TOLD, Finish()]
OPT_IN = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,gen_ai_latest_experimental"}
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.fixture(scope="module", autouse=True)
def _sdk():
    spans, logs = TracerProvider(), LoggerProvider()
    spans.add_span_processor(SimpleSpanProcessor(SPANS))
    logs.add_log_record_processor(SimpleLogRecordProcessor(LOGS))
    trace.set_tracer_provider(spans)
    _logs.set_logger_provider(logs)
    metrics.set_meter_provider(MeterProvider(metric_readers=[READER]))


class Scripted:
    def __init__(self, *pieces):
        self.pieces = pieces

    def stream(self, request, call):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture
def make_hub():
    hubs = []

    def make(environ=None, **providers):
        SPANS.clear()
        LOGS.clear()
        READER.get_metrics_data()
        url = ProviderConfig(url="http://127.0.0.1:8080/v1")
        settings = Settings(autoload=False, retry=RetryPolicy(backoff=0, attempts=2), providers={})
        hub = Hub(settings, observers=[Telemetry(Settings(autoload=False, providers={"xai": url}), environ or {})])
        for name, pieces in providers.items():
            model = ModelInfo("m", price_in=1, price_out=1, price_cache_read=1, price_cache_write=1)
            hub.register(ProviderInfo(name=name, models=(model,)), Scripted(*pieces))
        hubs.append(hub)
        return hub

    yield make
    for hub in hubs:
        hub.close()


def spans():
    """The spans by kind: that of the call, and those of the attempts."""
    found = SPANS.get_finished_spans()
    (call,) = (span for span in found if span.kind is SpanKind.INTERNAL and span.name != "outer")
    return call, [span for span in found if span.kind is SpanKind.CLIENT]


def points():
    """Name of the metric → its data points."""
    data = READER.get_metrics_data()
    found = [metric for one in data.resource_metrics for scope in one.scope_metrics for metric in scope.metrics] if data else []
    return {metric.name: list(metric.data.data_points) for metric in found}


def test_a_call_is_a_span_with_a_client_span_for_each_attempt(make_hub):
    hub = make_hub(mistral=[TOLD, ServerError("canary")], xai=ANSWER)
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        hub.complete(["mistral/m", "xai/m"], "canary", temperature=0.5, max_tokens=7, stop="END", seed=1, top_p=0.1)
    call, (failed, answered) = spans()
    assert call.parent.span_id == outer.get_span_context().span_id
    assert {one.parent.span_id for one in (failed, answered)} == {call.context.span_id}
    assert (call.name, failed.name) == ("chat mistral/m", "chat m")
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x_ai",
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "gen_ai.request.model": "mistral/m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 1,
        "gen_ai.request.top_p": 0.1,
        "gen_ai.response.model": "m-2026",
        "gen_ai.response.id": "c1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 10,
        "gen_ai.usage.cache_creation.input_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "providerhub.attempts": 2,
        "providerhub.cost.amount": 0.0022,
        "providerhub.cost.currency": "USD",
    }
    assert failed.attributes["gen_ai.provider.name"] == "mistral_ai"
    assert failed.attributes["gen_ai.usage.input_tokens"] == 1000
    assert (failed.attributes["providerhub.outcome"], failed.attributes["error.type"]) == ("error", "providerhub.ServerError")
    assert failed.status.status_code is StatusCode.ERROR
    assert answered.attributes["providerhub.request_id"] == "r1"
    assert "canary" not in "".join(span.to_json() for span in SPANS.get_finished_spans())


def test_the_metrics_count_each_attempt_and_each_call_once(make_hub):
    hub = make_hub(mistral=[TOLD, ServerError("down")], openai=ANSWER)
    list(hub.complete(["mistral/m", "openai/m"], "x", stream=True))
    found = points()
    (duration,) = found["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert dict(duration.attributes) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m",
    }  # fmt: skip
    assert duration.explicit_bounds[:2] == (0.01, 0.02)
    assert found["gen_ai.client.operation.time_to_first_chunk"][0].count == 1
    assert "gen_ai.client.operation.time_per_output_chunk" not in found
    tokens = {
        (point.attributes["gen_ai.provider.name"], point.attributes["gen_ai.token.type"]): point.sum
        for point in found["gen_ai.client.token.usage"]
    }
    assert tokens == {
        (name, kind): count for name in ("mistral_ai", "openai") for kind, count in (("input", 1000), ("output", 100))
    }
    call, _ = spans()
    assert call.attributes["gen_ai.request.stream"] is True


def test_the_time_between_two_chunks_is_a_metric(make_hub):
    list(make_hub(a=["one", "two", "three"]).complete("m", "x", stream=True))
    (point,) = points()["gen_ai.client.operation.time_per_output_chunk"]
    assert (point.count, point.attributes["gen_ai.request.model"]) == (2, "m")


def test_embeddings_are_an_operation_of_their_own(make_hub):
    class Embeds(Scripted):
        def embed(self, request, call):
            return Embeddings([[1.0]], usage=Usage(input_tokens=7))

    hub = make_hub()
    hub.register(ProviderInfo(name="a", models=(ModelInfo("m", supports_embeddings=True),)), Embeds())
    hub.embed("m", ["x"])
    call, (attempt,) = spans()
    assert (call.name, attempt.name, call.attributes["gen_ai.operation.name"]) == ("embeddings m", "embeddings m", "embeddings")
    assert {point.attributes["gen_ai.operation.name"] for found in points().values() for point in found} == {"embeddings"}


def test_an_answer_from_a_cache_names_the_provider_that_gave_it(make_hub):
    hub = make_hub()
    kept = Completion(text="Hi", provider="xai", model="m", cached=True)
    with Hub(hub.settings, observers=[Telemetry(hub.settings, {})], around=[lambda request, go_on: kept]) as caching:
        caching.complete("m", "x")
    call, attempts = spans()
    assert (call.attributes["gen_ai.provider.name"], call.attributes["providerhub.cached"], attempts) == ("x_ai", True, [])


def test_a_failed_call_has_the_class_of_its_error(make_hub):
    hub = make_hub(a=[ServerError("canary")])
    with pytest.raises(ServerError):
        hub.complete("m", "x", retry=RetryPolicy(attempts=1))
    call, _ = spans()
    assert call.attributes["error.type"] == "providerhub.ServerError"
    assert call.status.status_code is StatusCode.ERROR
    assert points()["gen_ai.client.operation.duration"][0].attributes["error.type"] == "providerhub.ServerError"


def test_a_variable_selects_the_new_names_of_the_conventions(make_hub):
    make_hub(OPT_IN, a=ANSWER).complete("m", "x")
    found = points()
    assert {name.removeprefix("gen_ai.client.inference.") for name in found} == {
        "duration", "usage.input_tokens", "usage.output_tokens", "usage.cache_read.input_tokens",
        "usage.cache_write.input_tokens", "usage.reasoning.output_tokens", "operation.input_tokens", "operation.output_tokens",
    }  # fmt: skip
    assert found["gen_ai.client.inference.usage.input_tokens"][0].value == 1000
    assert found["gen_ai.client.inference.usage.input_tokens"][0].attributes["gen_ai.token.modality"] == "unknown"
    call, _ = spans()
    assert call.attributes["gen_ai.usage.cache_write.input_tokens"] == 20


@pytest.mark.parametrize(("value", "on_span", "on_event"), [
    ("", False, False), ("NO_CONTENT", False, False), ("SPAN_ONLY", True, False), ("event_only", False, True),
    ("SPAN_AND_EVENT", True, True),
])  # fmt: skip
def test_content_is_told_where_the_variable_says_so(make_hub, value, on_span, on_event):
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}}
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "question"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "result"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    make_hub({CONTENT: value}, a=ANSWER).complete("m", messages, system="Be brief.", tools=tools)
    call, attempts = spans()
    events = [record.log_record for record in LOGS.get_finished_logs()]
    assert ("gen_ai.input.messages" in call.attributes) is on_span
    assert len(events) == on_event
    assert not any("gen_ai.input.messages" in span.attributes for span in attempts)
    for attributes in [*([call.attributes] if on_span else []), *(event.attributes for event in events)]:
        read = {name: json.loads(text) for name, text in attributes.items() if name.endswith((".messages", ".definitions"))}
        user, assistant, tool = read["gen_ai.input.messages"]
        assert user == {"role": "user", "parts": [{"type": "text", "content": "question"}, picture]}
        assert assistant["parts"] == [{"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}"}]
        assert tool["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "result"}]
        parts = [{"type": "text", "content": "Hi"}]
        assert read["gen_ai.output.messages"] == [{"role": "assistant", "parts": parts, "finish_reason": "stop"}]
        assert json.loads(attributes["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
        assert read["gen_ai.tool.definitions"] == tools


def test_an_unknown_word_for_content_is_refused():
    with pytest.raises(ConfigurationError, match=rf"{CONTENT} must be one of NO_CONTENT, .* not 'ALL'"):
        Telemetry(Settings(autoload=False), {CONTENT: "all"})


class Receiver(BaseHTTPRequestHandler):
    """The receiver of a collector: OTLP over HTTP, whose protobuf messages are parsed."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        message = ExportTraceServiceRequest if self.path == "/v1/traces" else ExportMetricsServiceRequest
        self.server.got.append(message.FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


PROGRAM = """
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from providerhub import Hub, ModelInfo, ProviderInfo, Settings, Usage, UsageDelta
import providerhub_otel

class Echo:
    def stream(self, request, call):
        yield "Hi"
        yield UsageDelta(Usage(3, 1))

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider(metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter())]))
settings = Settings(autoload=False)
hub = Hub(settings, observers=[providerhub_otel.providerhub_join(settings)])
hub.register(ProviderInfo(name="echo", models=(ModelInfo("m"),)), Echo())
hub.complete("m", "x")
provider.shutdown()
metrics.get_meter_provider().shutdown()
"""


@pytest.fixture
def receiver():
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.got = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def collector(target):
    """The address of a real collector, which hands all that it gets to `target` before it ends."""
    package = pytest.importorskip("rotel", reason="needs a collector: pip install rotel")
    port = free_port()
    words = [
        Path(package.__file__).with_name("rotel-agent"), "start", "--otlp-http-endpoint", f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "otlp", "--otlp-exporter-protocol", "http",
        "--otlp-exporter-endpoint", target,
    ]  # fmt: skip
    # The collector needs the library of this Python, which may be outside the system's folders of libraries.
    folders = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")]
    environ = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environ) as process:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert process.poll() is None, "the collector has ended; its error output says why"
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.parametrize("through", [contextlib.nullcontext, collector], ids=["receiver", "collector"])
def test_otlp_carries_spans_and_metrics(receiver, through):
    with through(f"http://127.0.0.1:{receiver.server_port}") as address:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "NO_PROXY": "*"}
        subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, timeout=60)
    spans = [
        span for message in receiver.got if isinstance(message, ExportTraceServiceRequest)
        for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]  # fmt: skip
    call, attempt = sorted(spans, key=lambda span: span.kind)
    assert attempt.parent_span_id == call.span_id
    assert (call.name, attempt.kind) == ("chat m", 3)
    names = {
        metric.name for message in receiver.got if isinstance(message, ExportMetricsServiceRequest)
        for resource in message.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    }  # fmt: skip
    assert names == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}


def test_prometheus_reads_the_metrics_as_the_readme_says(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    guide = re.search(r"## Prometheus.*?```python\n(.*?)```", readme, re.DOTALL)[1]
    guide = guide.replace("start_http_server(9464", "server, _ = start_http_server(0")  # the number of a free port may be taken
    call = PROGRAM.partition("from providerhub import")[2].replace("provider.shutdown()", "").partition("provider = ")[0]
    hub = PROGRAM.partition("settings = ")[2].partition("provider.shutdown")[0]
    address = "f'http://127.0.0.1:{server.server_port}/metrics'"
    read = f"import urllib.request\nprint(urllib.request.urlopen({address}, timeout=30).read().decode())"
    code = f"{guide}\nfrom providerhub import{call}\nsettings = {hub}\n{read}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert re.search(r'gen_ai_client_operation_duration_seconds_count\{.*gen_ai_provider_name="echo".*\} 1', done.stdout)
    assert re.search(r'gen_ai_client_token_usage_sum\{.*gen_ai_token_type="input".*\} 3', done.stdout)
