"""The switches of the simulator; where sources contradict each other, the default follows the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

__all__ = ["Settings", "default_prices", "default_templates"]


def default_prices() -> dict[str, Decimal]:
    """Return the price of a delivered message on each channel, in EUR (contract 10)."""
    return {
        "sms": Decimal("0.0333"),
        "mms": Decimal("0.0120"),
        "whatsapp": Decimal("0.0625"),
        "viber_service_msg": Decimal("0.0200"),
        "messenger": Decimal("0.001"),
    }


def default_templates() -> dict[str, str]:
    """Return the patterns of the known WhatsApp templates (contract 7.1)."""
    pattern = "{{1}} code: {{2}}. Valid for {{3}} minutes."
    return {f"whatsapp:hsm:technology:{owner}:verify": pattern for owner in ("nexmo", "vonage")}


@dataclass(slots=True, kw_only=True)
class Settings:
    """Switches of a simulator, which may be changed while it runs.

    Attributes:
        accept_bare_step: Accept a body without `workflow` as one step; otherwise 400 (contract 9.1).
        accept_voice_application: Accept sends of an application with the capability voice; otherwise 403.
        accept_partial_update: Change an application without `name` and `type`; otherwise 400 (contract 4.3).
        accept_img: Accept `img` for `image`, as in a snippet of the provider; otherwise 400 (9.31).
        accept_any_number: Accept numbers of more than 15 digits or with a leading 0; otherwise 400 (3.3).
        accept_any_url: Accept any text as the URL of a medium; otherwise only http and https URLs.
        invalid_parameters: All violations as an array, or the first one as an object (contract 9.7).
        dispatch_link: Name of the link in `_links` of a message-status (contract 9.2).
        credential_error: A bad client as 401 with Apigee's body, or as 500 in KPN's envelope (contract 2.2).
        token_fault: A rejected token as 401 or as 500 (contract 2.3).
        quota_fault: Over quota as 429 or as 500 (contract 9.18).
        fault_form: The gateway's faults in Apigee's words, in KPN's envelope, or as XML (contract 2.3).
        not_entitled: Status for a project without access to the product, 401 or 403; None grants it (1.5).
        token_type: `Bearer`, or Apigee's own `BearerToken` (contract 2.1).
        oauth_fields: Token response as on newer pages, on older ones, or with JSON numbers (contract 2.1).
        sunset: Value of the `sunset` header (contract 1.4).
        sandbox: Whether the account is a sandbox account, which may not list applications (contract 1.5).
        token_lifetime: Lifetime of a token in seconds: virtual seconds when time moves with `advance()`, real
            seconds otherwise, since clients measure the lifetime by their own clock.
        quota_limit: Maximum number of calls in a virtual day.
        care_window: Reject free content on WhatsApp and Messenger outside of the 24 h after the customer's
            last message, as the service does (contract 7.1, 7.3); False accepts it at any time.
        most_replies: Maximum number of scripted replies with the same line from one person to one sender
            within 24 virtual hours, so that a receiver that answers every message terminates; None for no
            maximum.
        close_silent_after: Seconds after which a silent last step ends its workflow with `error`; never by
            default (contract 9.12).
        retry_policy: Retries of callbacks: the current policy, or that of 2020 (contract 5.10, 9.11).
        webhook_version: Statuses and inbound messages as in v0.1, or flat as in v1 (contract 5.8).
        v1_timestamps: Timestamps of v1 with milliseconds, or without a fraction (contract 5.7, 5.8).
        v1_workflow: How v1 spells the place in a workflow: `id, items_number, items_total` as the guide does,
            `workflow_id` in place of `id`, or `item_number` and `total_items` (contract 5.8).
        charge_sms_at: Status of an SMS or MMS that carries its price: `submitted` as on current pages, or
            `delivered` as in the captures; None for the first in v1 and the second in v0.1 (contract 6.1).
        viber_ttl: Status at the end of a Viber ttl: none, or `rejected` with 1360 (contract 6.1, 7.2).
        report_viber_as: Spelling of the channel in the final report; the specification misspells it (5.4).
        expiry_lag: Maximum delay of an expiry in seconds; the captures show 3 (contract 10.2).
        one_account: An application has one Viber, one Messenger and one WhatsApp account, the first that it
            sends from; a message from another one is rejected with 1120 (contract 7.5).
        resign_retries: Sign every attempt of a callback anew instead of repeating the first signature (9.26).
        prices: Price of a delivered message on each channel.
        workflow_fee: Price of a workflow on top of its messages.
        templates: WhatsApp templates whose parameters are checked, pattern by name; others are accepted.
        latency: Delay of every response in real seconds.
    """

    accept_bare_step: bool = False
    accept_voice_application: bool = False
    accept_partial_update: bool = False
    accept_img: bool = False
    accept_any_number: bool = False
    accept_any_url: bool = False
    invalid_parameters: Literal["array", "object"] = "array"
    dispatch_link: Literal["dispatch", "workflow"] = "dispatch"
    credential_error: Literal[401, 500] = 401
    token_fault: Literal[401, 500] = 401
    quota_fault: Literal[429, 500] = 429
    fault_form: Literal["apigee", "kpn", "xml"] = "apigee"
    not_entitled: Literal[401, 403] | None = None
    token_type: str = "Bearer"  # noqa: S105 - the type of a token, not a token
    oauth_fields: Literal["newer", "older", "typed"] = "newer"
    sunset: str = "n/a"
    sandbox: bool = False
    token_lifetime: int = 3599
    quota_limit: int = 1_000_000
    care_window: bool = True
    most_replies: int | None = 20
    close_silent_after: float | None = None
    retry_policy: Literal["current", "older"] = "current"
    webhook_version: Literal["v0.1", "v1"] = "v0.1"
    v1_timestamps: Literal["milliseconds", "seconds"] = "milliseconds"
    v1_workflow: Literal["id", "workflow_id", "item_number"] = "id"
    charge_sms_at: Literal["submitted", "delivered"] | None = None
    viber_ttl: Literal["silence", "rejected"] = "silence"
    report_viber_as: Literal["viber_service_msg", "viber_sevice_msg"] = "viber_service_msg"
    expiry_lag: float = 0.0
    one_account: bool = True
    resign_retries: bool = False
    prices: dict[str, Decimal] = field(default_factory=default_prices)
    workflow_fee: Decimal = Decimal("0.002")
    templates: dict[str, str] = field(default_factory=default_templates)
    latency: float = 0.0
