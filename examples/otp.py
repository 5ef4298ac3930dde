"""Send a one-time password: over WhatsApp, and by SMS if it is not delivered there within 30 seconds.

It repeats no send, and runs against the simulator. The page "One-time passwords" puts it into production.
"""

import asyncio
import math
from logging import ERROR, INFO, WARNING, getLogger
from typing import Literal, NamedTuple

import nexmo_dispatch_async as dispatch
from nexmo_dispatch_async import RetryPolicy, Timeout, Workflow, new_client_ref, sms, whatsapp
from nexmo_dispatch_async.simulator import Person, Simulator

logger = getLogger("otp")
BRAND, VALID_S, PAUSE_S = "Nexmo Verification", 600, 60
# A person waits: at most two attempts, the second within 5 s of the first, and each ends after 5 s.
RETRY, TIMEOUT = RetryPolicy(attempts=2, timeout=5), Timeout(connect=2, total=5)
LEVELS = {"correct_number": INFO, "other_way": ERROR}  # the person acts, the operator acts


class Answer(NamedTuple):
    """What your login acts on; the words for the person are the login's."""

    kind: Literal["sent", "perhaps_sent", "ask_again", "correct_number", "other_way"]
    seconds: int = 0  # until another code may be asked for
    dispatch_uuid: str | None = None  # by which a tracker knows the workflow


def password(number: str, code: str) -> Workflow:
    name, values = "whatsapp:hsm:technology:nexmo:verify", [BRAND, code, str(VALID_S // 60)]
    template = whatsapp.template(name, values, locale="en-GB", from_="447418342140", to=number)
    text = sms.text(f"{BRAND} code: {code}. Valid for {values[2]} minutes.", from_="31647356950", to=number)
    return Workflow.failover(template.until("delivered", within=30), text)


async def send_password(client: dispatch.DispatchClient, number: str, code: str, client_ref: str) -> Answer:
    """Send a code that your login has stored, with its reference."""
    try:
        sent = await client.send(password(number, code), client_ref=client_ref)
        return Answer("sent", PAUSE_S, sent.dispatch_uuid)
    except dispatch.DispatchError as error:
        answer = answer_to(error)
        # One line, which has no number and no code: an invalid workflow says each problem on its own.
        logger.log(LEVELS.get(answer.kind, WARNING), "one-time password: %s", " ".join(str(error).split()))
        return answer


def answer_to(error: dispatch.DispatchError) -> Answer:
    match error:
        case dispatch.OutcomeUnknownError():
            return Answer("perhaps_sent", PAUSE_S)
        case dispatch.UnacceptableError(findings=rules, details=service):
            names = [rule.field for rule in rules]
            names += [each.name for each in (service.invalid_parameters if service else ())]
            return Answer("correct_number" if any("to" in name.split(".") for name in names) else "other_way")
        case dispatch.ClientClosedError():  # this process ends, and the next one takes the next request
            return Answer("ask_again")
        # Credentials and certificates are not sent either, but no repetition mends these.
        case dispatch.NotSentError(error_class="temporary") if (error.retry_after or 0) <= VALID_S:
            return Answer("ask_again", math.ceil(error.retry_after or 0))
        case _:  # a setting, credit, the quota of the day: for the operator, who reads the log
            return Answer("other_way")


async def main() -> None:
    people = {"online": "9990001", "offline": "447700900123", "mistyped": "07700900123", "lost": "9990002"}
    async with Simulator() as sim, sim.client(retry=RETRY, timeout=TIMEOUT) as client:
        sim.people.add(people["offline"], Person(outcome="silent"), channel="whatsapp")
        # The service takes the code, and its response is lost: a repetition could be a second code.
        sim.faults.add({"kind": "reset", "when": "after", "recipient": people["lost"]})
        for who, number in people.items():
            before = len(sim.sent_channels())
            answer = await send_password(client, number, "271828", new_client_ref())
            await sim.advance(30)  # virtual seconds
            print(f"{who}: {answer.kind}; channels: {', then '.join(sim.sent_channels()[before:]) or 'none'}")


if __name__ == "__main__":
    asyncio.run(main())
