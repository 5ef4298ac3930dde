"""The bytes of callbacks, their signatures, and when a failed one is tried again (contract 5)."""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest

from nexmo_dispatch_async.simulator.callbacks.bodies import (
    Answer,
    Callback,
    Signer,
    final_report_body,
    inbound_body,
    retry_delay,
    status_body,
    timestamp,
)
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from tests.simulator.support import EPOCH

WEBHOOKS = Path(__file__).parents[2] / "data" / "payloads" / "webhooks"
SECRET = "example-signature-secret-0123456789-abcdef"


def example(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((WEBHOOKS / path).read_bytes())
    return document


def compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "path",
    [
        "sms_submitted", "sms_rejected", "sms_undeliverable", "whatsapp_delivered", "whatsapp_read",
        "viber_read_workflow_link", "mms_delivered", "messenger_submitted", "viber_undeliverable_not_a_user",
    ],
)  # fmt: skip
def test_a_status_is_written_as_documented_member_by_member(path: str) -> None:
    """Contract 5.2: the same members in the same order as the example."""
    wanted = example(f"message_status/{path}.json")
    link = next(iter(wanted["_links"]))

    body = status_body(
        message_uuid=wanted["message_uuid"],
        to=wanted["to"],
        from_=wanted["from"],
        timestamp=wanted["timestamp"],
        status=wanted["status"],
        dispatch_uuid=wanted["_links"][link]["dispatch_uuid"],
        link=link,
        error=(wanted["error"]["code"], wanted["error"]["reason"]) if "error" in wanted else None,
        client_ref=wanted.get("client_ref"),
        price=Decimal(wanted["usage"]["price"]) if "usage" in wanted else None,
    )

    assert body == compact(wanted)


@pytest.mark.parametrize(
    "path",
    [
        "completed_after_failover", "completed_first_step_read", "completed_mms",
        "completed_whatsapp", "error_last_step_rejected", "error_single_step",
    ],
)  # fmt: skip
def test_a_final_report_is_written_as_documented_with_the_fee_on_top(path: str) -> None:
    """Contract 5.4: the total is the sum of the messages and a workflow fee of 0.002 EUR.

    `completed_three_attempts` is left out: its total holds a message whose price it does not show.
    """
    wanted = example(f"final_report/{path}.json")

    body = final_report_body(
        dispatch_uuid=wanted["dispatch_uuid"],
        status=wanted["status"],
        timestamp=wanted["timestamp"],
        fee=Decimal("0.002"),
        messages=[
            (
                m["message_uuid"],
                m["channel"],
                Decimal(m["usage"]["price"]) if "usage" in m else None,
                m["status"],
            )
            for m in wanted["_links"]["messages"]
        ],
    )

    assert body == compact(wanted)


@pytest.mark.parametrize(
    "path", ["sms_text", "sms_text_concatenated", "whatsapp_text", "viber_text", "messenger_text"]
)
def test_an_inbound_text_is_written_as_documented(path: str) -> None:
    """Contract 5.5; `direction` is left out of some examples, the simulator always says it."""
    wanted = example(f"inbound_message/{path}.json")

    body = json.loads(
        inbound_body(
            message_uuid=wanted["message_uuid"],
            to=wanted["to"],
            from_=wanted["from"],
            timestamp=wanted["timestamp"],
            content=wanted["message"]["content"],
        )
    )

    assert body == {**wanted, "direction": "inbound"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("é" * 160, "1"), ("é" * 161, "2"), ("€" * 81, "2"), ("`" * 71, "2"), ("й" * 71, "2"), ("", "1")],
    ids=["GSM", "GSM, too long", "two places each", "ASCII and not GSM", "Unicode", "nothing"],
)
def test_an_inbound_sms_counts_its_parts_by_the_gsm_alphabet(text: str, parts: str) -> None:
    """And costs as many times as much (contract 5.5)."""
    address = {"type": "sms", "number": "1"}
    content = {"type": "text", "text": text}

    raw = inbound_body(message_uuid="1", to=address, from_=address, timestamp="", content=content)

    body = json.loads(raw)
    assert body["message"]["sms"] == {"num_messages": parts}
    assert Decimal(body["usage"]["price"]) == Decimal("0.006") * int(parts)


def test_timestamps_have_milliseconds_and_z() -> None:
    """Contract 5.7."""
    assert timestamp(EPOCH, 1_234_567) == "2025-01-01T00:20:34.567Z"
    assert timestamp(EPOCH, 0) == "2025-01-01T00:00:00.000Z"


def signed(seed: int = 0) -> tuple[Callback, str]:
    callback = Callback(3, "message-status", "http://r/", b'{"status": "read"}', "an-application", 0)
    signer = Signer(
        api_key="a1b2c3d4", secret=SECRET, epoch=datetime(2025, 1, 1, tzinfo=UTC), random=SeededRandom(seed)
    )
    assert SECRET not in repr(signer)
    return callback, signer.authorization(callback, at_ms=61_900, attempt=1)


def test_a_signature_is_as_documented() -> None:
    """Contract 5.9."""
    callback, authorization = signed()
    scheme, token = authorization.split(" ")

    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_iat": False})

    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert len(claims.pop("jti")) == 36
    assert claims == {
        "iss": "Vonage",
        "iat": 1735689600 + 61,
        "payload_hash": hashlib.sha256(callback.body).hexdigest(),
        "api_key": "a1b2c3d4",
        "application_id": "an-application",
    }


def test_signatures_follow_from_the_seed() -> None:
    assert signed(1)[1] == signed(1)[1]
    assert signed(1)[1] != signed(2)[1]


def test_retries_double_from_5_seconds_to_15_minutes_and_end_after_a_day() -> None:
    """Contract 5.10."""
    delays: list[int] = []
    age = 0
    while (delay := retry_delay(len(delays) + 1, age)) is not None:
        delays.append(delay)
        age += delay

    assert delays[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert set(delays[8:]) == {900}
    assert 24 * 3600 - 900 < age <= 24 * 3600


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (Answer(200), False), (Answer(204), False), (Answer(302), False), (Answer(400), False),
        (Answer(401), False), (Answer(429), True), (Answer(500), True), (Answer(503), True),
        (Answer(failure="timeout"), True),
    ],
)  # fmt: skip
def test_only_429_and_5xx_and_silence_are_tried_again(answer: Answer, again: bool) -> None:
    """Contract 5.10, the current text."""
    assert answer.wants_retry() is again
