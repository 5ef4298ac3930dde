"""The Customer Care Window: 24 hours after the customer's last message (contract 7.1, 7.3)."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.care_window import (
    CareWindow,
    Inbound,
    MemoryWindowStore,
    WindowStatus,
    WindowStore,
)
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.channels import messenger, sms, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models import Address, Step
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import InboundMessage, Router, parse_event
from tests.support.paths import WEBHOOKS

INBOUND = WEBHOOKS / "inbound_message"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
TICK = timedelta(microseconds=1)
EARLIEST = datetime(1, 1, 2)  # noqa: DTZ001 - hypothesis wants naive bounds and adds the zone
CUSTOMER, PSID = "31617185666", "2903557611987403"


class Peer(NamedTuple):
    number: str | None = None
    id: str | None = None


class Received(NamedTuple):
    channel: str = "whatsapp"
    from_: Peer = Peer(CUSTOMER)
    timestamp: datetime | None = NOON


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Noon until a test moves it."""
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WindowStore]:
    """Every store keeps the same promises."""
    if request.param == "memory":
        yield MemoryWindowStore()
        return
    with SqliteWindowStore(tmp_path / "windows.db") as opened:
        yield opened


@pytest.fixture
def window(store: WindowStore, clock: Clock) -> CareWindow:
    return CareWindow(store, clock=clock, monotonic=lambda: clock.now.timestamp())


def free_text(to: str = CUSTOMER) -> Step:
    return whatsapp.text("How can we help?", from_="447418342140", to=to)


def template() -> Step:
    return whatsapp.template("ns:hello", from_="447418342140", to=CUSTOMER, locale="nl")


def test_window_is_closed_until_the_customer_writes(window: CareWindow) -> None:
    """A first message to a person must be a template (contract 7.1)."""
    assert window.status(CUSTOMER) == WindowStatus(open=False, until=None, last_inbound=None)


def test_window_opens_for_exactly_24_hours(window: CareWindow, clock: Clock) -> None:
    """It says until when, and the last moment is outside."""
    window.observe(Received())

    expected = WindowStatus(open=True, until=NOON + DAY, last_inbound=NOON)
    assert window.status(CUSTOMER) == expected
    clock.now = NOON + DAY - TICK
    assert window.status(CUSTOMER) == expected
    clock.now = NOON + DAY
    assert window.status(CUSTOMER) == WindowStatus(open=False, until=NOON + DAY, last_inbound=NOON)


def test_last_message_counts_in_whatever_order_they_arrive(window: CareWindow, clock: Clock) -> None:
    """Callbacks are reordered and repeated (contract 5.10)."""
    clock.now = NOON + timedelta(hours=2)

    for hours in (0, 2, 1, 2):
        window.observe(Received(timestamp=NOON + timedelta(hours=hours)))

    assert window.status(CUSTOMER).last_inbound == NOON + timedelta(hours=2)


def test_wrong_clock_cannot_hold_the_window_open(window: CareWindow) -> None:
    """A moment in the future counts as now."""
    window.observe(Received(timestamp=NOON + timedelta(days=1000)))

    assert window.status(CUSTOMER).until == NOON + DAY


@pytest.mark.parametrize(("hours", "open_"), [(25, False), (24, False), (23, True), (1, True)])
def test_an_old_message_does_not_open_the_window_afresh(
    window: CareWindow, hours: int, *, open_: bool
) -> None:
    """When the customer wrote counts, however late or often the callback comes (contract 5.10)."""
    moment = NOON - timedelta(hours=hours)
    expected = WindowStatus(open=open_, until=moment + DAY, last_inbound=moment)

    window.record(CUSTOMER, at=moment)

    assert window.status(CUSTOMER) == expected
    assert window.observe(Received(timestamp=moment))
    assert window.status(CUSTOMER) == expected


@pytest.mark.parametrize(
    ("age", "open_"),
    [
        *((DAY + timedelta(hours=1), False), (DAY, False), (DAY - TICK, True), (timedelta(0), True)),
        *((-timedelta(minutes=5), True), (-timedelta(minutes=5) - TICK, False)),
    ],
)
def test_another_process_goes_by_the_stored_moment(
    store: WindowStore, clock: Clock, age: timedelta, *, open_: bool
) -> None:
    """Also by one that is a little in its future, since clocks differ; it measured nothing itself."""
    store.record("whatsapp", CUSTOMER, NOON - age)

    status = CareWindow(store, clock=clock).status(CUSTOMER)

    assert status == WindowStatus(open=open_, until=NOON - age + DAY, last_inbound=NOON - age)


@pytest.mark.parametrize(
    ("channel", "peer", "known_as", "not_as"),
    [
        ("messenger", Peer(CUSTOMER, PSID), PSID, CUSTOMER),
        ("messenger", Peer(id=PSID), PSID, CUSTOMER),
        ("messenger", Peer(CUSTOMER), CUSTOMER, PSID),
        ("whatsapp", Peer(CUSTOMER, PSID), CUSTOMER, PSID),
        ("whatsapp", Peer(id=PSID), PSID, CUSTOMER),
    ],
)
def test_a_customer_is_known_by_what_the_channel_addresses(
    window: CareWindow, channel: str, peer: Peer, known_as: str, not_as: str
) -> None:
    """Messenger by the id and WhatsApp by the number, each by the other one only if there is no choice."""
    assert window.observe(Received(channel, peer))

    assert window.status(known_as, channel=channel).open
    assert not window.status(not_as, channel=channel).open


def test_unreadable_time_counts_as_now(window: CareWindow) -> None:
    """Receipt order stands in for a time that could not be read (contract 5.11)."""
    assert window.observe(Received(timestamp=None))

    assert window.status(CUSTOMER).last_inbound == NOON


def test_other_zones_are_the_same_moment(window: CareWindow) -> None:
    window.observe(Received(timestamp=NOON.astimezone(timezone(timedelta(hours=5)))))

    last = window.status(CUSTOMER).last_inbound
    assert last == NOON
    assert last.tzinfo is UTC


def test_moment_without_a_zone_is_refused(window: CareWindow) -> None:
    with pytest.raises(ConfigurationError, match="needs a time zone"):
        window.record(CUSTOMER, at=NOON.replace(tzinfo=None))
    with pytest.raises(ConfigurationError, match=r"^at must be of type datetime, not float: write"):
        window.record(CUSTOMER, at=NOON.timestamp())  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "spelling",
    [
        *("\t31617185666", "+31617185666", "31617185666 ", "0031617185666", "+31 6 1718 5666"),
        *("00 31 (0)6-1718.5666",),
    ],
)
def test_spelling_of_a_number_does_not_matter(window: CareWindow, spelling: str) -> None:
    """Captured addresses carried blanks (contract 3.3), and people write numbers in many ways."""
    window.observe(Received(from_=Peer(spelling)))

    assert window.status(CUSTOMER).open
    assert window.status(spelling).open


def test_ids_are_taken_as_they_are(window: CareWindow) -> None:
    window.record("00-a", channel="messenger")
    window.record("no digits at all")

    assert window.status("00-a", channel="messenger").open
    assert not window.status("-a", channel="messenger").open
    assert not window.status("other words").open


def test_what_is_no_full_number_compares_by_its_digits_unless_it_has_letters(window: CareWindow) -> None:
    """Its country is unknown, so nothing is added to it; with a letter it is another name (contract 5.5)."""
    window.record("06-17 (185) 666")
    window.record("NL.1349")
    window.record("--")

    assert not window.status("++").open
    assert window.status("0617185666").open
    assert not window.status("31617185666").open
    assert window.status("nl.1349 ").open
    assert not window.status("1349").open


def test_a_step_to_a_person_without_a_number_goes_by_the_user_id(window: CareWindow) -> None:
    """Contract 5.5: the id stands where the number would."""
    user_id = "NL.13491208655302741918"
    step = msgspec.structs.replace(free_text(), to=Address("whatsapp", id=user_id))

    before = window.allows(step)
    window.observe(Received(from_=Peer(id=user_id)))

    assert (before, window.allows(step)) == (False, True)


@pytest.mark.parametrize("name", ["user_id", "parent_user_id", "wa_id"])
def test_each_name_of_a_whatsapp_user_opens_the_window(window: CareWindow, name: str) -> None:
    """Contract 5.5: a later step may go to any of them, and the address may be missing."""

    class User(NamedTuple):
        user_id: str | None = None
        parent_user_id: str | None = None
        wa_id: str | None = None

    class FromUser(NamedTuple):
        whatsapp_user: User
        channel: str = "whatsapp"
        from_: Peer = Peer()
        timestamp: datetime | None = NOON

    assert window.observe(FromUser(User(**{name: CUSTOMER})))

    assert window.status(CUSTOMER).open


def test_a_store_forgets_what_is_older_and_nothing_else(store: WindowStore) -> None:
    """To the microsecond, and it tells how many."""
    store.record("whatsapp", CUSTOMER, NOON)
    store.record("messenger", PSID, NOON - TICK)

    assert store.forget_before(NOON) == 1
    assert (store.last("whatsapp", CUSTOMER), store.last("messenger", PSID)) == (NOON, None)
    assert store.forget_before(NOON + TICK) == 1
    assert store.last("whatsapp", CUSTOMER) is None


def test_numbers_reads_those_of_whatsapp_alone(store: WindowStore, clock: Clock) -> None:
    """A page-scoped id of Messenger may look like a national number, and stays what it is."""
    window = CareWindow(store, clock=clock, numbers=lambda number: "31" + number.removeprefix("0"))

    window.record("0617185666")
    window.record("0617185666", channel="messenger")

    assert store.last("whatsapp", CUSTOMER) == store.last("messenger", "0617185666") == NOON
    assert window.status("617185666").open
    assert not window.status("617185666", channel="messenger").open


@pytest.mark.parametrize("channel", ["sms", "whatsap"])
def test_a_channel_without_a_window_cannot_be_recorded(window: CareWindow, channel: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{channel}' has no window"):
        window.record(CUSTOMER, channel=channel)


async def test_a_router_can_feed_it(window: CareWindow) -> None:
    """The receiver's own router; messages of other channels do not come."""
    router = Router()
    window.attach(router)
    event = parse_event((INBOUND / "whatsapp_text.json").read_bytes())
    assert isinstance(event, InboundMessage)

    await router.dispatch(event)

    assert window.status(event.from_.address or "").last_inbound is not None
    assert not router.fetch(parse_event((INBOUND / "sms_text.json").read_bytes()))


def test_choose_keeps_the_reference(window: CareWindow) -> None:
    free = msgspec.structs.replace(free_text(), client_ref="order-1")
    own = msgspec.structs.replace(template(), client_ref="order-2")

    assert window.choose(free=free, otherwise=template()).client_ref == "order-1"
    assert window.choose(free=free, otherwise=own).client_ref == "order-2"


@pytest.mark.parametrize("name", ["whatsapp_text", "messenger_text"])
def test_event_of_the_receiver_is_understood(store: WindowStore, name: str) -> None:
    """The receiver's `InboundMessage` goes in as it is (contract 5.5)."""
    event = parse_event((INBOUND / f"{name}.json").read_bytes())
    assert isinstance(event, InboundMessage)
    assert event.timestamp is not None
    moment = event.timestamp
    window = CareWindow(store, clock=lambda: moment)

    assert window.observe(event)
    assert window.status(event.from_.address or "", channel=event.channel).until == moment + DAY


def test_people_and_channels_are_apart(window: CareWindow) -> None:
    """One person's message opens no window for another, nor on another channel."""
    window.observe(Received())

    assert not window.status("31617185667").open
    assert not window.status(CUSTOMER, channel="messenger").open


@pytest.mark.parametrize(
    "message",
    [
        *(Received(channel="sms"), Received(channel="viber_service_msg"), Received(from_=Peer())),
        Received("messenger", Peer()),
    ],
)
def test_messages_that_open_no_window_are_told(window: CareWindow, message: Inbound) -> None:
    assert not window.observe(message)


def test_channels_without_a_window_are_always_open(window: CareWindow) -> None:
    """SMS, MMS and Viber know no such rule (contract 7.2, 7.4)."""
    assert window.status(CUSTOMER, channel="sms") == WindowStatus(open=True)
    assert window.allows(sms.text("hi", from_="1", to=CUSTOMER))


@pytest.mark.parametrize("text", ["a\udcff", "a\0b"], ids=["half", "NUL"])
@pytest.mark.parametrize("channel", ["whatsapp", "messenger"])
def test_a_sender_that_no_store_takes_is_recorded(window: CareWindow, channel: str, text: str) -> None:
    """Contract 5.11: a callback may hold it, and would come again and again."""
    assert window.observe(Received(channel, Peer(id=text)))


def test_messenger_is_keyed_by_its_page_scoped_id(window: CareWindow) -> None:
    """The PSID comes from the inbound message (contract 7.3)."""
    step = messenger.text("hi", from_="118820033417905", to=PSID)
    tagged = messenger.text("hi", from_="1", to=PSID, category="message_tag", tag="ACCOUNT_UPDATE")
    plain = messenger.text("hi", from_="1", to=PSID, category="response")

    before = [window.allows(each) for each in (step, tagged, plain)]
    window.observe(Received("messenger", Peer(id=PSID)))
    after = [window.allows(each) for each in (step, tagged, plain)]

    assert (before, after) == ([False, True, False], [True, True, True])


def test_margin_closes_early(store: WindowStore, clock: Clock) -> None:
    """A message takes time to arrive."""
    window = CareWindow(store, clock=clock, margin=timedelta(minutes=1))
    window.observe(Received())

    clock.now = NOON + DAY - timedelta(minutes=1)

    assert not window.status(CUSTOMER).open


def test_templates_need_no_window(window: CareWindow) -> None:
    """Also those in WhatsApp's own format."""
    native = whatsapp.custom({"type": "template", "template": {}}, from_="1", to=CUSTOMER)
    location = whatsapp.custom({"type": "location"}, from_="1", to=CUSTOMER)

    assert [window.allows(step) for step in (template(), native, location)] == [True, True, False]


def test_choose_falls_back_to_the_template(window: CareWindow) -> None:
    """Inside of the window the free text goes, outside the template under the same condition."""
    free = free_text().until("read", within=600)

    outside = window.choose(free=free, otherwise=template())
    own_condition = window.choose(free=free, otherwise=template().until("delivered", within=60))
    window.observe(Received())
    inside = window.choose(free=free, otherwise=template())

    assert outside == template().until("read", within=600)
    assert own_condition == template().until("delivered", within=60)
    assert inside == free


def test_lint_warns_about_free_content_outside_of_the_window(window: CareWindow) -> None:
    """Both channels with a window, each with its own cure."""
    workflow = Workflow.failover(
        free_text().until("read", within=600),
        messenger.text("hi", from_="1", to=PSID).until("read", within=600),
        sms.text("hi", from_="1", to=CUSTOMER),
    )

    assert [str(finding) for finding in window.lint(workflow)] == [
        "step 1, message.content: is free content outside of the window; send a template [care-window]",
        (
            "step 2, message.content: is free content outside of the window; "
            "use the category message_tag with a tag [care-window]"
        ),
    ]
    assert window.lint(workflow, Rules(off=["care-window"])) == []


def test_lint_knows_when_later_steps_leave(window: CareWindow, clock: Clock) -> None:
    """The window may close while an earlier step waits for its expiry."""
    window.observe(Received())
    workflow = Workflow.failover(
        sms.text("hi", from_="1", to="2").until("delivered", within=600), free_text()
    )

    clock.now = NOON + DAY - timedelta(seconds=601)
    in_time = window.lint(workflow)
    clock.now += timedelta(seconds=1)
    too_late = window.lint(workflow)

    assert in_time == []
    assert [str(finding) for finding in too_late] == [
        (
            "step 2, message.content: is free content, and the window closes before this step may be sent; "
            "send a template [care-window]"
        )
    ]


def test_old_customers_are_forgotten(window: CareWindow, store: WindowStore, clock: Clock) -> None:
    """The store does not grow for ever: every so often closed windows are dropped."""
    for number in range(1000):
        window.record(str(number))
    clock.now = NOON + DAY + TICK

    for _ in range(24):
        window.record(CUSTOMER)

    assert store.last("whatsapp", "999") is None
    assert store.last("whatsapp", CUSTOMER) == clock.now
    assert store.forget_before(clock.now + TICK) == 1


@given(st.lists(st.datetimes(min_value=EARLIEST, timezones=st.just(UTC)), min_size=1, max_size=8))
def test_stores_keep_the_latest_moment(moments: list[datetime]) -> None:
    """To the microsecond, in any order."""
    with SqliteWindowStore(":memory:") as sqlite:
        memory = MemoryWindowStore()

        for moment in moments:
            sqlite.record("whatsapp", CUSTOMER, moment)
            memory.record("whatsapp", CUSTOMER, moment)

        assert sqlite.last("whatsapp", CUSTOMER) == memory.last("whatsapp", CUSTOMER) == max(moments)


def test_sqlite_store_survives_a_restart(tmp_path: Path) -> None:
    """Another process, or the same one later, knows what was recorded."""
    with (
        SqliteWindowStore(tmp_path / "windows.db") as first,
        SqliteWindowStore(tmp_path / "windows.db") as second,
    ):
        first.record("whatsapp", CUSTOMER, NOON)
        seen_by_neighbour = second.last("whatsapp", CUSTOMER)

    with SqliteWindowStore(tmp_path / "windows.db") as third:
        assert third.last("whatsapp", CUSTOMER) == seen_by_neighbour == NOON


async def test_sqlite_store_is_an_async_resource_and_works_from_threads(tmp_path: Path) -> None:
    """`async with` closes it, and `to_thread` keeps the loop free."""
    async with SqliteWindowStore(tmp_path / "windows.db") as store:
        window = CareWindow(store, clock=lambda: NOON)
        await asyncio.gather(*(asyncio.to_thread(window.record, str(number)) for number in range(20)))

        assert window.status("19").open
    await store.aclose()


def test_default_clock_and_repr_are_safe() -> None:
    """The clock is real unless given, and no number is shown."""
    window = CareWindow()

    window.record(CUSTOMER)

    assert window.status(CUSTOMER).open
    assert repr(window.store) == "<MemoryWindowStore of 1>"
