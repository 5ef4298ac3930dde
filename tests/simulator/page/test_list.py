"""The list of the page: every workflow is found, few are drawn, and the one that is looked at stays."""

from typing import Any

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller
from tests.simulator.page.browser import Browser, Tab
from tests.simulator.page.conftest import Desk, whatsapp_then_sms
from tests.simulator.support import step, workflow

NUMBERS = "[...document.querySelectorAll('#list .number')].map(e => Number(e.textContent.slice(1)))"


async def search(page: Tab, text: str) -> None:
    """Replace what is in the search field."""
    await page.run("(e => { e.focus(); e.select(); })(document.querySelector('#search'))")
    await page.type(text)


async def choose(page: Tab, selector: str, value: str) -> None:
    """Choose an option of a select element."""
    await page.run(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        f"(document.querySelector({selector!r}))"
    )


async def send_all(caller: Caller, bodies: list[dict[str, Any]]) -> None:
    """Send workflows in order."""
    for body in bodies:
        assert (await caller.send(body))[0] == 202


async def test_five_hundred_workflows_are_reached_and_few_are_drawn(desk: Desk) -> None:
    """Pages lead to the oldest workflow, a search finds any of them, and the page stays small.

    A workflow that is older still is shown when its callback leads to it.
    """
    page = desk.page
    await send_all(desk.caller, [workflow(step("sms", f"999500{n:06}")) for n in range(501)])
    await page.until_text("#count", "1 to 50 of 500, the newest 500 of 501")
    await page.until_text("#list .number", "#501")
    newest = await page.run(NUMBERS)

    for first in range(51, 500, 50):
        await page.click("#older")
        await page.until_text("#count", f"{first} to {first + 49} of 500")
    oldest = await page.run(NUMBERS)
    await page.click("#list .item:last-child .pick")
    await page.until_text("#cards h3", "#2")
    shown = await page.text("#cards .flow h3")
    drawn = await page.run("[document.querySelectorAll('*').length, document.body.scrollHeight]")
    await search(page, "to:999500000321")
    found = await page.run(NUMBERS)

    assert (newest, oldest) == (list(range(501, 451, -1)), list(range(51, 1, -1)))
    assert shown == "Workflow #2"
    assert await page.run("document.querySelector('#older').disabled")
    assert drawn[0] < 2_500
    assert drawn[1] < 2_500
    assert found == [322]
    assert await page.text("#count") == "1 to 1 of 1 found"
    desk.sim.set_status(next(iter(desk.sim._engine.messages)), "submitted")
    await desk.sim.advance(0, settle=0)
    await page.until_text("#log li:first-child .origin", "#1")
    await page.click("#log li:first-child .origin")
    await page.until_text("#cards h3", "#1")
    await page.click("[data-action=delivered]")
    await page.until_text("#cards .pill", "Completed")
    assert await page.run("document.querySelectorAll('[aria-current]').length") == 0


async def test_workflows_are_found_by_recipient_channel_state_error_and_reference(desk: Desk) -> None:
    """By words, by fields, and by the filters; what does not match is not shown."""
    table = {"content": {"type": "text", "text": "Your table is ready"}}
    await send_all(
        desk.caller,
        [
            workflow(step("sms", "999000000001", client_ref="order-17")),
            workflow(step("whatsapp", "999313000002", within=60), step("sms", "999500000002")),
            workflow(step("messenger", "999313400003")),
            workflow(step("viber_service_msg", "999500000004", message=table, client_ref="order-18")),
        ],
    )
    await desk.sim.advance(30)
    page = desk.page
    await page.until("document.querySelectorAll('.item[data-state=error]').length === 1")
    await page.until("document.querySelectorAll('.item[data-state=completed]').length === 1")

    typed = {
        "999000": [1],
        "to:999500": [4, 2],
        "channel:whats": [2],
        "state:completed": [1],
        "error:": [3, 2],
        "1340": [3],
        'error:"outside of the allowed"': [3],
        "ref:ORDER-1": [4, 1],
        "order-18": [4],
        '"table is"': [4],
        "table order-17": [],
        "#2": [2],
        "ref: state:running": [4],
        "<img>": [],
        "": [4, 3, 2, 1],
    }
    seen: dict[str, Any] = {}
    for text in typed:
        await search(page, text or " ")
        seen[text] = await page.run(NUMBERS)
    assert seen == typed

    await choose(page, "#error", "1300")
    by_error = await page.run(NUMBERS)
    await choose(page, "#error", "any")
    await page.click("#filter input[value=error]")
    await page.until("document.querySelector('#filter input[value=error]').checked")
    by_state = await page.run(NUMBERS)
    await choose(page, "#channel", "mms")
    await page.until("!document.querySelector('#none-shown').hidden")
    await page.click("#clear-search")
    await page.until("document.querySelector('#filter input[value=all]').checked")

    assert (by_error, by_state) == ([2], [3])
    assert await page.run(NUMBERS) == [4, 3, 2, 1]


async def test_the_newest_workflow_is_shown_until_another_one_is_chosen(desk: Desk) -> None:
    """A workflow that is looked at stays when others arrive; its row is marked, and is kept up to date."""
    page = desk.page
    await desk.send(whatsapp_then_sms())
    await desk.send(whatsapp_then_sms())
    await page.until_text("#cards h3", "#2")

    await page.click("#list .item:nth-child(2) .pick")
    await page.until_text("#cards h3", "#1")
    await desk.send(whatsapp_then_sms())
    kept = await page.text("#cards h3")
    await page.click("[data-action=read]")
    await page.until("document.querySelector('[aria-current]').closest('li').dataset.state === 'completed'")
    await page.click("#follow")
    await page.until_text("#cards h3", "#3")
    await page.click("[data-action=delivered]")
    await desk.send(whatsapp_then_sms())
    held = await page.text("#cards h3")
    await page.click("#all-cards")
    await page.until("document.querySelector('#all-cards').checked")

    assert (kept, held) == ("Workflow #1", "Workflow #3")
    assert await page.run("document.querySelectorAll('#cards .flow').length") == 4
    assert await page.run(
        "[...document.querySelectorAll('.item:last-child .leg svg')].map(e => e.getAttribute('aria-label'))"
    ) == ["WhatsApp read", "SMS not sent"]


async def test_a_phone_shows_the_list_or_a_card(browser: Browser, caller: Caller, sim: Simulator) -> None:
    """Nothing is wider than the screen; a row leads to its card, which leads back to the row."""
    text = "x" * 200 + " https://shop.example.com/" + "y" * 100
    for number in range(20):
        await caller.send(whatsapp_then_sms(text) if number % 2 else whatsapp_then_sms())
    page = await browser.open(sim.url + "/", width=390, height=844)
    await page.until("document.querySelectorAll('.item').length === 15")
    reach: dict[tuple[int, str], int] = {}
    for width in (320, 360, 390):
        await page.look(width=width, height=844)
        reach[width, "list"] = await page.run(REACH)

    await page.click(".item:nth-child(3) .pick")
    await page.until("document.activeElement.matches('.flow')")
    shown = await page.run(
        "[...document.querySelectorAll('#workflows, #card-part')].map(e => e.checkVisibility())"
    )
    for width in (320, 360, 390):
        await page.look(width=width, height=844)
        reach[width, "card"] = await page.run(REACH)
    await page.until("document.querySelector('#back').getBoundingClientRect().top > 100")
    await page.click("#back")
    await page.until("document.activeElement.matches('.pick')")
    back = await page.run("document.activeElement.textContent")

    await page.close()
    assert shown == [False, True]
    assert "#18" in back
    assert [where for where, right in reach.items() if right > where[0]] == []


# How far to the right rows, cards and what is in them reach; `innerWidth` would grow with them on a phone.
REACH = """
(async () => {
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const parts = [...document.querySelectorAll(".item, .pick > *, .flow, .flow-head, .flow .pill")];
  return Math.max(...parts.map(part => part.getBoundingClientRect().right));
})()
"""
