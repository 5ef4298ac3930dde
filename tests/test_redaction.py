"""No text that is shown contains what was sent, or anything like a phone number."""

import json
from typing import Any

import pytest

from nexmo_dispatch_async.advice import BAD_REQUEST
from nexmo_dispatch_async.exceptions import APIError
from nexmo_dispatch_async.models.problems import parse_problem
from nexmo_dispatch_async.redaction import mask, redact, request_words, tail
from nexmo_dispatch_async.sansio import (
    Request,
    Response,
    application_request,
    decipher_application,
    decipher_dispatch,
    decipher_response,
)
from nexmo_dispatch_async.workflow import Workflow
from tests.support.log_guard import leaves
from tests.support.paths import PAYLOADS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("447700900123", "…23"),
        ("+447700900123 is barred", "…23 is barred"),
        ("+44 7700 900-123.", "…23."),
        ("call +31 (0)6 1718 5666 now", "call …66 now"),
        ("number 00 44 7700 900 123 is barred", "number …23 is barred"),
        ("44-7700-900123: barred, 06.17.18.56.66, (020) 617 1856", "…23: barred, …66, …56"),
        ("44\u00a07700\u2011900123", "…23"),
        ("trace 0b9e6d6e-8a55-4c86-9911-123456789012", "trace 0b9e6d6e-8a55-4c86-9911-123456789012"),
        ("from 2025-11-13 00:00:00 on, 2025-11-13T00:00", "from 2025-11-13 00:00:00 on, 2025-11-13T00:00"),
        ("no connection to 192.168.100.200:443", "no connection to 192.168.100.200:443"),
        ("[1, 2, 3, 4], 15-86400 s, 1 2 3", "[1, 2, 3, 4], 15-86400 s, 1 2 3"),
        ("1 + 2, at most 86400 s, code 1150", "1 + 2, at most 86400 s, code 1150"),
        ("+12 34 56, 12 34 56 78", "+12 34 56, 12 34 56 78"),
        ("+12 34 567, 12 34 56 789", "…67, …89"),
        ("US.13491208655302741918 is barred", "…18 is barred"),
    ],
)
def test_numbers_of_people_are_masked(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_a_terminal_is_not_told_what_to_do() -> None:
    """Control characters, the ends of lines, and what turns the direction of writing around."""
    assert mask("x\x1b[2J\x07\nFAKE \u202eline") == "x\ufffd[2J\ufffd FAKE \ufffdline"


BODY = json.dumps(
    {
        "message": {"content": {"type": "text", "text": "Dear Mrs Jansen & Zoon, your result is POSITIVE"}},
        "to": {"type": "sms", "number": "447700900123"},
        "client_ref": "O'Neill",
        "status_url": "https://u:secretpw@hooks.example.com/s?key=SECRETKEY",
    }
).encode()


@pytest.mark.parametrize(
    "said",
    [
        "bad text starting 'Dear Mrs Jansen...'",
        "bad text: DEAR MRS JANSEN & ZOON, YOUR RESULT IS POSITIVE",
        "bad text: Dear Mrs Jansen &amp; Zoon, your result is POSITIVE",
        "bad ref O&#39;Neill",
        "bad ref O'NEILL",
        "cannot reach hooks.example.com/s?key=SECR…",
        "number 4477009001…",
    ],
)
def test_a_text_with_a_part_of_what_was_sent_is_not_shown_at_all(said: str) -> None:
    assert redact(said, body=BODY) == "…"


def test_a_common_part_reveals_nothing() -> None:
    said = "Your text is bad: https://developer.nexmo.com/errors"

    assert redact(said, body=BODY) == said


def test_the_other_parts_of_a_problem_are_shown() -> None:
    body = {
        "type": "https://x#InvalidParams",
        "title": "Bad\x1b[31m",
        "detail": "DEAR MRS JANSEN",
        "instance": "bf0c",
        "invalid_parameters": [{"name": "to.number", "reason": "44 77 00 90 01 23 is barred"}],
    }

    said = parse_problem(json.dumps(body).encode()).summary(body=BODY)

    assert said == "Bad\ufffd[31m: … [InvalidParams] (to.number: …23 is barred), trace bf0c"


def test_values_of_the_query_are_values_too() -> None:
    """`encoding="query"` sends the fields of an application there."""
    url = "https://secretpw@hooks.example.com/s?key=SECRETKEY"
    request = application_request(
        "PUT", "https://h", "/applications", "1", fields={"status_url": url}, encoding="query"
    )
    answer = {"type": "#bad", "title": "bad", "detail": f"{url} is not reachable"}

    with pytest.raises(APIError) as caught:
        decipher_response(
            Response(400, {}, json.dumps(answer).encode()), decipher_application, request=request
        )

    assert str(caught.value) == f"PUT /applications/{{id}}: 400 bad: … is not reachable; {BAD_REQUEST}"


def test_what_was_sent_is_taken_out_wherever_it_turns_up() -> None:
    """Glued to other letters, in another place, a text in one line."""
    body = json.dumps(
        {
            "to": {"type": "whatsapp", "number": 447700900123, "id": "psid-99"},
            "message": {"content": {"type": "text", "text": "Hello\nJohn  Smith"}},
            "client_ref": "order-17",
            "list": ["Smith & Sons", None, True],
        }
    ).encode()

    said = redact("x447700900123y psid-99 'Hello John Smith' order-17 Smith & Sons text whatsapp", body=body)

    assert said == "x…23y … '…' … … text whatsapp"


def test_a_form_is_read_too() -> None:
    assert redact("the key abc&def of my app", body=b"client_secret=abc%26def&name=my+app") == (
        "the key … of my app"
    )


def test_the_authorization_is_taken_out_whole_and_in_part() -> None:
    assert redact("Bearer abcdef is abcdef", secret="Bearer abcdef") == "… is …"


@pytest.mark.parametrize("body", [None, b"", b"\xff\xfe", b"[1,2]", b"{}"])
def test_any_body_will_do(body: bytes | None) -> None:
    assert redact("fine", body=body) == "fine"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("447700900123", "…23"),
        (447700900123, "…23"),
        ("12345", "…45"),
        ("1234", "…"),
        ("12", "…"),
        (None, "…"),
    ],
)
def test_the_end_of_a_number_tells_recipients_apart(value: Any, shown: str) -> None:
    assert tail(value) == shown


@pytest.mark.parametrize("path", sorted((PAYLOADS / "requests").glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_service_that_repeats_the_request_gives_nothing_away(path: Any, status: int) -> None:
    """Every example of the contract, echoed whole, as text and as parameters."""
    body = path.read_bytes()
    request = Request("POST", "https://h/dispatch", {}, body, "/dispatch")
    said = " ".join(leaves(json.loads(body)))
    echo = {
        "type": "x#echo",
        "title": "no",
        "detail": said,
        "invalid_parameters": [{"name": "to", "reason": said}],
    }

    with pytest.raises(APIError) as caught:
        decipher_response(
            Response(status, {}, json.dumps(echo).encode()),
            decipher_dispatch,
            request=request,
            secret="Bearer secret-token",
        )

    shown = f"{caught.value} {caught.value!r}"
    assert [value for value in leaves(json.loads(body)) if value in shown] == []


def test_steps_are_told_without_their_content() -> None:
    for path in (PAYLOADS / "requests").glob("seed_*.json"):
        body = path.read_bytes()
        shown = " ".join(Workflow.from_json(body).summary())
        assert [value for value in leaves(json.loads(body)) if value in shown] == []


@pytest.mark.parametrize(
    "name", ["name", "type", "tag", "category", "policy", "locale", "template", "from.type"]
)
def test_only_what_stands_in_its_place_is_public(name: str) -> None:
    """A custom object and the unknown members of a step may hold a person under any name (contract 3.4.2)."""
    content = {"type": "custom", "custom": {name: "Janssen", "more": [{name: "Vivienne"}]}}
    step = {"to": {"type": "whatsapp", "number": "447700900123"}, "message": {"content": content}}
    body = json.dumps({"template": "failover", "workflow": [{**step, "label": {name: "Diabetes"}}]}).encode()

    for word in ("Janssen", "Vivienne", "Diabetes"):
        assert redact(f"{word} is not valid", body=body) == "… is not valid"
    assert redact("whatsapp takes no custom", body=body) == "whatsapp takes no custom"


@pytest.mark.parametrize(
    ("value", "said", "shown"),
    [
        ("abc", "x abc y", "x abc y"),  # shorter than 4: no secret
        ("abcd", "x abcd y", "x … y"),
        ("abcd", "x ABCD y", "…"),
        ("abcdefg", "x ABCDEFG y", "…"),  # up to 7: as a whole only
        ("abcdefg", "x bcdefg y", "x bcdefg y"),
        ("abcdefgh", "x ABCDEFGH y", "…"),  # from 8 on: any part of 8
        ("abcdefgh", "x ABCDEFG y", "x ABCDEFG y"),
        ("abcdefghi", "x ABCDEFGH y", "…"),
        ("abcdefghi", "x BCDEFGHI y", "…"),
        ("&lt;", "a < b", "a < b"),  # by its length as it is compared
    ],
)
def test_a_value_counts_by_its_length(value: str, said: str, shown: str) -> None:
    """Short ones would tear unrelated words apart; a part of a long one got into a text by no chance."""
    assert redact(said, body=json.dumps({"x": value}).encode()) == shown


@pytest.mark.parametrize(
    "said", ["RS JANSEN", "DEAR MRS", "x RS JANSEN", "x DEAR MRS", "RS JANSEN y", "DEAR MRS y"]
)
def test_the_first_and_the_last_part_of_a_value_count_wherever_they_stand(said: str) -> None:
    """At the beginning and at the end of a text, and where they are all of it."""
    assert redact(said, body=b'{"x": "Dear Mrs Jansen"}') == "…"


def test_the_longest_of_several_values_is_taken_out_first() -> None:
    """Otherwise the rest of the longer one would be left."""
    body = json.dumps({"a": "Smith", "b": "Smith & Son", "c": "Smith"}).encode()

    assert redact("by Smith & Son, Smith", body=body) == "by …, …"


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        *("from.type", "to.type", "failover.condition_status", "message.content.type"),
        *("message.content.template.name", "message.whatsapp.locale", "message.whatsapp.policy"),
        *("message.messenger.category", "message.messenger.tag"),
        *("message.viber_service_msg.category", "message.viber_service_msg.type"),
    ],
)
def test_words_from_public_lists_are_shown_in_their_place_and_nowhere_else(place: str, inside: bool) -> None:
    """Contract 3.4.2: a custom object may have a member of the same name, which is the customer's."""
    value: Any = "wordful"
    for name in reversed(place.split(".")):
        value = {name: value}
    step = {"workflow": [value]} if inside else value

    assert redact("a wordful answer", body=json.dumps(step).encode()) == "a wordful answer"
    hidden = {"message": {"content": {"custom": step}}}
    assert redact("a wordful answer", body=json.dumps(hidden).encode()) == "a … answer"


@pytest.mark.parametrize("name", ["template", "name", "type"])
def test_what_an_application_or_a_workflow_is_called_is_public(name: str) -> None:
    """At the top of a body, in JSON and in a form; elsewhere it is the customer's."""
    body = json.dumps({name: "wordful", "other": {name: "private"}}).encode()

    assert redact("a wordful answer, private", body=body) == "a wordful answer, …"
    assert redact("a wordful answer", body=f"{name}=wordful".encode()) == "a wordful answer"


@pytest.mark.parametrize(
    ("body", "url", "words"),
    [
        (None, "", ""),
        (b"", "https://h/x?a=Spike%20Arrest", "\na\nspike arrest"),
        (b'{"a": {"B c": ["D", 7, null, ["&amp;"]]}}', "", "a\nb c\nd\n7\n&"),
        (b"name=Quota+Violation&x=Y", "", "name=quota+violation&x=y\nname\nquota violation\nx\ny"),
        (b'{"a": 1}', "https://h/x?b=C", "a\n1\nb\nc"),
        (b"no fields", "", "no fields"),
    ],
)
def test_every_word_of_a_request_is_told_for_comparison(body: bytes | None, url: str, words: str) -> None:
    """Contract 3.8: names and values, each on its line, folded as a text of the service is."""
    assert request_words(body=body, url=url) == words


def test_a_body_that_is_no_text_is_read_as_far_as_it_goes() -> None:
    """A form in another encoding: what can be read of it is taken out."""
    assert redact("the key abcdef", body=b"name=\xff\xe9&client_secret=abcdef") == "the key …"
    assert request_words(body=b"\xffkey=Abcdef").endswith("abcdef")
