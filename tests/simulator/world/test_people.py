"""Who behaves how: the table in the docstring of `people.py`."""

from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.world.people import PROFILES, Act, Outcome, People, Person
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from tests.simulator.support import Box, step


def acts(person: Person, channel: str = "whatsapp") -> list[tuple[float, str]]:
    """Return what happens, in seconds; drawn latencies are those of seed 0."""
    return [
        (act.after_ms / 1000, act.status or act.script[0])
        for act in person.acts(channel, SeededRandom(0), "1/0")
    ]


def test_the_default_person_gets_it_and_reads_it() -> None:
    told = acts(Person())

    assert [status for _, status in told] == ["submitted", "delivered", "read"]
    assert told[0][0] == 0.1
    assert 1 <= told[1][0] <= 2
    assert told[2][0] == 10


@pytest.mark.parametrize(
    ("channel", "reads"),
    [("sms", False), ("mms", False), ("whatsapp", True), ("viber_service_msg", True), ("messenger", True)],
)
def test_reading_is_reported_where_the_channel_can(channel: str, reads: bool) -> None:
    """Contract 3.5."""
    assert ("read" in [status for _, status in acts(Person(), channel)]) is reads


def test_reading_soon_hurries_a_drawn_delivery() -> None:
    assert acts(Person(read_after=0.5)) == [(0.1, "submitted"), (0.5, "delivered"), (0.5, "read")]


def test_nothing_comes_before_submission_or_delivery() -> None:
    assert acts(Person(submitted_after=3, read_after=1)) == [(3, "submitted"), (3, "delivered"), (3, "read")]
    assert acts(Person(outcome_after=900, read_after=5)) == [
        (0.1, "submitted"),
        (900, "delivered"),
        (900, "read"),
    ]


def test_a_person_may_never_be_submitted() -> None:
    assert acts(Person(submitted_after=None, outcome="silent")) == []
    assert acts(Person(submitted_after=None, outcome_after=2, read_after=None)) == [(2, "delivered")]


def test_a_reply_follows_the_reading_or_the_delivery() -> None:
    person = Person(outcome_after=1, reply="Yes please", reply_after=7)

    assert acts(person)[-1] == (17, "Yes please")
    assert acts(person, "sms")[-1] == (8, "Yes please")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("rejected", Act(200, "rejected", 1300, "Not part of the provider network")),
     ("undeliverable", Act(200, "undeliverable", 1260, "Destination unreachable"))],
)  # fmt: skip
def test_a_failure_has_a_code_and_its_name(outcome: Outcome, expected: Act) -> None:
    """Contract 6.1."""
    person = Person(outcome=outcome, outcome_after=0.2)

    assert person.acts("sms", SeededRandom(0), "1/0")[-1] == expected


def test_a_failure_says_what_it_is_told_to() -> None:
    person = Person(outcome="rejected", code=4242, reason="Full moon")

    (act,) = person.acts("sms", SeededRandom(0), "1/0")

    assert (act.code, act.reason) == (4242, "Full moon")
    assert 100 <= act.after_ms <= 300
    assert Person(outcome="rejected", code=4242).acts("sms", SeededRandom(0), "1/0")[0].reason == "Unknown"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("999000000001", Person()),
        ("999100000001", Person(read_after=None)),
        ("999206000001", Person(read_after=600)),
        ("999313000001", Person(outcome="rejected", code=1300)),
        ("999411900001", Person(outcome="undeliverable", code=1190)),
        ("999500000001", Person(outcome="silent")),
        ("999609000001", Person(outcome_after=900, read_after=None)),
        ("999700000001", Person(reply="Hello")),
        ("999800000001", Person(reply="STOP")),
        ("999900000001", PROFILES["typical"]),
        ("9992", Person()),
        ("9993abcd", Person()),
        ("999", Person()),
        ("447700900123", Person()),
    ],
)
def test_test_numbers(number: str, expected: Person) -> None:
    """Each line of the table of test numbers."""
    assert People().find(number, "whatsapp") == expected


def test_an_address_is_trimmed() -> None:
    """Contract 3.3: a captured number carried a leading TAB."""
    assert People().find("\t999500000001", "sms").outcome == "silent"


def test_an_exact_address_beats_a_pattern_and_a_channel_beats_all_channels() -> None:
    people = People()
    silent, never, rude = Person(outcome="silent"), Person(read_after=None), Person(reply="no")
    people.add("4477009001*", silent)
    people["447700900123"] = never
    people.add("447700900123", rude, channel="whatsapp")

    assert people.find("447700900199", "sms") is silent
    assert people.find("447700900123", "sms") is never
    assert people.find("447700900123", "whatsapp") is rude


def test_a_later_pattern_beats_an_earlier_one() -> None:
    people = People()
    first, second = Person(outcome="silent"), Person(reply="no")
    people.add("44*", first)
    people.add("4477*", second, channel="viber_service_msg")

    assert people.find("447700900123", "viber_service_msg") is second
    assert people.find("447700900123", "sms") is first


def test_people_can_be_removed() -> None:
    people = People()
    people["44*"] = people["1"] = Person(outcome="silent")
    assert repr(people) == "<People 2 addresses and patterns>"

    people.clear()

    assert people.find("447700900123", "sms") == people.find("1", "sms") == Person()


RULES = """
[default]
read_after = 30

[[people]]
address = "4477009001*"
channel = "whatsapp"
outcome = "rejected"
outcome_after = 3
code = 1300
reason = "moved"

[[people]]
address = "447700900321"
submitted_after = "never"
read_after = "never"
reply = "Yes please"
reply_after = 5
"""


def test_a_configuration_file_sets_the_same(tmp_path: Path) -> None:
    path = tmp_path / "simulator.toml"
    path.write_text(RULES)
    people = People()

    people.load(path)

    assert people.find("1", "sms") == Person(read_after=30)
    assert people.find("447700900199", "whatsapp") == Person(
        read_after=30, outcome="rejected", outcome_after=3, code=1300, reason="moved"
    )
    assert people.find("447700900199", "sms") == Person(read_after=30)
    assert people.find("447700900321", "sms") == Person(
        submitted_after=None, read_after=None, reply="Yes please", reply_after=5
    )
    assert people.find("999500000001", "sms") == Person(outcome="silent", read_after=30)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("x = ", "not TOML"),
        ("[persons]", "an unknown table 'persons'"),
        ("default = 3", "[default] must be a table"),
        ("people = 3", "[[people]], one table"),
        ("people = [3]", "[[people]] number 1 must be a table"),
        ("[[people]]", "number 1: address is required: a number or id, or a pattern of them"),
        ("[[people]]\naddres = '1'", "number 1 has an unknown key 'addres'; known: address, "),
        ("[[people]]\naddress = 1", "number 1: address must be a string; got 1"),
        ("[[people]]\naddress = '1'\nchannel = 3", "number 1: channel must be a string; got 3"),
        ("[[people]]\naddress = '1'\nchannel = 'fax'", "channel must be one of"),
        ("[[people]]\naddress = '1'\nread_afer = 3", "unknown key 'read_afer'"),
        (
            "[[people]]\naddress = '1'\nread_after = 'soon'",
            "read_after must be a number of seconds from 0, or \"never\"; got 'soon'",
        ),
        ("[[people]]\naddress = '1'\ncode = true", "code must be an integer; got True"),
        (
            "[[people]]\naddress = '1'\noutcome_after = 'never'",
            "outcome_after must be a number of seconds from 0; got 'never'",
        ),
        ("[[people]]\naddress = '1'\nread_after = -1", "number 1: read_after must be a number of seconds"),
        ("[[people]]\naddress = '1'\nread_after = nan", "read_after must be a number of seconds"),
        ("[default]\noutcome = 'lost'", "outcome must be one of"),
    ],
)
def test_what_is_not_in_the_table_is_refused_by_name(rules: str, message: str) -> None:
    people = People()

    with pytest.raises(ConfigurationError) as caught:
        people.loads("[[people]]\naddress = '2'\noutcome = 'silent'\n" + rules if "[[" in rules else rules)

    assert message in str(caught.value).replace("number 2", "number 1")
    assert people.find("2", "sms") == Person(), "a wrong file changes nothing"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'reply = "\xe9"')

    with pytest.raises(ConfigurationError, match="cannot be read"):
        People().load(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        People().load(tmp_path / "latin.toml")


# ---- profiles, scripts, chances


def funnel(person: Person, channel: str = "whatsapp", people: int = 2000) -> list[list[Act]]:
    return [person.acts(channel, SeededRandom(0), f"{n}/0", f"44770090{n}") for n in range(people)]


def share(told: list[list[Act]], status: str) -> float:
    return sum(any(act.status == status for act in acts) for acts in told) / len(told)


def test_a_typical_crowd_makes_a_plausible_funnel() -> None:
    """The figures of the table: 0.12 absent, 0.03 unreachable, 0.8 of the rest read."""
    told = funnel(PROFILES["typical"])

    assert 0.09 < share(told, "rejected") < 0.15
    assert 0.015 < share(told, "undeliverable") < 0.045
    assert 0.64 < share(told, "read") < 0.72
    reads = sorted(act.after_ms for acts in told for act in acts if act.status == "read")
    assert 250_000 < reads[len(reads) // 2] < 350_000
    assert reads[len(reads) // 20] < 60_000
    assert reads[-len(reads) // 20] > 1_800_000
    replies = [act.script for acts in told for act in acts if not act.status]
    assert 0.02 < replies.count(("Thanks",)) / 2000 < 0.06
    assert 0.002 < replies.count(("STOP",)) / 2000 < 0.02


def test_who_is_absent_stays_absent_and_only_where_reading_is_reported() -> None:
    person = Person(absent_chance=0.5)

    first = [acts[0].status for acts in funnel(person, people=100)]
    again = [person.acts("whatsapp", SeededRandom(0), "other", f" 44770090{n}")[0].status for n in range(100)]

    assert first == again
    assert set(first) == {"rejected", "submitted"}
    assert share(funnel(person, "sms", people=100), "rejected") == 0


def test_an_outcome_may_be_left_to_chance() -> None:
    told = funnel(Person(outcome="silent", outcome_chance=0.25), "sms")

    assert 0.7 < share(told, "delivered") < 0.8


def test_who_does_not_read_does_not_reply() -> None:
    told = funnel(Person(read_chance=0.5, reply="Yes"))

    for acts_of_one in told:
        assert (acts_of_one[-1].status == "") == any(act.status == "read" for act in acts_of_one)
    assert 0.45 < share(told, "read") < 0.55


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"read_chance": 1.5}, "read_chance must be a number from 0 to 1"),
        ({"read_spread": 9}, "read_spread must be a number from 0 to 5"),
        ({"off_after": -1}, "off_after must be a number of seconds"),
    ],
)
def test_chances_have_their_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Person(**settings)  # type: ignore[arg-type]  # on purpose


def test_a_script_may_be_a_list() -> None:
    people = People()

    people.loads("[[people]]\naddress = '1'\nreply = ['Yes', 'No']")

    assert people.find("1", "sms").reply == ("Yes", "No")
    with pytest.raises(ConfigurationError, match="reply must be a string or a list of strings; got"):
        people.loads("[[people]]\naddress = '1'\nreply = ['Yes', 3]")
    with pytest.raises(ConfigurationError, match="code must be an integer; got"):
        people.loads("[[people]]\naddress = '1'\ncode = ['Yes']")


def conversation(parts: Box, address: str, *, turns: int) -> int:
    """Answer every reply at once, as a receiver with an automatic answer does; return how many came."""
    parts.accept(step("sms", address))
    heard = 0
    for _ in range(turns):
        replies = [d for d in parts.run(3600) if d.callback.kind == "inbound-message"]
        if not replies:
            return heard
        heard += len(replies)
        for _ in replies:
            parts.accept(step("sms", address))
    return heard


def test_a_person_who_replies_and_an_automatic_answer_come_to_an_end(parts: Box) -> None:
    """Each would answer the other for ever."""
    parts.settings.most_replies = 5

    assert conversation(parts, "999700000001", turns=50) == 5
    parts.run(600)
    assert parts.engine.next_at() is None


def test_a_person_replies_again_the_next_day(parts: Box) -> None:
    parts.settings.most_replies = 2
    heard: list[int] = []

    for pause in (0, 3600, 24 * 3600):
        parts.run(pause)
        heard.append(conversation(parts, "999700000001", turns=10))

    assert heard == [2, 0, 2]


def test_the_bound_on_replies_is_a_switch(parts: Box) -> None:
    parts.settings.most_replies = None

    assert conversation(parts, "999700000001", turns=40) == 40


@pytest.mark.parametrize("person", [{"outcome": "rejected"}, "rejected", None])
def test_what_is_no_person_is_refused_where_it_is_added(person: Any) -> None:
    """A mapping of the fields is named at once, instead of failing the first send to its address."""
    people = People()

    with pytest.raises(ConfigurationError, match=r"person must be a Person, such as Person\(") as refused:
        people.add("447700900123", person)
    with pytest.raises(ConfigurationError, match="person must be a Person"):
        people["447700900123"] = person

    assert type(person).__name__ in str(refused.value)
