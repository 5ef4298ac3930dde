"""A first contact by the page alone: a sample, credentials to copy, a customer who writes first."""

import shlex

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.page.browser import Browser
from tests.simulator.page.conftest import Desk, whatsapp_then_sms

# The clipboard belongs to the machine; what the page writes is taken down instead.
TAKE_DOWN = "navigator.clipboard.writeText = async (text) => { window.copied = text; }"
REFUSE = "navigator.clipboard.writeText = () => Promise.reject(new Error('denied'))"


async def test_an_empty_page_works_by_itself(browser: Browser) -> None:
    """Without any application a sample creates one; the service's own refusal is told."""
    async with Simulator() as sim:
        page = await browser.open(sim.url + "/")
        await page.until_text("#callback-urls", "There is no application yet")
        sim.settings.quota_limit = 0
        await page.click("#empty .send-sample")
        await page.until_text("#toast", "The service answered 429")
        sim.settings.quota_limit = 1_000
        await page.click("#empty .send-sample")
        await page.until_text("#cards .bubble", "Your Acme code: 493201. Valid for 10 minutes.")
        await sim.advance(15)
        await page.until_text("#cards .pill", "Completed")
        await page.until_text("#callback-urls", "Callbacks go to http://127.0.0.1:8702/webhooks.")
        await page.click("#connect .send-sample")
        await page.until_text("#cards h3", "#2")

        assert sim.counts["POST /dispatch"] == 2
        assert [application.name for application in sim.applications] == ["Sample"]
        await page.close()


async def test_credentials_settings_and_commands_are_copied(desk: Desk) -> None:
    """As variables of a shell, one by one, and as a command; a text that cannot be copied is selected."""
    page, sim = desk.page, desk.sim
    await page.until_text("#sample-curl", desk.caller.application.id)
    await page.run(TAKE_DOWN)
    await page.click("#copy-settings")
    environment = await page.until("window.copied")
    await page.click("#copy-sample")
    command = await page.until("window.copied.startsWith('curl') && window.copied")
    await page.click("#settings > div:nth-child(4) button")
    secret = await page.until("!window.copied.startsWith('curl') && window.copied")
    await page.run(REFUSE)
    await page.click("#settings > div:nth-child(1) button")
    await page.until("document.querySelector('#text-dialog').open")
    selected = await page.run("document.querySelector('#text-area').value")

    words = shlex.split(environment)
    assert dict(word.split("=", 1) for word in words if word != "export") == {
        "NEXMO_DISPATCH_BASE_URL": sim.base_url,
        "NEXMO_DISPATCH_TOKEN_URL": sim.token_url,
        "NEXMO_DISPATCH_CLIENT_ID": sim.client_id,
        "NEXMO_DISPATCH_CLIENT_SECRET": sim.client_secret,
        "NEXMO_DISPATCH_SIGNATURE_SECRETS": f"{sim.api_key}={sim.signature_secret}",
        "NEXMO_DISPATCH_APPLICATION_ID": desk.caller.application.id,
    }
    assert sim.client_id in command
    assert (secret, selected) == (sim.client_secret, sim.base_url)


async def test_a_customer_writes_out_of_nowhere(desk: Desk) -> None:
    """To the application that was chosen; the log shows the callback, which belongs to no workflow."""
    page = desk.page
    other = desk.sim.create_application(name="<i>Other</i>", inbound_url=desk.receiver.url + "/other")
    await page.go(desk.sim.url + "/")
    await page.until("document.querySelector('#application').options.length === 2")
    await page.click(".fold summary")
    await page.click("#inbound-form [name=text]")
    await page.type("Are you open?")
    await page.click("#inbound-form [type=submit]")
    await page.until_text("#log", "WhatsApp message")
    await page.until("document.querySelector('#inbound-form').elements.text.value === ''")
    await page.run(
        "(e => { e.value = e.options[1].value; e.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#application'))"
    )
    await page.click("#inbound-form [name=text]")
    await page.type("Hello?")
    await page.click("#inbound-form [type=submit]")
    await page.until("document.querySelectorAll('#log .callback').length === 2")

    assert await page.run("document.querySelector('#application').options[0].textContent") == other.name
    assert [(c.path, c.body["message"]["content"]["text"]) for c in desk.receiver.callbacks] == [
        ("/other", "Are you open?"),
        ("/inbound", "Hello?"),
    ]
    assert await page.run("document.querySelectorAll('#log .origin').length") == 0


async def test_a_page_that_knows_nothing_yet_does_not_say_that_nothing_was_sent(desk: Desk) -> None:
    """The codes of errors may come before the workflows."""
    page = desk.page
    await desk.send(whatsapp_then_sms())
    silent = "window.EventSource = class { addEventListener() {} }"
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=silent)

    await page.go(desk.sim.url + "/")

    await page.until("document.querySelector('#codes')?.options.length > 1")
    assert await page.run("document.querySelector('#empty').hidden")
