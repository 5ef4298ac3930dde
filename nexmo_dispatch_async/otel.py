"""OpenTelemetry middleware for the client: spans and metrics following the HTTP client semantic conventions.

The module needs the `otel` extra (`opentelemetry-api`). It exports nothing itself: the application sets up
an SDK for that. No personal data and no ids are recorded: a URL is recorded as its template.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.sansio import Request, Response

__all__ = ["OpenTelemetry"]

T = TypeVar("T")

# The recommended buckets of http.client.request.duration.
_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


class OpenTelemetry(Middleware):
    """Records a span per call, a child span per attempt, and the duration of each attempt as a metric.

    The span of an attempt has the kind CLIENT and a name such as `POST /dispatch`. The span of a call has the
    kind INTERNAL and the name `dispatch.call`; it covers the waits for a slot, for a token and between
    attempts.

    Args:
        tracer_provider: Tracer provider; the global provider if omitted.
        meter_provider: Meter provider; the global provider if omitted.
        clock: Returns monotonic seconds.

    Example:
        from nexmo_dispatch_async.otel import OpenTelemetry
        client = DispatchClient(auth=…, application_id=…, middleware=[OpenTelemetry()])
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        scope = "nexmo_dispatch_async"
        self._tracer = trace.get_tracer(scope, __version__, tracer_provider)
        meter = metrics.get_meter(scope, __version__, meter_provider)
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._clock = clock

    async def call(self, request: Request, proceed: Callable[[Request], Awaitable[T]]) -> T:
        """Record a span around a call."""
        attributes: dict[str, AttributeValue] = {
            "http.request.method": request.method,
            "url.template": request.template,
        }
        with self._tracer.start_as_current_span(
            "dispatch.call", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await proceed(request)
            except APIError as error:
                span.set_attribute("dispatch.outcome", error.outcome)
                span.set_attribute("dispatch.attempts", error.attempts)
                _failed(span, type(error).__name__)
                raise
            except (Exception, asyncio.CancelledError) as error:
                _failed(span, type(error).__name__)
                raise

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        """Record a span around an attempt, and its duration."""
        request = attempt.request
        where = urlsplit(request.url)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": request.method,
            "server.address": where.hostname or "",
            "server.port": where.port or (443 if where.scheme == "https" else 80),
            "url.scheme": where.scheme,
            "url.template": request.template,
        }
        more = {"http.request.resend_count": attempt.number - 1} if attempt.number > 1 else {}
        began = self._clock()
        with self._tracer.start_as_current_span(
            request.summary,
            kind=SpanKind.CLIENT,
            attributes={**attributes, **more},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await proceed(attempt)
            except (Exception, asyncio.CancelledError) as error:
                attributes["error.type"] = type(error).__name__
                _failed(span, type(error).__name__)
                raise
            else:
                attributes["http.response.status_code"] = response.status
                span.set_attribute("http.response.status_code", response.status)
                if response.status >= 400:
                    attributes["error.type"] = str(response.status)
                    _failed(span, str(response.status))
                return response
            finally:
                self._durations.record(self._clock() - began, attributes)


def _failed(span: Span, kind: str) -> None:
    # No description and no recorded exception: a trace must not contain texts of the service.
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
