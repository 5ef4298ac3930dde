"""The five application calls (contract 4): `client.applications`.

The client makes the requests, with its retries and errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from msgspec import UNSET, UnsetType

from nexmo_dispatch_async.auth import header_text
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.event_loop import Unpicklable
from nexmo_dispatch_async.exceptions import BadRequestError, ConfigurationError, NotFoundError
from nexmo_dispatch_async.models.responses import Application, ApplicationPage
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import (
    Request,
    Response,
    application_request,
    decipher_application,
    decipher_nothing,
    decipher_page,
    observed,
)
from nexmo_dispatch_async.urls import check_plain_http
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Applications"]

T = TypeVar("T")


class _Caller(Protocol):
    """The part of `DispatchClient` that the application calls use; `client` is a higher layer."""

    async def call(
        self,
        request: Request,
        decode: Callable[[Response], T],
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - per attempt, see `DispatchClient.send()`
    ) -> T: ...


class Applications(Unpicklable):
    """The application calls of a client. Applications own the callback URLs of workflows.

    Args:
        client: The client.
        base_url: Base URL of the service.
        path: Path below the base URL. A path with the segment `v2` gets the v2 forms of contract 4.1.
        retry: Retry policy; None for that of the client.
        timeout: Timeout; None for that of the client.
        on_response: Called with each successful response before it is decoded.
    """

    __slots__ = ("_base_url", "_client", "_on_response", "_path", "_retry", "_timeout", "_v2")

    def __init__(
        self,
        client: _Caller,
        base_url: str,
        path: str = "/applications",
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        on_response: Callable[[Response], object] | None = None,
    ) -> None:
        self._client = client
        self._base_url = base_url
        self._retry = retry
        self._timeout = timeout
        self._on_response = on_response
        self._path = "/" + path.strip("/")
        self._v2 = "v2" in self._path.split("/")

    @shows_unfinished
    def __repr__(self) -> str:
        return f"Applications({self._path!r})"

    def using(
        self,
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeout | None = None,
        on_response: Callable[[Response], object] | None = None,
    ) -> Applications:
        """Return the same calls with other settings: `applications.using(timeout=…).get(id)`.

        Omitted settings stay as they are, so `using(…).using(…)` combines both.

        Args:
            retry: Retry policy.
            timeout: Timeout of one attempt.
            on_response: Called with each successful response, such as `responses.append`.
        """
        return Applications(
            self._client,
            self._base_url,
            self._path,
            retry=self._retry if retry is None else retry,
            timeout=self._timeout if timeout is None else timeout,
            on_response=self._on_response if on_response is None else on_response,
        )

    async def _call(self, request: Request, decode: Callable[[Response], T]) -> T:
        decode = observed(decode, self._on_response)
        return await self._client.call(request, decode, retry=self._retry, timeout=self._timeout)

    async def create(
        self,
        *,
        name: str,
        status_url: str | UnsetType = UNSET,
        inbound_url: str | UnsetType = UNSET,
        type: str = "messages",  # noqa: A002 - the API's own name
        status_method: str | UnsetType = UNSET,
        inbound_method: str | UnsetType = UNSET,
        public_key: str | UnsetType = UNSET,
        encoding: Literal["json", "form"] = "json",
    ) -> Application:
        """Create an application (contract 4.1, 4.2).

        The response contains the private key, if the service made one; it is never sent again.

        Args:
            name: A friendly name.
            status_url: URL of message statuses and final reports.
            inbound_url: URL of inbound messages.
            type: `messages` for Dispatch.
            status_method: HTTP method of the status callback.
            inbound_method: HTTP method of the inbound callback.
            public_key: PEM text of your own public key; if omitted, the service makes a key pair.
            encoding: Encoding of the fields; the sources disagree (contract 9.8).

        Raises:
            ConfigurationError: A field is no text, holds half a surrogate pair or a NUL character, or has no
                form on the v2 path.
            APIError: One of its subclasses.
        """
        fields = _given(
            name=name,
            type=type,
            status_url=status_url,
            status_method=status_method,
            inbound_url=inbound_url,
            inbound_method=inbound_method,
            public_key=public_key,
        )
        if self._v2:
            fields = _as_v2(fields)
            if encoding != "json":
                raise ConfigurationError("the v2 form of an application nests: it only travels as JSON")
        request = application_request("POST", self._base_url, self._path, fields=fields, encoding=encoding)
        return await self._call(request, decipher_application)

    async def get(self, application_id: str | UUID) -> Application:
        """Read one application.

        Raises:
            NotFoundError: No application has this id.
            APIError: One of its other subclasses.
        """
        request = application_request("GET", self._base_url, self._path, _checked(application_id))
        return await self._call(request, decipher_application)

    async def update(
        self,
        application_id: str | UUID,
        *,
        name: str | UnsetType = UNSET,
        type: str | UnsetType = UNSET,  # noqa: A002 - the API's own name
        status_url: str | UnsetType = UNSET,
        status_method: str | UnsetType = UNSET,
        inbound_url: str | UnsetType = UNSET,
        inbound_method: str | UnsetType = UNSET,
        answer_url: str | UnsetType = UNSET,
        answer_method: str | UnsetType = UNSET,
        event_url: str | UnsetType = UNSET,
        event_method: str | UnsetType = UNSET,
        public_key: str | UnsetType = UNSET,
        encoding: Literal["json", "query"] = "json",
    ) -> Application:
        """Update an application; only the given fields are sent.

        Always give `name` and `type`, which the service requires, and every field that must stay: it is not
        documented whether omitted fields stay (contract 4.3). The sources also disagree on the encoding of
        the fields (contract 4.1, 9.8). KPN's page names `answer_url`, `event_url` and their methods, which
        belong to its Voice product; Dispatch needs `status_url` and `inbound_url`.

        Raises:
            ConfigurationError: Nothing to change was given, or a field is refused as by `create`.
            NotFoundError: No application has this id.
            APIError: One of its other subclasses.
        """
        fields = _given(
            name=name,
            type=type,
            status_url=status_url,
            status_method=status_method,
            inbound_url=inbound_url,
            inbound_method=inbound_method,
            answer_url=answer_url,
            answer_method=answer_method,
            event_url=event_url,
            event_method=event_method,
            public_key=public_key,
        )
        if not fields:
            raise ConfigurationError("update() was given nothing to change")
        if self._v2 and encoding == "json":
            fields = _as_v2(fields)
        request = application_request(
            "PUT", self._base_url, self._path, _checked(application_id), fields=fields, encoding=encoding
        )
        return await self._call(request, decipher_application)

    async def delete(self, application_id: str | UUID) -> None:
        """Delete an application; a deletion cannot be undone.

        Queued callbacks of the application may still arrive; stop sending 24 hours before (contract 4.4).

        Raises:
            NotFoundError: No application has this id.
            APIError: One of its other subclasses.
        """
        request = application_request("DELETE", self._base_url, self._path, _checked(application_id))
        await self._call(request, decipher_nothing)

    async def list(self, *, page_index: int | None = None, page_size: int | None = None) -> ApplicationPage:
        """Read one page of applications.

        Args:
            page_index: Index of the page: from 0 by the contract, from 1 on the v2 path; the first if
                omitted.
            page_size: Applications per page, from 1 to 100; the service's default (10) if omitted.

        Raises:
            ConfigurationError: `page_size` is out of range.
            PermissionDeniedError: Sandbox accounts may not list (contract 1.5).
            APIError: One of its other subclasses.
        """
        if page_size is not None and not 1 <= page_size <= 100:
            raise ConfigurationError(f"page_size must be from 1 to 100, not {page_size!r}")
        query: dict[str, Any] = {}
        if page_index is not None:
            query["page" if self._v2 else "page_index"] = page_index
        if page_size is not None:
            query["page_size"] = page_size
        request = application_request("GET", self._base_url, self._path, fields=query, encoding="query")
        return await self._call(request, decipher_page)

    async def iterate(self, *, page_size: int = 100) -> AsyncIterator[Application]:
        """Iterate over all applications, page by page, each application once.

        Services count pages from 0 or from 1 and name the index in three ways (contract 4.3). The responses
        decide: if the service calls page 0 page 1, page 2 is requested next; if it has no page 0, or an empty
        one although there are applications, page 1 is requested; a page without new applications ends the
        iteration, except right after the first page, where it may be the first page under another number.

        Raises:
            PermissionDeniedError: Sandbox accounts may not list (contract 1.5).
            APIError: One of its other subclasses.
        """
        first = index = 1 if self._v2 else 0
        seen: set[str] = set()
        while True:
            try:
                page = await self.list(page_index=index, page_size=page_size)
            except (BadRequestError, NotFoundError):
                if index != 0:
                    raise
                first = index = 1  # a service that counts from 1 and refuses 0
                continue
            if index == 0 and not page.applications and page.total:
                first = index = 1  # a service that counts from 1 without checking it
                continue
            new = [application for application in page.applications if application.id not in seen]
            for application in new:
                seen.add(application.id)
                yield application
            short = page.size is not None and len(page.applications) < page.size
            complete = page.total is None or len(seen) >= page.total
            if not page.applications or (not new and index != first + 1) or (short and complete):
                return
            # Page 0 was requested, and the response calls it page 1: the service counts from 1.
            index += 2 if index == 0 and page.index == 1 else 1


def _given(**fields: str | UnsetType) -> dict[str, Any]:
    given: dict[str, object] = {name: value for name, value in fields.items() if value is not UNSET}
    for name, value in given.items():
        if value is None:
            raise ConfigurationError(f"{name}=None: omit it if it is not to be sent")
        checks.texts(**{name: value})
        if name.endswith("_url") and isinstance(value, str):
            check_plain_http(name, value, "callbacks, with numbers and texts,")
    return given


def _as_v2(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested form of contract 4.1, in which the methods of webhooks are required.

    Raises:
        ConfigurationError: A field has no place in this form, such as those of voice.
    """
    remaining = dict(fields)
    kind = remaining.pop("type", "messages")
    webhooks = {
        name: {
            "address": remaining.pop(name),
            "http_method": remaining.pop(name.replace("_url", "_method"), "POST"),
        }
        for name in ("inbound_url", "status_url")
        if name in remaining
    }
    nested: dict[str, Any] = {"name": remaining.pop("name")} if "name" in remaining else {}
    if "public_key" in remaining:
        nested["keys"] = {"public_key": remaining.pop("public_key")}
    if webhooks:
        nested["capabilities"] = {"messages": {"version": "v0.1", "webhooks": webhooks}}
    if kind not in ("messages", "message"):
        raise ConfigurationError(
            "the v2 form of an application has no type: every application is one of messages"
        )
    for name in remaining:
        cure = f"give {name.replace('_method', '_url')} with it" if name in _METHODS else "leave it out"
        raise ConfigurationError(f"{name} has no place of its own in the v2 form of an application: {cure}")
    if not nested:
        raise ConfigurationError("update() was given nothing to change: type cannot be changed")
    return nested


_METHODS = ("status_method", "inbound_method")


def _checked(application_id: str | UUID) -> str:
    """Return the id as part of a path.

    Raises:
        ConfigurationError: The value is no id, or would change the path.
    """
    checked = header_text("application_id", application_id)
    if checked in (".", ".."):
        raise ConfigurationError("application_id is no id but a way to another resource")
    return checked
