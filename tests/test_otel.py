"""Spans and metrics after OpenTelemetry's HTTP client conventions, and nothing personal in them."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIError, OutcomeUnknownError
from nexmo_dispatch_async.otel import OpenTelemetry
from nexmo_dispatch_async.workflow import Workflow
from tests.support.log_guard import PATTERN, SECRETS, private_values
from tests.support.misbehaving import ACCEPTED, RawServer, answering, close_after_body, reply


class Telemetry:
    """An SDK that keeps everything in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        ticks = iter(range(1000))
        self.middleware = OpenTelemetry(
            tracer_provider=tracers,
            meter_provider=MeterProvider([self.reader], shutdown_on_exit=False),
            clock=lambda: next(ticks) / 4,
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def points(self) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        ((metric,),) = [scope.metrics for scope in scopes]
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return list(metric.data.data_points)


def client_of(server: RawServer, telemetry: Telemetry, **settings: Any) -> DispatchClient:
    async def no_sleep(_seconds: float) -> None: ...

    settings.setdefault("auth", BearerToken("secret-token"))
    settings.setdefault("base_url", server.base_url)
    middleware = [telemetry.middleware]
    return DispatchClient(application_id="a", middleware=middleware, sleep=no_sleep, **settings)


async def test_spans_of_a_send(workflow: Workflow) -> None:
    telemetry = Telemetry()
    async with RawServer(answering(reply(429), reply(202, ACCEPTED))) as server:
        oauth = KpnOAuth("id", "client-secret", server.token_url)
        async with client_of(server, telemetry, auth=oauth) as client:
            await client.send(workflow)

    token, limited, accepted, call = telemetry.spans
    where = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "url.scheme": "http",
        "url.template": "/dispatch",
    }
    assert [span.name for span in telemetry.spans] == [
        "POST /oauth/client_credential/accesstoken",
        "POST /dispatch",
        "POST /dispatch",
        "dispatch.call",
    ]
    assert limited.attributes == {**where, "http.response.status_code": 429, "error.type": "429"}
    assert accepted.attributes == {
        **where,
        "http.response.status_code": 202,
        "http.request.resend_count": 1,
    }
    assert call.attributes == {"http.request.method": "POST", "url.template": "/dispatch"}
    assert [span.kind for span in telemetry.spans] == [SpanKind.CLIENT] * 3 + [SpanKind.INTERNAL]
    assert [span.status.status_code for span in (limited, accepted, call)] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
        StatusCode.UNSET,
    ]
    assert call.context is not None
    parents = {span.parent.span_id for span in (token, limited, accepted) if span.parent is not None}
    assert parents == {call.context.span_id}


async def test_a_failure_has_its_type_and_no_text(workflow: Workflow) -> None:
    telemetry = Telemetry()
    async with RawServer(close_after_body) as server, client_of(server, telemetry) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow)

    attempt, call = telemetry.spans
    for span in (attempt, call):
        assert span.attributes is not None
        assert span.attributes["error.type"] == "OutcomeUnknownError"
        assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert call.attributes is not None
    assert call.attributes["dispatch.outcome"] == "unknown"
    assert call.attributes["dispatch.attempts"] == 1


async def test_durations_of_the_attempts(workflow: Workflow) -> None:
    """One histogram; answers and failures apart by their attributes, as the conventions want it."""
    telemetry = Telemetry()
    async with RawServer(answering(reply(202, ACCEPTED))) as server, client_of(server, telemetry) as client:
        await client.send(workflow)
        await client.send(workflow)
        server.handler = close_after_body
        with pytest.raises(OutcomeUnknownError):
            await client.send(workflow)

    accepted, broken = telemetry.points
    assert (accepted.count, accepted.sum) == (2, 0.5)
    assert accepted.explicit_bounds[:3] == (0.005, 0.01, 0.025)
    assert accepted.attributes["http.response.status_code"] == 202
    assert broken.attributes["error.type"] == "OutcomeUnknownError"
    assert set(broken.attributes) == {
        "error.type",
        "http.request.method",
        "server.address",
        "server.port",
        "url.scheme",
        "url.template",
    }


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
@pytest.mark.parametrize(("base_url", "port"), [("https://h.example/x", 443), ("http://h.example/x", 80)])
async def test_the_usual_ports(workflow: Workflow, base_url: str, port: int, monkeypatch: Any) -> None:
    import aiohttp

    async def refused(*_args: Any, **_kwargs: Any) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refused)
    telemetry = Telemetry()
    async with RawServer() as server, client_of(server, telemetry, base_url=base_url) as client:
        with pytest.raises(APIError):
            await client.send(workflow)

    assert telemetry.spans[0].attributes is not None
    assert telemetry.spans[0].attributes["server.port"] == port


async def test_an_exception_that_is_not_ours_ends_the_span(workflow: Workflow) -> None:
    telemetry = Telemetry()

    async def broken(_request: Any) -> None:
        raise LookupError("447700900123")

    with pytest.raises(LookupError):
        await telemetry.middleware.call(_request(workflow), broken)

    (span,) = telemetry.spans
    assert span.attributes is not None
    assert span.attributes["error.type"] == "LookupError"
    assert span.events == ()


def _request(workflow: Workflow) -> Any:
    from nexmo_dispatch_async.sansio import dispatch_request

    return dispatch_request("https://h", {}, workflow.to_json())


async def test_nothing_personal_in_all_of_it(workflow: Workflow) -> None:
    """Not even when the service repeats what it was sent, and with ids in the address."""
    telemetry = Telemetry()
    echo = {"title": "no", "type": "x#y", "detail": workflow.to_json().decode()}
    async with RawServer(answering(reply(400, echo))) as server, client_of(server, telemetry) as client:
        with pytest.raises(APIError):
            await client.send(workflow)
        with pytest.raises(APIError):
            await client.applications.get("7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11")

    said = "".join(span.to_json() or "" for span in telemetry.spans)
    said += "".join(str(point.attributes) for point in telemetry.points)
    assert "7d1c2f6a" not in said
    assert '"/applications/{id}"' in said
    assert [each for each in (*SECRETS, *private_values()) if each in said] == []
    assert PATTERN.findall(said) == []
