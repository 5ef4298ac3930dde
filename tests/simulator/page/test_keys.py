"""The page by keyboard alone: shortcuts, their help, and links that skip to each region."""

from tests.simulator.page.conftest import Desk, whatsapp_then_sms

FOCUS = "document.activeElement.id || document.activeElement.dataset.key || document.activeElement.tagName"


async def test_shortcuts_choose_and_act(desk: Desk) -> None:
    """They move through the list, act on the step that was sent last, and leave fields alone."""
    page, sim = desk.page, desk.sim
    first = await desk.send(whatsapp_then_sms())
    await desk.send(whatsapp_then_sms())
    await sim.advance(600)
    await page.until_text("#cards .phase", "failed over")

    await page.press("j")
    await page.until_text("#cards h3", "#1")
    focus = await page.run(FOCUS)
    await page.press("d")
    await page.until_text("#cards .pill", "Completed")
    await page.press("k")
    await page.until_text("#cards h3", "#2")
    await page.press("a")
    await page.until("document.activeElement.id === 'reply-text'")
    await page.press("d")
    await page.press("Escape")
    await page.until("!document.querySelector('#reply-dialog').open")
    await page.press("/")
    await page.until("document.activeElement.id === 'search'")
    await page.press("d")
    typed = await page.run("document.querySelector('#search').value")
    await page.press("Escape")
    await page.until("document.querySelector('#search').value === ''")

    assert focus == "pick"
    assert (typed, sim.in_flight) == ("d", 1)
    assert sim.outcome(first) == "completed"


async def test_shortcuts_are_explained_and_switched_off(desk: Desk) -> None:
    """The help names every key that has an effect; switched off, keys have none, also on the next visit."""
    page = desk.page
    await desk.send(whatsapp_then_sms())
    await page.press("?")
    await page.until("document.querySelector('#help-dialog').open")
    named = await page.run("[...document.querySelectorAll('kbd')].map(e => e.textContent)")
    await page.press(" ")
    await page.until("!document.querySelector('#shortcuts-on').checked")
    await page.press("Escape")
    await page.press("r")
    await page.press("m")
    await page.go(desk.sim.url + "/")
    await page.until("document.querySelector('#link').dataset.state === 'live'")
    off = await page.run("!document.querySelector('#shortcuts-on').checked")
    await page.click("#help")
    await page.click("#shortcuts-on")
    await page.press("Escape")
    await page.until("!document.querySelector('#help-dialog').open")
    await page.press("m")
    await page.until_text("#now", "1:0")

    assert off
    assert (desk.sim.in_flight, desk.sim.now < 70) == (1, True)
    assert sorted(named) == sorted("jk[]f/drxacbnmes12345?")


async def test_links_skip_to_each_region(desk: Desk) -> None:
    """They are the first things that the keyboard reaches, and are seen when they are reached."""
    page = desk.page
    await desk.send(whatsapp_then_sms())
    regions: list[str] = []

    for number in range(1, 6):
        await page.run("document.activeElement.blur()")
        await page.run(f"document.querySelector('.skip:nth-child({number})').focus()")
        await page.until("document.activeElement.getBoundingClientRect().top >= 0")
        await page.press("Enter")
        await page.until("document.activeElement.tagName === 'SECTION'")
        regions.append(await page.run(FOCUS))
        await page.press(str(6 - number))
        await page.until(f"document.activeElement.id !== '{regions[-1]}' || {number} === 3")
        regions.append(await page.run(FOCUS))

    names = ["workflows", "card-part", "callbacks", "connect", "switches"]
    assert (regions[::2], regions[1::2]) == (names, names[::-1])
