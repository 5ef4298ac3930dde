"""The engine of the simulator: workflows, messages, people and callbacks on a virtual clock, without I/O.

Requests come in as accepted steps, callbacks come out as deliveries that are due; the caller carries them out
and passes the responses back. Failover is decided in `failover.py`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from nexmo_dispatch_async.failover import Arm, Decision, FailoverState, Finish, Send, strongest
from nexmo_dispatch_async.simulator.callbacks.bodies import Answer, Callback, Delivery, Kind, Signer
from nexmo_dispatch_async.simulator.callbacks.composer import CallbackComposer, address_of
from nexmo_dispatch_async.simulator.callbacks.outbox import Outbox
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.faults import Faults
from nexmo_dispatch_async.simulator.world.history import (
    History,
    StatusReached,
    StepExpired,
    StepSent,
    WorkflowEnded,
)
from nexmo_dispatch_async.simulator.world.people import READING_CHANNELS, Act, People, Person
from nexmo_dispatch_async.simulator.world.platform import (
    CARE_WINDOW_MS,
    cut_by_ttl,
    is_charged,
    refusal,
    rejected,
)
from nexmo_dispatch_async.simulator.world.runs import Message, Run
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.steps import SimulatedStep
from nexmo_dispatch_async.simulator.world.tally import Tally
from nexmo_dispatch_core.error_names import reason_for
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Engine", "Message", "Run"]

_Thread = tuple[str, str, str]  # channel, business, customer

_DAY_MS: Final = 24 * 3600 * 1000

# The text by which a customer opts out (contract 6.1, code 1240).
_STOP: Final = "STOP"


# Events are part of no reference cycle, so the garbage collector need not track them.


class _Happens(msgspec.Struct, gc=False):
    """An act of a person or of the platform on a message, and the acts that follow."""

    message: Message
    acts: tuple[Act, ...]
    place: int


class _Expires(msgspec.Struct, gc=False):
    run: Run
    step: int


class _Closes(msgspec.Struct, gc=False):
    """The end of a silent workflow, by `Settings.close_silent_after` (contract 9.12)."""

    run: Run


class _Reports(msgspec.Struct, gc=False):
    run: Run


class _Delivers(msgspec.Struct, gc=False):
    """The next attempt of a callback, unless another attempt has been made by then."""

    callback: Callback
    attempts: int


_Event = _Happens | _Expires | _Closes | _Reports | _Delivers

# Order of events at the same time: a status at the time of expiry is still in time.
_RANK: Final[dict[type[_Event], int]] = {_Happens: 0, _Reports: 1, _Delivers: 2, _Expires: 3, _Closes: 4}


class Engine:
    """Everything that happens after the acceptance of a workflow.

    Args:
        settings: The switches.
        people: The behaviour of recipients.
        applications: The applications, with the URLs of callbacks.
        random: Source of ids and latencies.
        signer: Signs callbacks.
        history: Receives the records.
        faults: The armed faults.
        epoch: The moment of virtual time 0.
        keep: Maximum number of ended workflows in memory.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        people: People,
        applications: SimulatedApplications,
        random: SeededRandom,
        signer: Signer,
        history: History,
        epoch: datetime,
        keep: int,
        faults: Faults | None = None,
    ) -> None:
        # collaborators
        self.settings = settings
        self.people = people
        self.applications = applications
        self.history = history
        self._random = random
        # time
        self.now_ms: int = 0
        self._heap: list[tuple[int, int, int, bool, _Event]] = []
        self._pushed = 0
        self._under_way = 0
        # workflows
        self.runs: dict[str, Run] = {}
        self.messages: dict[str, Message] = {}
        self.accepted: int = 0
        self.in_flight: int = 0
        self.tally: Tally = Tally()
        self._ended: deque[Run] = deque()
        self._keep = keep
        # callbacks
        self._composer = CallbackComposer(settings, epoch)
        self._outbox = Outbox(
            settings=settings,
            faults=Faults(random) if faults is None else faults,
            signer=signer,
            history=history,
            plan=self._plan_delivery,
            now_ms=lambda: self.now_ms,
        )
        # customers, by channel and both addresses: last inbound message, opt-out, lines used of the script,
        # start and number of repeated replies; by channel and address: first message
        self._inbound = 0
        self._last_inbound: dict[_Thread, int] = {}
        self._opted_out: set[_Thread] = set()
        self._lines_used: dict[_Thread, int] = {}
        self._repeated_replies: dict[_Thread, tuple[int, int]] = {}
        self._first_sent: dict[tuple[str, str], int] = {}

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Engine at {self.now_ms / 1000:g} s, workflows in flight: {self.in_flight}>"

    # ---- input

    def accept(self, application: SimulatedApplication, steps: tuple[SimulatedStep, ...]) -> Run:
        """Start a workflow: its first step is sent immediately (contract 3.6)."""
        self.accepted += 1
        self.in_flight += 1
        self.tally.accepted += 1
        number = self.accepted
        state = FailoverState(tuple([step.condition for step in steps]))
        run = Run(number, self._random.uuid(f"dispatch/{number}"), application, steps, state, self.now_ms)
        self.runs[run.dispatch_uuid] = run
        self._carry_out(run, state.start())
        return run

    def intervene(self, message_uuid: str, status: str, *, code: int | None = None, reason: str = "") -> None:
        """Set the status of a message now, overriding the person's script.

        Raises:
            KeyError: No message in memory has this uuid.
        """
        message = self.messages[message_uuid]
        message.by_hand = True
        text = reason or ("" if code is None else reason_for(code))
        self._reach(message, Act(0, status, code, text))

    def reply(self, message_uuid: str, content: str | Mapping[str, object]) -> None:
        """Reply to a message as its recipient, with a text or any content of contract 5.5.2.

        Raises:
            KeyError: No message in memory has this uuid.
        """
        self._reply(self.messages[message_uuid], content)

    def inbound(
        self,
        application: SimulatedApplication,
        *,
        to: dict[str, str],
        from_: dict[str, str],
        content: str | Mapping[str, object],
    ) -> None:
        """Receive a message from a customer to a business address (contract 5.5)."""
        if isinstance(content, str):
            content = {"type": "text", "text": content}
        self._inbound += 1
        customer = address_of(from_)
        thread = (to["type"], address_of(to).strip(), customer.strip())
        self._last_inbound[thread] = self.now_ms
        if str(content.get("text", "")).strip().upper() == _STOP:
            self._opted_out.add(thread)
        uuid = self._random.uuid(f"inbound/{self._inbound}")
        body = self._composer.inbound(uuid, self.now_ms, to=to, from_=from_, content=content)
        url = application.inbound_url
        self._call_back("inbound-message", application, url, body, application.id, (customer,))

    def answered(self, delivery: Delivery, answer: Answer) -> None:
        """Record the response to a delivery, and plan the next attempt if there is one (contract 5.10)."""
        self._outbox.answered(delivery, answer)

    def put_back(self, delivery: Delivery) -> None:
        """Return a delivery that was not carried out; it is due again."""
        self._outbox.put_back(delivery)

    def clear(self) -> None:
        """Forget all workflows, records and callbacks; the clock and what is known of customers stay."""
        for memory in (self.runs, self.messages, self._ended, self._heap, self._outbox, self.history):
            memory.clear()
        self.in_flight = self._under_way = 0
        self.tally = Tally()

    # ---- time

    @property
    def settled(self) -> bool:
        """Whether the platform has finished its own short acts and no callback is due."""
        return self._under_way == 0 and not self._outbox

    def next_at(self) -> int | None:
        """Return the time of the next event, None if there is none."""
        return self.now_ms if self._outbox else self._peek()

    def next_delivery(self, until_ms: int) -> Delivery | None:
        """Advance to the next delivery and return it; None if none is due until `until_ms`.

        Without a delivery the clock then is at `until_ms` (it never goes back).
        """
        while not self._outbox:
            if not self._step(until_ms):
                return None
        return self._outbox.take()

    def pass_time(self, until_ms: int) -> None:
        """Process all events until `until_ms`, each at its time; deliveries are queued."""
        while self._step(until_ms):
            pass

    def _step(self, until_ms: int) -> bool:
        """Process the next event if it is due until `until_ms`, else move the clock there."""
        at = self._peek()
        if at is None or at > until_ms:
            self.now_ms = max(self.now_ms, until_ms)
            return False
        event = self._pop()
        self.now_ms = max(self.now_ms, at)
        self._happen(event)
        return True

    def _peek(self) -> int | None:
        while self._heap and self._is_stale(self._heap[0][4]):
            self._pop()
        return self._heap[0][0] if self._heap else None

    def _push(self, at_ms: int, event: _Event, *, soon: bool = False) -> None:
        self._pushed += 1
        self._under_way += soon
        heapq.heappush(self._heap, (at_ms, _RANK[type(event)], self._pushed, soon, event))

    def _pop(self) -> _Event:
        _, _, _, soon, event = heapq.heappop(self._heap)
        self._under_way -= soon
        return event

    def _is_stale(self, event: _Event) -> bool:
        """Return whether an event is obsolete: a disarmed expiry must not keep the clock busy."""
        match event:
            case _Expires(run, step):
                return not run.failover.is_armed(step)
            case _Closes(run):
                return run.failover.outcome is not None
            case _Delivers(callback, attempts):
                return callback.attempts != attempts
            case _:
                return False

    def _happen(self, event: _Event) -> None:
        match event:
            case _Happens(message, acts, place):
                self._plan(message, acts, place + 1)
                self._act(message, acts[place])
            case _Expires(run, step):
                self.history.add(StepExpired(at_ms=self.now_ms, dispatch_uuid=run.dispatch_uuid, step=step))
                self._carry_out(run, run.failover.expire(step))
            case _Closes(run):
                run.failover.outcome = "error"
                self._carry_out(run, (Finish("error"),))
            case _Reports(run):
                self._report(run)
            case _Delivers(callback):
                self._outbox.attempt(callback)

    # ---- workflows

    def _carry_out(self, run: Run, decisions: tuple[Decision, ...]) -> None:
        for decision in decisions:
            match decision:
                case Send(step):
                    self._send(run, step)
                case Arm(step, seconds):
                    self._push(
                        self.now_ms + round(seconds * 1000) + self._lag(run, step), _Expires(run, step)
                    )
                case Finish(status):
                    self._end(run, status)
                case _:  # a disarmed expiry is dropped by `_is_stale`
                    pass

    def _send(self, run: Run, index: int) -> None:
        step = run.steps[index]
        purpose = f"{run.number}/{index}"
        message = Message(self._random.uuid("message/" + purpose), run, index, step, self.now_ms)
        run.messages.append(message)
        if index == 1:
            self.tally.failed_over += 1
        self.messages[message.uuid] = message
        self.history.add(
            StepSent(
                at_ms=self.now_ms,
                dispatch_uuid=run.dispatch_uuid,
                step=index,
                message_uuid=message.uuid,
                channel=step.channel,
            )
        )
        person = self.people.find(step.address, step.channel)
        refused = self._refusal(run.application, step, person)
        if refused is not None:
            acts = [refused]
        else:
            acts = person.acts(step.channel, self._random, purpose, step.address)
            acts = cut_by_ttl(acts, step.ttl, self.settings)
        self._plan(message, tuple(acts), 0)
        if step.condition is None and self.settings.close_silent_after is not None:
            self._push(self.now_ms + round(self.settings.close_silent_after * 1000), _Closes(run))

    def _lag(self, run: Run, step: int) -> int:
        most = round(self.settings.expiry_lag * 1000)
        return self._random.between(f"lag/{run.number}/{step}", 0, most) if most else 0

    def _refusal(self, application: SimulatedApplication, step: SimulatedStep, person: Person) -> Act | None:
        """Return the rejection of a message by the platform, None if it is accepted (contract 6.1, 7)."""
        channel, address = step.channel, step.address.strip()
        thread = (channel, step.from_address.strip(), address)
        if thread in self._opted_out:
            return rejected(1240)
        if self.settings.one_account and channel in READING_CHANNELS:
            account = application.accounts.setdefault(channel, thread[1])
            if account != thread[1]:
                return rejected(1120)
        if person.off_after is not None:
            first = self._first_sent.setdefault((channel, address), self.now_ms)
            if self.now_ms - first >= person.off_after * 1000:
                return rejected(1300)
        last = self._last_inbound.get(thread)
        window_open = last is not None and self.now_ms - last < CARE_WINDOW_MS
        return refusal(step, self.settings, window_open=window_open)

    def _plan(self, message: Message, acts: tuple[Act, ...], place: int) -> None:
        """Schedule the next act only, which keeps the heap small."""
        if place < len(acts):
            act = acts[place]
            self._push(message.sent_ms + act.after_ms, _Happens(message, acts, place), soon=act.soon)

    def _act(self, message: Message, act: Act) -> None:
        if not act.status:
            self._follow_script(message, act.script)
        elif not message.by_hand or strongest(message.status, act.status) != message.status:
            self._reach(message, act)

    def _reach(self, message: Message, act: Act) -> None:
        run, step, status = message.run, message.step, act.status
        message.status = strongest(message.status, status)
        price: Decimal | None = None
        if is_charged(step.channel, status, self.settings, before=message.price is not None):
            price = message.price = self.settings.prices.get(step.channel, Decimal(0))
            self.tally.charge(run, price, self.settings.workflow_fee)
        self.history.add(
            StatusReached(
                at_ms=self.now_ms,
                dispatch_uuid=run.dispatch_uuid,
                step=message.index,
                message_uuid=message.uuid,
                status=status,
                code=act.code,
            )
        )
        if run.application.status_url:
            error = None if act.code is None else (act.code, act.reason)
            body = self._composer.status(message, status, self.now_ms, error=error, price=price)
            self._report_to_status_url("message-status", run, body, (step.address,))
        self._carry_out(run, run.failover.observe(message.index, status))

    def _follow_script(self, message: Message, script: tuple[str, ...]) -> None:
        """Send the next line of a script as a reply; a script of a single line repeats it."""
        step = message.step
        thread = (step.channel, step.from_address.strip(), step.address.strip())
        if len(script) > 1:
            place = self._lines_used.get(thread, 0)
            self._lines_used[thread] = place + 1
            if place < len(script):
                self._reply(message, script[place])
        elif script and self._may_repeat(thread):
            self._reply(message, script[0])

    def _may_repeat(self, thread: _Thread) -> bool:
        """Count a repeated reply; False above the maximum, so that a receiver that answers each ends."""
        since, times = self._repeated_replies.get(thread, (self.now_ms, 0))
        if self.now_ms - since >= _DAY_MS:
            since, times = self.now_ms, 0
        self._repeated_replies[thread] = (since, times + 1)
        return self.settings.most_replies is None or times < self.settings.most_replies

    def _reply(self, message: Message, content: str | Mapping[str, object]) -> None:
        step = message.step
        # In inbound messages a customer on Viber has a number, even if the step had an id (contract 5.5.1).
        key = "number" if step.channel == "viber_service_msg" else step.to_key
        customer = {"type": step.channel, key: step.address}
        self.inbound(message.run.application, to=step.sender, from_=customer, content=content)

    def _end(self, run: Run, status: Literal["completed", "error"]) -> None:
        run.ended_ms = self.now_ms
        self.in_flight -= 1
        self.tally.end(run, status, self.settings.workflow_fee)
        self.history.add(WorkflowEnded(at_ms=self.now_ms, dispatch_uuid=run.dispatch_uuid, status=status))
        # The captures stamp the report 40-65 ms after the status that ended the workflow (contract 3.6).
        lag = self._random.between(f"report/{run.number}", 40, 65)
        self._push(self.now_ms + lag, _Reports(run), soon=True)
        self._ended.append(run)
        while len(self._ended) > self._keep:
            old = self._ended.popleft()
            del self.runs[old.dispatch_uuid]
            for message in old.messages:
                del self.messages[message.uuid]

    def _report(self, run: Run) -> None:
        if run.application.status_url:
            body = self._composer.report(run, self.now_ms)
            self._report_to_status_url(
                "final-report", run, body, [message.step.address for message in run.messages]
            )
        run.reported = True

    # ---- callbacks

    def _report_to_status_url(self, kind: Kind, run: Run, body: bytes, recipients: Iterable[str]) -> None:
        url, uuid = run.application.status_url, run.dispatch_uuid
        self._call_back(kind, run.application, url, body, uuid, recipients, reported=run.reported)

    def _call_back(
        self,
        kind: Kind,
        application: SimulatedApplication,
        url: str,
        body: bytes,
        subject: str,
        recipients: Iterable[str],
        *,
        reported: bool = False,
    ) -> None:
        if url and self.applications.get(application.id) is not None:
            self._outbox.post(
                kind,
                application_id=application.id,
                url=url,
                body=body,
                subject=subject,
                recipients=recipients,
                reported=reported,
            )

    def _plan_delivery(self, at_ms: int, callback: Callback) -> None:
        self._push(at_ms, _Delivers(callback, callback.attempts))
