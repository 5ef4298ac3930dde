"""The page in a real browser: what happens shows, what hands do happens, text from outside is only text."""

import json
from typing import Any

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.page.browser import Browser
from tests.simulator.page.conftest import FIRST, SECOND, SILENT, Desk, whatsapp_then_sms
from tests.simulator.support import step, workflow


async def test_a_sent_workflow_appears_and_is_read_by_hand(desk: Desk) -> None:
    """Send by API, see it appear, mark it read, see the final report on the page and at the receiver."""
    await desk.send(whatsapp_then_sms())
    assert "Your table is ready" in await desk.page.text(FIRST)
    assert await desk.page.text(".countdown") == "SMS in 10:00"

    await desk.page.click("[data-action=read]")

    await desk.page.until_text(".ending", "Final report: completed · delivered, your receiver said 200")
    await desk.page.until_text("#log li:first-child", "completed")
    assert await desk.page.text(f"{FIRST} .moments") == "Read 0.0 s"
    assert await desk.page.run("document.querySelector('.meta .icon').getAttribute('aria-label')") == "read"
    assert [c.body["status"] for c in desk.receiver.callbacks if "template" in c.body] == ["completed"]


async def test_a_reply_goes_to_the_receiver_and_into_the_log(desk: Desk) -> None:
    await desk.send(whatsapp_then_sms())

    await desk.page.click("[data-action=reply]")
    await desk.page.until("document.activeElement.id === 'reply-text'")
    await desk.page.type("On my way")
    await desk.page.click("#reply-dialog [value=send]")

    await desk.page.until_text(".theirs", "On my way")
    await desk.page.click("#log li:has([data-kind=inbound-message]) summary")
    exchange = await desk.page.text("#log details[open] .exchange")
    inbound = [c for c in desk.receiver.callbacks if "message" in c.body]
    assert [c.body["message"]["content"]["text"] for c in inbound] == ["On my way"]
    assert inbound[0].headers["authorization"] in exchange
    assert "payload_hash" in exchange
    assert "On my way" in exchange


async def test_the_clock_jumps_to_the_failover(desk: Desk) -> None:
    await desk.send(whatsapp_then_sms(within=86_400))
    await desk.sim.advance(1)
    await desk.page.until_text("#next-event", "in 23:59:59")

    await desk.page.click("#jump")

    await desk.page.until_text("#now", "24:00:00")
    await desk.page.until(f"document.querySelector('{SECOND}').dataset.phase === 'current'")
    assert "Not read in time" in await desk.page.text(FIRST)
    assert await desk.page.text(f"{FIRST} .phase") == "failed over"
    await desk.page.until("document.querySelector('#said').textContent.includes('failed over to SMS')")


async def test_a_message_is_rejected_with_a_code(desk: Desk) -> None:
    await desk.send(whatsapp_then_sms())

    await desk.page.click("[data-action=rejected]")
    await desk.page.until("document.querySelector('#fail-dialog').open")
    await desk.page.run(
        "(e => { e.value = '1340'; e.dispatchEvent(new Event('change')); })(document.querySelector('#codes'))"
    )
    await desk.page.click("#fail-dialog [value=send]")

    await desk.page.until_text(f"{FIRST} .moments", "Rejected 1340 Outside of the allowed window")
    assert await desk.page.text(f"{SECOND} .phase") == "now"


async def test_the_form_advances_the_clock(desk: Desk) -> None:
    await desk.page.click("#advance-seconds")
    await desk.page.type("90")
    await desk.page.press("Enter")

    await desk.page.until_text("#now", "1:30")
    assert desk.sim.now == 90


async def test_a_switch_makes_the_service_refuse(desk: Desk) -> None:
    await desk.page.click("[data-switch=quota_limit]")
    await desk.page.until("document.querySelector('[data-switch=quota_limit]').matches(':checked')")
    await desk.page.run("fetch('/control/settings').then(r => r.json())")

    assert (await desk.caller.send())[0] == 429


async def test_a_fault_is_armed_hits_and_is_removed(desk: Desk) -> None:
    await desk.page.run("document.querySelector('#fault-form').elements.kind.value = 'error'")
    await desk.page.run("document.querySelector('#fault-form').elements.status.value = '429'")
    await desk.page.click("#fault-form [type=submit]")
    await desk.page.until_text("#faults", "error · status 429, hit 0")

    (hit,) = desk.sim.faults.on_request("POST /dispatch", list)
    await desk.page.until_text("#faults", "hit 1")
    await desk.page.click("#faults button")

    await desk.page.until_text("#fault-count", "none armed")
    assert hit.status == 429
    assert len(desk.sim.faults) == 0


async def test_a_failed_delivery_shows_with_its_retry(desk: Desk) -> None:
    desk.receiver.answers.extend([503])
    await desk.send(workflow(step("sms", "999300000001")))

    await desk.sim.advance(0.2)

    await desk.page.until_text("#log li:last-child .answer", "503")


async def test_every_content_shows_as_its_channel_shows_it(desk: Desk) -> None:
    """Template text filled in, picture by address, place, buttons."""
    desk.sim.settings.templates["shop:ready"] = "Hi {{1}}, order {{2}} is ready."
    contents: list[tuple[str, dict[str, Any], str]] = [
        (
            "whatsapp",
            {
                "type": "template",
                "template": {"name": "shop:ready", "parameters": [{"default": "Sam"}, "42"]},
            },
            "Hi Sam, order 42 is ready.",
        ),
        (
            "viber_service_msg",
            {"type": "image", "image": {"url": "https://shop.example.com/a/spring.jpg"}},
            "spring.jpg",
        ),
        (
            "whatsapp",
            {
                "type": "custom",
                "custom": {
                    "type": "location",
                    "location": {"latitude": 52.37, "longitude": 4.89, "name": "Desk"},
                },
            },
            "52.37, 4.89",
        ),
        (
            "messenger",
            {
                "type": "custom",
                "custom": {
                    "attachment": {
                        "type": "template",
                        "payload": {"text": "How was it?", "buttons": [{"title": "Good"}]},
                    }
                },
            },
            "Good",
        ),
        (
            "whatsapp",
            {"type": "file", "file": {"url": "https://shop.example.com/bill.pdf", "caption": "Your bill"}},
            "Your bill",
        ),
        ("messenger", {"type": "audio", "audio": {"url": "https://shop.example.com/hello.mp3"}}, "hello.mp3"),
    ]
    for channel, content, shown in contents:
        uuid = await desk.send(workflow(step(channel, SILENT, message={"content": content})))

        assert shown in await desk.page.text(f'[data-uuid="{uuid}"] .bubble')


ATTACKS = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    '"><svg/onload=window.pwned=1>',
    "javascript:window.pwned=1//",
    "{{constructor.constructor('window.pwned=1')()}}",
    "\u202eexe.txt</p></div><h1>Fake</h1>",
]


def hostile(attack: str) -> dict[str, Any]:
    """Return a workflow that carries a text in every field that the service takes."""
    buttons = {"text": attack, "buttons": [{"title": attack}]}
    cards = {"elements": [{"title": attack, "subtitle": attack, "image_url": attack}]}
    place = {"name": attack, "address": attack, "latitude": attack, "longitude": attack}
    contents: list[tuple[str, dict[str, Any]]] = [
        ("whatsapp", {"type": "text", "text": attack}),
        ("whatsapp", {"type": "image", "image": {"url": attack, "caption": attack}}),
        ("whatsapp", {"type": "template", "template": {"name": attack, "parameters": [attack]}}),
        ("whatsapp", {"type": "custom", "custom": {"type": "location", "location": place}}),
        ("whatsapp", {"type": "custom", "custom": {attack: attack}}),
        (
            "messenger",
            {"type": "custom", "custom": {"attachment": {"type": "template", "payload": buttons | cards}}},
        ),
    ]
    steps = [
        step(channel, SILENT, within=600, message={"content": content}, client_ref=attack[:40])
        for channel, content in contents
    ]
    last = step("messenger", attack[:50], message={"content": {"type": "text", "text": "."}})
    last["from"]["id"] = attack[:50]
    return workflow(*steps, last)


async def test_markup_in_any_text_field_stays_text(desk: Desk) -> None:
    """Whatever comes in from outside (sends, replies, names) is shown as it is written."""
    desk.sim.settings.accept_any_url = desk.sim.settings.accept_any_number = True
    for attack in ATTACKS:
        desk.caller.application.name = attack
        await desk.send(hostile(attack))
        desk.sim.reply(list(desk.sim._engine.messages)[-1], attack)
    await desk.sim.advance(0)
    await desk.page.click("#all-cards")
    await desk.page.until(f"document.querySelectorAll('.theirs').length === {len(ATTACKS)}")
    await desk.page.until(f"document.querySelectorAll('#log li').length === {2 * len(ATTACKS)}")
    await desk.page.run("document.querySelectorAll('#log details').forEach(d => { d.open = true; })")
    await desk.page.until(f"document.querySelectorAll('#log .exchange').length === {2 * len(ATTACKS)}")

    count = "text => document.querySelector('#cards').textContent.split(text).length - 1"
    shown = await desk.page.run(f"{json.dumps(ATTACKS)}.map({count})")
    made = await desk.page.run(
        "[window.pwned === undefined, document.querySelectorAll('h1').length,"
        " document.querySelectorAll('main :is(img, script, a, [onload], [onerror]):not(#empty a)').length]"
    )

    assert min(shown) >= 13
    assert made == [True, 1, 0]


async def test_everything_is_reached_by_keyboard(desk: Desk) -> None:
    """Tab passes clock, search, list, card, log and switches; the focus always shows."""
    await desk.send(whatsapp_then_sms())
    await desk.sim.advance(1)
    await desk.page.until("document.querySelectorAll('#log li').length === 1")

    reached: list[str] = []
    for _ in range(60):
        await desk.page.press("Tab")
        where = await desk.page.run(
            "((e, outlined) => [e.id || e.dataset.key || e.dataset.switch || e.name || e.tagName,"
            " e === document.body || outlined(e) || outlined(e.nextElementSibling || e)])"
            "(document.activeElement, (e) => getComputedStyle(e).outlineStyle !== 'none')"
        )
        reached.append(where[0])
        assert where[1], f"the focus on {where[0]} is not seen"
        if where[0] == "expire":
            break

    wanted = [
        *["A"] * 5,
        "advance-seconds",
        "jump",
        "search",
        "show",
        "channel",
        "error",
        "pick",
        "follow",
        "curl",
        "0-delivered",
        "0-read",
        "0-rejected",
        "0-reply",
        "SUMMARY",
        "copy-settings",
        "SUMMARY",
    ]
    assert [name for name in reached if name in wanted] == wanted
    assert reached[-1] == "expire"


async def test_a_message_is_read_without_a_mouse(desk: Desk) -> None:
    """The focus stays in the workflow when its card is drawn anew, and the reader is told."""
    await desk.send(whatsapp_then_sms())
    await desk.page.run("document.querySelector('[data-action=delivered]').focus()")

    await desk.page.press("Enter")

    await desk.page.until_text(f"{FIRST} .moments", "Delivered")
    assert await desk.page.run("document.activeElement.closest('.flow') !== null")
    await desk.page.until_text("#said", "WhatsApp: delivered")


async def test_a_dialog_is_left_with_escape(desk: Desk) -> None:
    """Nothing is sent, and the focus goes back to where it was."""
    await desk.send(whatsapp_then_sms())
    await desk.page.click("[data-action=reply]")
    await desk.page.until("document.querySelector('#reply-dialog').open")

    await desk.page.press("Escape")

    await desk.page.until("!document.querySelector('#reply-dialog').open")
    assert await desk.page.run("document.activeElement.dataset.action") == "reply"
    assert [c for c in desk.receiver.callbacks if "message" in c.body] == []


async def test_every_control_has_a_name(desk: Desk) -> None:
    """As the browser's own accessibility tree tells a screen reader."""
    await desk.send(whatsapp_then_sms())
    await desk.page.call("Accessibility.enable")

    tree = await desk.page.call("Accessibility.getFullAXTree")

    roles = {
        "button",
        "link",
        "textbox",
        "spinbutton",
        "combobox",
        "radio",
        "switch",
        "checkbox",
        "main",
        "navigation",
    }
    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    nameless = [
        n["role"]["value"] for n in nodes if n["role"]["value"] in roles - {"main"} and not n["name"]["value"]
    ]
    landmarks = {n["role"]["value"] for n in nodes} & {"banner", "main", "navigation", "complementary"}
    assert nameless == []
    assert landmarks == {"banner", "main", "navigation", "complementary"} - (
        set() if "navigation" in landmarks else {"navigation"}
    )


async def test_text_is_told_from_its_ground(desk: Desk) -> None:
    """Contrast is 4.5 to 1 at least, for each text on a plain ground, in light and dark (WCAG AA)."""
    await desk.send(whatsapp_then_sms())
    await desk.send(workflow(step("viber_service_msg", "999313000001", within=60), step("mms", SILENT)))
    await desk.send(workflow(step("messenger", "999000000001")))
    await desk.sim.advance(20)
    await desk.page.click("#all-cards")
    await desk.page.until("document.querySelectorAll('.ending').length === 1")

    light = await desk.page.run(CONTRAST)
    await desk.page.look(dark=True)
    dark = await desk.page.run(CONTRAST)

    assert (light["weak"], dark["weak"]) == ([], [])
    assert min(light["texts"], dark["texts"]) > 60


# Walks up to the first opaque ground; text over a gradient is left to the eye.
CONTRAST = """
(() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, under) => [0, 1, 2].map((i) => (top[i] * top[3] + under[i] * (255 - top[3])) / 255);
  const linear = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.backgroundImage !== 'none') return null;
      const color = rgba(style.backgroundColor);
      layers.push(color);
      if (color[3] === 255) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const weak = [];
  let count = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.data.trim();
    if (!text || !element.checkVisibility()) continue;
    if (element.closest('.unseen, :disabled, dialog, noscript, .skip')) continue;
    const under = ground(element);
    if (!under) continue;
    count += 1;
    let ink = rgba(getComputedStyle(element).color);
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= Number(getComputedStyle(e).opacity);
    ink = over([...ink.slice(0, 3), ink[3] * opacity], under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05);
    if (contrast < 4.5) weak.push(`${contrast.toFixed(2)} ${element.className} ${text.slice(0, 30)}`);
  }
  return {weak: [...new Set(weak)], texts: count};
})()
"""


async def test_nothing_sticks_out(desk: Desk) -> None:
    """No screen width makes the page scroll sideways, whatever long words it shows."""
    await desk.send(whatsapp_then_sms("x" * 400 + " https://shop.example.com/" + "y" * 300))
    await desk.send(workflow(step("viber_service_msg", "9" * 15, client_ref="r" * 40)))
    await desk.sim.advance(15)
    await desk.page.until("document.querySelectorAll('#log li').length > 3")
    await desk.page.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    await desk.page.click("#all-cards")

    widths: dict[int, int] = {}
    for width in (320, 390, 768, 1024, 1280):
        await desk.page.look(width=width)
        widths[width] = await desk.page.run("document.documentElement.scrollWidth")

    assert [width for width, needed in widths.items() if needed > width] == []


async def test_the_page_follows_a_running_clock(browser: Browser, receiver: Receiver) -> None:
    """With real time the clock moves by itself and can be paused, resumed and set."""
    async with Simulator(speed=60) as sim:
        page = await browser.open(sim.url + "/")
        await page.until("document.querySelector('#now').textContent !== '0:00'")
        await page.click("#pause")
        await page.until_text("#pause", "Resume")
        assert sim.speed == 0

        await page.click("#pause")
        await page.until_text("#pause", "Pause")
        assert sim.speed == 60

        await page.close()


async def test_the_page_finds_the_simulator_again(browser: Browser, receiver: Receiver) -> None:
    """After a restart on the same port the page starts over by itself."""
    async with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        page = await browser.open(first.url + "/")
        await page.until("document.querySelector('#link').dataset.state === 'live'")
    await page.until("document.querySelector('#link').dataset.state === 'lost'")

    async with Simulator(port=port) as second:
        await page.until("document.querySelector('#link').dataset.state === 'live'")
        assert second.now == 0
        await page.close()


ATTEMPTS = """
async (control) => {
  const post = {method: 'POST', body: '{"seconds": 9}'};
  const json = {headers: {'Content-Type': 'application/json'}};
  const outcome = (promise) => promise.then((answer) => answer.type + answer.status, () => 'refused');
  return [
    await outcome(fetch(control + '/state')),
    await outcome(fetch(control + '/advance', {...post, ...json})),
    await outcome(fetch(control + '/advance', {...post, mode: 'no-cors'})),
  ];
}
"""


async def test_another_page_in_the_browser_cannot_touch_the_simulator(
    browser: Browser, sim: Simulator, caller: Caller
) -> None:
    """A real browser on another origin: neither reading nor posting nor a blind form post does anything."""
    async with Simulator(seed="another") as elsewhere:
        page = await browser.open(elsewhere.url + "/")
        await page.until("document.querySelector('#link').dataset.state === 'live'")

        tried = await page.run(f"({ATTEMPTS})({json.dumps(sim.url + '/control')})")

        await page.close()
    assert tried == ["refused", "refused", "refused"]  # its own policy already keeps that page at home
    assert sim.now == 0
