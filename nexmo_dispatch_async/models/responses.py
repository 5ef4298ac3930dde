"""The responses of the service: a dispatch, an application, a page of applications (contract 3.7, 4.3).

Applications are normalised here from every shape met; what an HTTP status means is for `sansio` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_core.lenient import text_or_empty, to_list, to_object

if TYPE_CHECKING:
    from nexmo_dispatch_async.models.results import WorkflowResult

__all__ = ["Application", "ApplicationPage", "Dispatch", "application_of", "embedded_of"]


class _Accepted(msgspec.Struct, frozen=True):
    dispatch_uuid: str


class Dispatch(AsShown, _Accepted, frozen=True, kw_only=True):
    """A workflow that the service accepted.

    Attributes:
        dispatch_uuid: The id that callbacks and the final report carry; opaque (contract 9.25).
        client_refs: The references that its steps were sent with, each once, in the order of the steps.
    """

    client_refs: tuple[str, ...] = ()

    @property
    def client_ref(self) -> str | None:
        """The first `client_ref` of the steps; that of all steps if the client generated it."""
        return self.client_refs[0] if self.client_refs else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dispatch_uuid={self.dispatch_uuid!r})"

    async def wait(
        self,
        status: Literal["delivered", "read"] | None = None,
        *,
        timeout: float | timedelta | None,  # noqa: ASYNC109 - see FollowedDispatch
        late: bool = False,
    ) -> WorkflowResult:
        """Wait for the end of the workflow, or for a status: see `FollowedDispatch.wait`.

        Raises:
            ConfigurationError: The client that sent it has no tracker.
        """
        raise _not_followed()

    async def result(self) -> WorkflowResult:
        """Return the current result: see `FollowedDispatch.result`.

        Raises:
            ConfigurationError: The client that sent it has no tracker.
        """
        raise _not_followed()


def _not_followed() -> ConfigurationError:
    return ConfigurationError("this workflow is not followed: DispatchClient(tracker=Tracker(…))")


class Application(AsShown, msgspec.Struct, frozen=True):
    """An application: the sender of workflows and the owner of the two callback URLs.

    The fields are the same for every shape of the response (contract 4.3). Missing fields are empty.

    Attributes:
        id: The uuid that goes into the `ApplicationId` header.
        name: A friendly name, not unique.
        type: `messages` for Dispatch, `voice` for voice.
        status_url: Receives message statuses and final reports.
        status_method: HTTP method of that call.
        inbound_url: Receives inbound messages.
        inbound_method: HTTP method of that call.
        public_key: PEM text.
        private_key: PEM text; only in the response to `create`. Not in `repr`.
        links: URL by relation, from `_links`.
        raw: The object as received.
    """

    id: str
    name: str = ""
    type: str = ""
    status_url: str = ""
    status_method: str = ""
    inbound_url: str = ""
    inbound_method: str = ""
    public_key: str = ""
    private_key: str = ""
    links: Mapping[str, str] = {}
    raw: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Application(id={self.id!r}, name={self.name!r}, type={self.type!r})"


class ApplicationPage(AsShown, msgspec.Struct, frozen=True):
    """One page of applications.

    Attributes:
        applications: The applications of this page.
        index: Index of the page, from `page_index`, `record_index` or `page`.
        size: Size of the page, if the service sent it.
        total: Number of all applications, if the service sent it.
        raw: The object as received.
    """

    applications: tuple[Application, ...]
    index: int | None = None
    size: int | None = None
    total: int | None = None
    raw: Mapping[str, Any] = {}

    def __len__(self) -> int:
        return len(self.applications)

    def __iter__(self) -> Iterator[Application]:
        return iter(self.applications)

    def __repr__(self) -> str:
        return (
            f"ApplicationPage({len(self.applications)} applications, index={self.index}, total={self.total})"
        )


def embedded_of(fields: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the objects under `_embedded.applications`, or `None` if there is no such member."""
    items = to_object(fields.get("_embedded")).get("applications")
    if items is None:
        return None
    return [item for item in map(to_object, to_list(items)) if item]


def application_of(raw: dict[str, Any]) -> Application:
    """Return the application in `raw`, in any of its shapes; `id` is empty if there is none."""
    webhooks = _webhooks(raw)
    keys = to_object(raw.get("keys"))
    links = to_object(raw.get("_links"))
    kind = text_or_empty(raw.get("type"))
    if kind == "message":
        kind = "messages"  # the singular is K-voice's spelling (contract 4.1)
    if not kind:
        voice = raw.get("voice") or to_object(raw.get("capabilities")).get("voice")
        kind = "messages" if webhooks else "voice" if voice else ""
    status_url, status_method = webhooks.get("status_url", ("", ""))
    inbound_url, inbound_method = webhooks.get("inbound_url", ("", ""))
    return Application(
        id=text_or_empty(raw.get("id")) or text_or_empty(raw.get("uuid")),
        name=text_or_empty(raw.get("name")),
        type=kind,
        status_url=status_url,
        status_method=status_method,
        inbound_url=inbound_url,
        inbound_method=inbound_method,
        public_key=text_or_empty(keys.get("public_key")),
        private_key=text_or_empty(keys.get("private_key")),
        links={name: text_or_empty(to_object(link).get("href")) for name, link in links.items()},
        raw=raw,
    )


def _webhooks(raw: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return URL and method by endpoint type, from the v1 list, the v2 object or flat members."""
    found: dict[str, tuple[str, str]] = {}
    for name in ("status_url", "inbound_url"):
        if address := text_or_empty(raw.get(name)):
            found[name] = address, text_or_empty(raw.get(name.replace("_url", "_method")))
    for block in (
        to_object(to_object(raw.get("capabilities")).get("messages")),
        to_object(raw.get("messages")),
    ):
        webhooks = block.get("webhooks")
        for entry in map(to_object, to_list(webhooks)):
            # K-voice's schema misspells the name (contract 4.3).
            if name := text_or_empty(entry.get("endpoint_type")) or text_or_empty(entry.get("enpoint_type")):
                found[name] = text_or_empty(entry.get("endpoint")), text_or_empty(entry.get("http_method"))
        for name, value in to_object(webhooks).items():
            entry = to_object(value)
            if address := text_or_empty(entry.get("address")):
                found[name] = address, text_or_empty(entry.get("http_method"))
    return found
