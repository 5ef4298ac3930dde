"""The documented example workflows, each with a test number as recipient that determines its end.

The test numbers are those of the simulator (docs/simulator.md).
"""

from dataclasses import dataclass
from typing import Literal

from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.workflow import Workflow

VERIFY_TEMPLATE = "whatsapp:hsm:technology:nexmo:verify"
VERIFY_PARAMETERS = ("Nexmo Verification", "64873", "10")

DEFAULT_PERSON = "99900000001"
NEVER_READS = "99910000001"
READS_AFTER_20_SECONDS = "99920020001"
NO_VIBER_USER = "99941300001"
REPLIES = "99970000001"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workflow, its simulated duration, and the callbacks that must arrive."""

    title: str
    workflow: Workflow
    advance: float  # simulated seconds
    statuses: tuple[tuple[str, str], ...]  # (channel, status), in any order
    report: Literal["completed", "error"]
    replies: int = 0
    #: whether the recipient of the first step has written before, which allows free content (contract 7.1)
    writes_first: bool = False


SCENARIOS = (
    Scenario(
        "WhatsApp template until read within 600 s, then SMS; never read",
        Workflow.failover(
            whatsapp.template(
                VERIFY_TEMPLATE, VERIFY_PARAMETERS, from_="447418342140", to=NEVER_READS, locale="en-GB"
            ).until("read", within=600),
            sms.text("This is an SMS sent via the Dispatch API", from_="31647356950", to=DEFAULT_PERSON),
        ),
        advance=660,
        statuses=(
            ("whatsapp", "submitted"),
            ("whatsapp", "delivered"),
            ("sms", "submitted"),
            ("sms", "delivered"),
        ),
        report="completed",
    ),
    Scenario(
        "WhatsApp text to a customer who wrote until read within 60 s, then SMS",
        Workflow.failover(
            whatsapp.text(
                "This is logging message for test ", from_="447418342140", to=READS_AFTER_20_SECONDS
            ).until("read", within=60),
            sms.text(
                "This is a fallback SMS sent from the Workflows API for whatsapp messenger",
                from_="31647356950",
                to=DEFAULT_PERSON,
            ),
        ),
        advance=120,
        statuses=(("whatsapp", "submitted"), ("whatsapp", "delivered"), ("whatsapp", "read")),
        report="completed",
        writes_first=True,
    ),
    Scenario(
        "Messenger text to a customer who wrote, one step; the customer answers",
        Workflow.failover(
            messenger.text(
                "This is a Facebook Messenger message sent from the Dispatch API",
                from_="118820033417905",
                to=REPLIES,
            ),
        ),
        advance=120,
        statuses=(("messenger", "submitted"), ("messenger", "delivered"), ("messenger", "read")),
        report="completed",
        replies=1,
        writes_first=True,
    ),
    Scenario(
        "Viber text, one step; the recipient does not use Viber",
        Workflow.failover(
            viber.text(
                "This is a Viber Service Message sent from the Dispatch API",
                from_="VIBER_SERVICE_MESSAGE_ID",
                to=NO_VIBER_USER,
            ),
        ),
        advance=120,
        statuses=(("viber_service_msg", "submitted"), ("viber_service_msg", "undeliverable")),
        report="error",
    ),
    Scenario(
        "WhatsApp template, one step",
        Workflow.failover(
            whatsapp.template(
                VERIFY_TEMPLATE, VERIFY_PARAMETERS, from_="447418342140", to=DEFAULT_PERSON, locale="en-GB"
            ),
        ),
        advance=120,
        statuses=(("whatsapp", "submitted"), ("whatsapp", "delivered"), ("whatsapp", "read")),
        report="completed",
    ),
)
