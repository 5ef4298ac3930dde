"""A press of a button on the page counts, whatever arrives until its release."""

from tests.simulator.page.conftest import FIRST, Desk, whatsapp_then_sms


async def test_a_click_is_not_lost_when_its_card_is_drawn_again(desk: Desk) -> None:
    """A press of the mouse takes a tenth of a second, in which a busy workflow is drawn again."""
    await desk.send(whatsapp_then_sms())
    place = await desk.page.place("[data-action=reply]")
    await desk.page.mouse("mousePressed", **place)
    await desk.sim.advance(1)
    await desk.page.until_text("#now", "0:01")

    assert "Submitted" not in await desk.page.text(FIRST)
    await desk.page.mouse("mouseReleased", **place)

    await desk.page.until("document.activeElement.id === 'reply-text'")
    await desk.page.until_text(FIRST, "Submitted")


async def test_a_key_is_not_lost_when_its_card_is_drawn_again(desk: Desk) -> None:
    """The space bar presses a button when it is released."""
    await desk.send(whatsapp_then_sms())
    await desk.page.run("document.querySelector('[data-action=reply]').focus()")
    await desk.page.key("keyDown", " ")
    await desk.sim.advance(1)
    await desk.page.until_text("#now", "0:01")

    assert "Submitted" not in await desk.page.text(FIRST)
    await desk.page.key("keyUp", " ")

    await desk.page.until("document.activeElement.id === 'reply-text'")
    await desk.page.until_text(FIRST, "Submitted")


async def test_a_press_that_never_ends_does_not_stop_the_page(desk: Desk) -> None:
    """The release may have happened elsewhere: the next move of the mouse without a button shows it."""
    await desk.page.mouse("mousePressed", x=5, y=5)
    await desk.send_unseen(whatsapp_then_sms())
    await desk.page.call("Input.dispatchMouseEvent", type="mouseMoved", x=6, y=6, button="none", buttons=0)

    await desk.page.until("document.querySelector('#list').childElementCount === 1")
