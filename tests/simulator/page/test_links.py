"""What belongs together leads to each other: workflows, their callbacks, and the totals of all."""

from tests.simulator.page.conftest import SILENT, Desk, whatsapp_then_sms
from tests.simulator.support import step, workflow

LINES = (
    "[...document.querySelectorAll('#log .callback')].map(e => e.querySelector('.origin')?.textContent ?? '')"
)


async def test_callbacks_and_workflows_lead_to_each_other(desk: Desk) -> None:
    """A callback names its workflow; the card shows its own callbacks, and new ones of others stay out."""
    page = desk.page
    await desk.send(workflow(step("sms", SILENT, client_ref="order-<b>17</b>")))
    await desk.send(whatsapp_then_sms())
    await desk.sim.advance(1)
    desk.sim.inbound("Are you open?", channel="sms", from_=SILENT, to="31600000001")
    await desk.sim.advance(0)
    await page.until_text("#log", "inbound")
    named = await page.run(LINES)

    await page.click("#log .callback:last-child .origin")
    await page.until("document.activeElement.matches('.flow')")
    chosen = await page.text("#cards h3")
    reference = await page.text("#cards .reference")
    await page.click("[data-key=callbacks]")
    await page.until_text("#whose", "Only of workflow #1")
    own = await page.run(LINES)
    desk.sim.set_status(next(iter(desk.sim._engine.messages)), "delivered")
    await desk.sim.advance(0)
    await page.until_text("#cards .flow-head", "Completed")
    await page.until("document.querySelectorAll('#log .callback').length === 3")
    later = await page.run(LINES)
    await page.click("#whose")
    await page.until("document.querySelector('#whose').hidden")

    assert sorted(named) == ["", "#1", "#2"]
    assert (chosen, reference) == ("Workflow #1", "order-<b>17</b>")
    assert (own, later) == (["#1"], ["#1"] * 3)
    assert set(await page.run(LINES)) == {"", "#1", "#2"}


async def test_totals_are_told_and_cleared_when_confirmed(desk: Desk) -> None:
    """CampaignCallbacks, the share of failovers, and the cost; a cancelled clearing clears nothing."""
    page = desk.page
    await desk.send(workflow(step("sms", "999000000001")))
    await desk.send(workflow(step("whatsapp", "999313000001", within=60), step("sms", "999500000001")))
    await desk.send(workflow(step("messenger", "999313400003")))
    await desk.sim.advance(30)
    await page.until_text("[data-total=completed]", "1")
    told = await page.text("#totals")
    await page.click("#list .item:last-child .pick")

    await page.click("#clear")
    await page.until("document.activeElement.textContent === 'Cancel'")
    await page.press("Enter")
    await page.until("!document.querySelector('#clear-dialog').open")
    kept = desk.sim.in_flight
    # Opened again before the browser has told of the closing, which is no answer to the new question.
    await page.run("document.querySelector('#clear').click()")
    await page.run(
        "document.querySelector('#clear-dialog').close(''); document.querySelector('#clear').click()"
    )
    await page.click("#clear-dialog [value=clear]")
    await page.until("!document.querySelector('#empty').hidden")
    await page.until("document.querySelectorAll('.item, .flow, .callback').length === 0")

    assert told == "Sent 3 In flight 1 Completed 1 Error 1 Failed over 33 % Cost € 0.0373"
    assert (kept, desk.sim.in_flight) == (1, 0)
    assert await page.text("[data-total=accepted]") == "0"
    await desk.send(whatsapp_then_sms())
    await page.until_text("#cards h3", "#4")
