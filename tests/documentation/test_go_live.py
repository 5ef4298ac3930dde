"""The first step of docs/go_live.md, with what a newcomer has by then: the credentials of a project."""

import re

from nexmo_dispatch_async.cli import doctor
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.simulator import Simulator
from tests.support.paths import ROOT

FIRST_STEP = (ROOT / "docs" / "go_live.md").read_text("utf-8").partition("## 2. ")[0]


async def test_the_first_doctor_finds_what_the_page_says() -> None:
    """The service takes the credentials; the application, which a later step makes, alone is missing."""
    (command,) = re.findall(r"^nexmo-dispatch doctor (.+)$", FIRST_STEP, re.MULTILINE)
    parts = frozenset(Part(name) for name in re.findall(r"--only (\w+)", command))
    async with Simulator() as sim:
        environ = {
            "NEXMO_DISPATCH_CLIENT_ID": sim.client_id,
            "NEXMO_DISPATCH_CLIENT_SECRET": sim.client_secret,
            "NEXMO_DISPATCH_BASE_URL": sim.base_url,
            "NEXMO_DISPATCH_TOKEN_URL": sim.token_url,
        }
        findings = await doctor.examine(DoctorOptions(parts=parts), environ)

        assert sim.tokens_issued == 1
    (bad,) = [finding.code for finding in findings if finding.level == "bad"]
    assert f"It ends with one `BAD`, `{bad}`" in FIRST_STEP
