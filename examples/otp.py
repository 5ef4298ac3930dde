"""Send a one-time password: over WhatsApp, and by SMS if it is not read within 30 seconds.

It runs against the simulator and needs no account; the page "One-time passwords" of the documentation puts
it into production. The program repeats no send: the person asks for a new code, after a minute.
"""

import asyncio
import logging
import math
import secrets

import nexmo_dispatch_async as dispatch
from nexmo_dispatch_async import RetryPolicy, Timeout, Workflow, new_client_ref, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator

logger = logging.getLogger("otp")
BRAND, MINUTES, NEW_CODE_S = "Nexmo Verification", 10, 60
UNKNOWN = f"a code may have been sent: wait for it before you ask for another, in {NEW_CODE_S} s"
# A person waits: at most two attempts, the second within 5 s of the first, and each ends after 5 s.
RETRY, TIMEOUT = RetryPolicy(attempts=2, timeout=5), Timeout(connect=2, total=5)
# Recipients of the simulator: the first reads after 5 seconds, the second never does.
READS, NEVER_READS, MISTYPED = "999200050001", "999100000001", "07700900123"


def password(number: str, code: str) -> Workflow:
    name, values = "whatsapp:hsm:technology:nexmo:verify", [BRAND, code, str(MINUTES)]
    template = whatsapp.template(name, values, locale="en-GB", from_="447418342140", to=number)
    text = sms.text(f"{BRAND} code: {code}. Valid for {MINUTES} minutes.", from_="31647356950", to=number)
    return Workflow.failover(template.until("read", within=30), text)


async def send_password(
    client: dispatch.DispatchClient, number: str, code: str, client_ref: str
) -> tuple[str, dispatch.Dispatch | None]:
    """Send a code that your login has stored; return what its page says, and what a tracker follows."""
    try:
        return "a code was sent", await client.send(password(number, code), client_ref=client_ref)
    except dispatch.DispatchError as error:
        # One line, which has no number and no code: an invalid workflow says each problem on its own.
        logger.warning("one-time password: %s", " ".join(str(error).split()))
        return words_for(error), None


def words_for(error: dispatch.DispatchError) -> str:
    match error:
        case dispatch.OutcomeUnknownError():
            return UNKNOWN
        case dispatch.RateLimitError(retry_after=float(wait)) if wait <= MINUTES * 60:
            return f"no code was sent: try again in {math.ceil(wait / 60)} min"
        case dispatch.InvalidWorkflowError() if any("to." in each.field for each in error.findings):
            return "this number cannot be reached: correct it"
        # Credentials and certificates are not sent either, but no repetition mends these.
        case dispatch.NotSentError(error_class="temporary") if not isinstance(error, dispatch.RateLimitError):
            return "no code was sent: try again"
        case _:  # a setting, credit, the quota of the day: for the operator, who reads the log
            return "no code can be sent now: log in another way"


async def main() -> None:
    async with Simulator() as sim, sim.client(retry=RETRY, timeout=TIMEOUT) as client:
        for who, number in {"reads": READS, "never reads": NEVER_READS, "mistyped": MISTYPED}.items():
            before = len(sim.sent_channels())
            # Your login stores both first, the code as a hash: one whose outcome is unknown may arrive.
            code, client_ref = f"{secrets.randbelow(1_000_000):06}", new_client_ref()
            answer, _ = await send_password(client, number, code, client_ref)
            await sim.advance(30)  # virtual seconds
            print(f"{who}: {answer}; sent on {', then '.join(sim.sent_channels()[before:]) or 'nothing'}")

        # The service takes the code, and its response is lost: a repetition could be a second code.
        sim.faults.add({"kind": "reset", "route": "POST /dispatch", "when": "after", "count": 1})
        answer, _ = await send_password(client, READS, "271828", new_client_ref())
        print("lost response:", answer)
        print("workflows accepted:", sim.accepted)


if __name__ == "__main__":
    asyncio.run(main())
