"""The applications of the account: webhook URLs, paging, and response bodies (contract 4).

It handles JSON values, not HTTP: the service maps requests to these calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.steps import is_http
from nexmo_dispatch_async.simulator.world.violations import InvalidBody, Violation

__all__ = ["SimulatedApplication", "SimulatedApplications"]

_WEBHOOKS: Final[dict[str, dict[str, str]]] = {
    "messages": {"status": "POST", "inbound": "POST"},
    "voice": {"answer": "GET", "event": "POST"},
}
# KPN's definition of voice spells the type `message` (contract 4.1).
_TYPES: Final = {"messages": "messages", "message": "messages", "voice": "voice"}


@dataclass(slots=True)
class SimulatedApplication:
    """One application; an empty URL receives no callbacks."""

    id: str
    name: str
    type: str
    urls: dict[str, str] = field(default_factory=dict[str, str])
    methods: dict[str, str] = field(default_factory=dict[str, str])
    #: the only sender on each channel: the first one used (contract 7.5)
    accounts: dict[str, str] = field(default_factory=dict[str, str])
    public_key: str = ""
    version: str = "v0.1"

    def __post_init__(self) -> None:
        self.public_key = self.public_key or f"SIMULATED PUBLIC KEY {self.id}"

    @property
    def status_url(self) -> str:
        """URL of message-status and final-report callbacks."""
        return self.urls.get("status", "")

    @property
    def inbound_url(self) -> str:
        """URL of inbound-message callbacks."""
        return self.urls.get("inbound", "")

    def hooks(self) -> dict[str, list[tuple[str, str, str]]]:
        """Return name, URL and method of the webhooks by capability."""
        return {
            capability: [
                (hook, self.urls[hook], self.methods.get(hook, default))
                for hook, default in hooks.items()
                if hook in self.urls
            ]
            for capability, hooks in _WEBHOOKS.items()
            if any(hook in self.urls for hook in hooks)
        }

    def body(self, *, private_key: str | None = None) -> dict[str, object]:
        """Return the v1-shaped object; the private key is shown only at creation (contract 4.3)."""
        body: dict[str, object] = {"id": self.id, "name": self.name}
        for capability, hooks in self.hooks().items():
            body[capability] = {
                "webhooks": [
                    {"endpoint_type": f"{hook}_url", "endpoint": url, "http_method": method}
                    for hook, url, method in hooks
                ]
            }
        keys = {"public_key": self.public_key}
        if private_key is not None:
            keys["private_key"] = private_key
        body["keys"] = keys
        body["_links"] = {"self": {"href": f"/v1/applications/{self.id}"}}
        return body


class SimulatedApplications:
    """All applications, in order of creation."""

    def __init__(self, random: SeededRandom) -> None:
        self._random = random
        self._by_id: dict[str, SimulatedApplication] = {}
        self._created = 0
        #: incremented when an application is created, changed or deleted
        self.changes: int = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[SimulatedApplication]:
        return iter(self._by_id.values())

    def get(self, uuid: str) -> SimulatedApplication | None:
        """Return an application; ids are case-insensitive (contract 5.11)."""
        return self._by_id.get(uuid.strip().lower())

    def add(self, name: str, kind: str = "messages", **urls: str) -> SimulatedApplication:
        """Create an application without the validation of the API: `status="http://…"`, `inbound=…`."""
        self._created += 1
        application = SimulatedApplication(
            self._random.uuid(f"application/{self._created}"), name, kind, urls
        )
        self.restore(application)
        return application

    def restore(self, application: SimulatedApplication) -> None:
        """Add an application that an earlier simulator created."""
        self._by_id[application.id] = application
        self.changes += 1

    def create(self, fields: Mapping[str, object]) -> SimulatedApplication:
        """Create an application from the fields of a request.

        Raises:
            InvalidBody: Fields are missing or wrong; all violations are listed.
        """
        found: list[Violation] = []
        kind = _TYPES.get(str(fields.get("type")))
        if kind is None:
            found.append(Violation("type", "must be messages or voice"))
        name = fields.get("name")
        if not isinstance(name, str) or not name.strip():
            found.append(Violation("name", "is required"))
        required = () if kind is None else tuple(f"{hook}_url" for hook in _WEBHOOKS[kind])
        found.extend(Violation(key, "is required") for key in required if fields.get(key) is None)
        urls, methods = _webhooks(fields, found)
        if found or kind is None:
            raise InvalidBody(found)
        application = self.add(str(name), kind, **urls)
        application.methods.update(methods)
        application.public_key = str(fields.get("public_key") or application.public_key)
        application.version = str(fields.get("version") or application.version)
        return application

    def update(
        self, application: SimulatedApplication, fields: Mapping[str, object], *, partial: bool = False
    ) -> None:
        """Change the fields that a request contains; the type cannot be changed (contract 4.2).

        Args:
            application: The application.
            fields: The fields of the request.
            partial: Accept a request without `name` and `type`, which the API requires (contract 4.3).

        Raises:
            InvalidBody: A field is missing or wrong; nothing was changed.
        """
        found: list[Violation] = []
        if not partial:
            found.extend(Violation(key, "is required") for key in ("name", "type") if fields.get(key) is None)
        if fields.get("type") is not None and _TYPES.get(str(fields["type"])) != application.type:
            found.append(Violation("type", "cannot be changed"))
        name = fields.get("name")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            found.append(Violation("name", "must be a string"))
        urls, methods = _webhooks(fields, found)
        if found:
            raise InvalidBody(found)
        self.changes += 1
        application.name = application.name if name is None else str(name)
        application.urls.update(urls)
        application.methods.update(methods)

    def delete(self, application: SimulatedApplication) -> None:
        """Delete an application; its callbacks are no longer delivered."""
        self._by_id.pop(application.id, None)
        self.changes += 1

    def page(self, page_index: object, page_size: object) -> dict[str, object]:
        """Return a page of the list (contract 4.3, 4.4).

        Raises:
            InvalidBody: The index or the size is not a number in its range.
        """
        found: list[Violation] = []
        index = _number(page_index, 0)
        size = _number(page_size, 10)
        if index is None or index < 0:
            found.append(Violation("page_index", "must be a number from 0"))
        if size is None or not 1 <= size <= 100:
            found.append(Violation("page_size", "must be between 1 and 100"))
        if index is None or size is None or found:
            raise InvalidBody(found)
        applications = list(self._by_id.values())
        last = max(0, (len(applications) - 1) // size)
        places = {"self": index, "first": 0, "last": last}
        if index < last:
            places["next"] = index + 1
        if index > 0:
            places["prev"] = index - 1
        return {
            "count": len(applications),
            "page_size": size,
            "page_index": index,
            "_embedded": {
                "applications": [a.body() for a in applications[index * size : (index + 1) * size]]
            },
            "_links": {
                name: {"href": f"/v1/applications?page_size={size}&page_index={place}"}
                for name, place in places.items()
            },
        }


def _webhooks(fields: Mapping[str, object], found: list[Violation]) -> tuple[dict[str, str], dict[str, str]]:
    urls: dict[str, str] = {}
    methods: dict[str, str] = {}
    for hooks in _WEBHOOKS.values():
        for hook in hooks:
            url, method = fields.get(f"{hook}_url"), fields.get(f"{hook}_method")
            if url is not None:
                if isinstance(url, str) and is_http(url):
                    urls[hook] = url
                else:
                    found.append(Violation(f"{hook}_url", "must be an http or https URL"))
            if method is not None:
                if method in ("GET", "POST", "PUT"):
                    methods[hook] = str(method)
                else:
                    found.append(Violation(f"{hook}_method", "must be GET, POST or PUT"))
    return urls, methods


def _number(value: object, default: int) -> int | None:
    if value is None:
        return default
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
