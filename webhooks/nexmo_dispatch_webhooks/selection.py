"""Which handlers an event reaches: the plan of a frozen router, and the scope of included routers.

It runs filters and calls nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from nexmo_dispatch_webhooks.events import Event, Kind
from nexmo_dispatch_webhooks.exceptions import RouterError
from nexmo_dispatch_webhooks.injection import Call, Context
from nexmo_dispatch_webhooks.routes import EventCondition, Route

__all__ = ["Plan", "PlanEntry", "Scope", "Selected"]


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """A handler that an event reaches; `error` is the exception of its filter."""

    route: Route
    #: A name that no other handler of the tree has, the same after a restart of the same program.
    key: str
    #: Calls the handler through its middlewares; what it raises comes through.
    run: Call
    #: Whether the handler, or a middleware, gets the context.
    takes_context: bool
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What an included router takes: callbacks below a path, or of one account, or all."""

    #: The path with a slash in front, empty for any.
    prefix: str = ""
    account: str | None = None

    @classmethod
    def of(cls, prefix: str, account: object) -> Self:
        """Return the scope of `include_router`.

        Raises:
            RouterError: *account* is no text or empty.
        """
        if account is not None and not (isinstance(account, str) and account):
            raise RouterError(f"account must be the api_key of a signature, as text, not {account!r}")
        return cls("/" + prefix.strip("/") if prefix.strip("/") else "", account)

    def rest(self, context: Context, path: str) -> str | None:
        """Return the path below the prefix, None for what the scope does not take."""
        if self.account is not None and (context.claims is None or context.claims.api_key != self.account):
            return None
        if not self.prefix:
            return path
        whole = "/" + path.strip("/")
        return whole[len(self.prefix) :] if (whole + "/").startswith(self.prefix + "/") else None


#: A handler with its conditions, or the plan of an included router with its scope.
PlanEntry = tuple[tuple[EventCondition[Any], ...], Selected | None, "tuple[Plan, Scope] | None"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The routes of a router by kind of event, ready to run."""

    by_kind: dict[Kind, list[PlanEntry]]
    fallbacks: list[Selected]

    def select(self, event: Event, context: Context, path: str) -> list[Selected]:
        """Return the handlers that an event reaches, in order.

        Args:
            event: The event.
            context: The facts about its delivery.
            path: The rest of the path of `context`, below the prefixes so far.
        """
        found: list[Selected] = []
        for conditions, selected, branch in self.by_kind[event.kind]:
            if selected is None:
                if branch is not None and (rest := branch[1].rest(context, path)) is not None:
                    found += branch[0].select(event, context, rest)
                continue
            try:
                for condition in conditions:
                    if not condition(event):
                        break
                else:
                    found.append(selected)
            except Exception as error:  # noqa: BLE001 - a filter of the application may raise anything
                found.append(replace(selected, error=error))
        return found or self.fallbacks
