"""A real browser without a driver: Chromium headless, spoken to over the DevTools protocol.

One class for the browser, one for a tab. Waiting is done inside of the page, by promises that settle with
its DOM.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS: Final = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # in a container there is no user namespace to make one of
    "--disable-gpu",
    # one process shows all pages: a new one for each test is a quarter of what the tests cost
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--password-store=basic",
    "--use-mock-keychain",
)
_START_S: Final = 20.0
_WAIT_S: Final = 8.0
_CLICKS: Final = 20

# Resolves when the expression is true, looked at again with every change of the DOM and every frame.
_UNTIL: Final = """
new Promise((resolve, reject) => {
  const started = performance.now();
  const look = () => {
    let value;
    try { value = (() => (%(expression)s))(); } catch (error) { value = false; }
    if (value) resolve(value === true ? true : value);
    else if (performance.now() - started > %(limit)d) reject(new Error("never came true: " + %(quoted)s));
    else setTimeout(look, 15);
  };
  look();
})
"""

# Where to click: the middle of the element, once nothing is before it.
_PLACE: Final = """
(() => {
  const element = document.querySelector($selector);
  if (!element || element.disabled) return false;
  element.scrollIntoView({block: "center", behavior: "instant"});
  const box = element.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const top = document.elementFromPoint(x, y);
  return top && (element.contains(top) || top.contains(element)) ? {x, y} : false;
})()
"""


def _place(selector: str) -> str:
    return _PLACE.replace("$selector", json.dumps(selector))


def find_browser() -> str | None:
    """Return the path of an installed Chromium, None when there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium(executable: str, profile: Path) -> Iterator[str]:
    """Run a browser with a profile of its own; what it yields is the address of its DevTools."""
    command = [executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield _address(process, profile / "DevToolsActivePort")
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], port_file: Path) -> str:
    """Wait for the file that Chromium writes once it listens: a port, and a path."""
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            port, _, path = port_file.read_text().strip().partition("\n")
            if path:
                return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.02)
    raise RuntimeError("the browser did not start")


class Browser:
    """A connection to a running Chromium."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.tabs: dict[str, Tab] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            self._socket = await stack.enter_async_context(session.ws_connect(self._address, max_msg_size=0))
            self._reader = asyncio.create_task(self._read())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tab in list(self.tabs.values()):
            await tab.close()
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._stack.aclose()

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif (tab := self.tabs.get(said.get("sessionId", ""))) is not None:
                tab.heard(said["method"], said["params"])

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        call: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            call["sessionId"] = session
        await self._socket.send_str(json.dumps(call))
        said = await asyncio.wait_for(self._answers[number], _START_S)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']['message']}")
        result: dict[str, Any] = said["result"]
        return result

    async def _idle_target(self) -> str:
        used = {tab.target for tab in self.tabs.values()}
        for info in (await self.call("Target.getTargets"))["targetInfos"]:
            if info["type"] == "page" and info["targetId"] not in used:
                return str(info["targetId"])
        return str((await self.call("Target.createTarget", url="about:blank"))["targetId"])

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Tab:
        """Open a page in an idle tab, which is three times as fast as a new one."""
        target = await self._idle_target()
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, attached["sessionId"], target)
        self.tabs[tab.session] = tab
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.look(width=width, height=height, dark=dark)
        await tab.call("Page.bringToFront")  # a page in the background draws nothing
        await tab.go(url)
        return tab


class Tab:
    """One page, and what it said, asked for and complained about."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self.session = session
        self.target = target
        #: console errors, uncaught exceptions, and what the browser itself logs
        self.errors: list[str] = []
        #: every URL that was asked for
        self.requested: list[str] = []

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Take down an event."""
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.errors.append(params["entry"]["text"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol for this tab."""
        return await self._browser.call(method, self.session, **params)

    async def go(self, url: str) -> None:
        """Open a page, or the same page anew; what is evaluated afterwards is evaluated in it."""
        await self.call("Page.navigate", url=url)

    async def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Change the screen."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        # nothing glides: a press would hit what is just passing by
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme, motion])

    async def run(self, expression: str) -> Any:
        """Evaluate JavaScript, wait for a promise, and return its value."""
        said = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in said:
            details = said["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return said["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        quoted = json.dumps(expression)
        return await self.run(_UNTIL % {"expression": expression, "limit": _WAIT_S * 1000, "quoted": quoted})

    async def text(self, selector: str) -> str:
        """Wait for an element and return its text as it is read, runs of space made one."""
        found = await self.until(f"document.querySelector({json.dumps(selector)})?.innerText")
        return " ".join(str(found).split())

    async def until_text(self, selector: str, text: str) -> None:
        """Wait until an element's text contains a text."""
        await self.until(
            f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(text)})"
        )

    async def click(self, selector: str) -> None:
        """Click an element with the mouse, where it is; it has to be visible and on top.

        The element may move before the button is pressed, such as a line of a log that grows. The press then
        hits another element: the button is released elsewhere, and the click is tried again.
        """
        is_hit = f"document.querySelector({json.dumps(selector)})?.matches(':active')"
        for _ in range(_CLICKS):
            aim = await self.place(selector)
            await self.mouse("mousePressed", **aim)
            if await self.run(is_hit) and await self.run(_place(selector)) == aim:
                await self.mouse("mouseReleased", **aim)
                return
            await self.mouse("mouseReleased", x=0, y=0)
        raise AssertionError(f"{selector} does not stand still")

    async def place(self, selector: str) -> dict[str, float]:
        """Return the middle of an element, once it is visible and on top."""
        found: dict[str, float] = await self.until(_place(selector))
        return found

    async def mouse(self, kind: str, *, x: float, y: float) -> None:
        """Press or release the left button at a place."""
        await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, x=x, y=y)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and release it."""
        for kind in ("keyDown", "keyUp"):
            await self.key(kind, key, shift=shift)

    async def key(self, kind: str, key: str, *, shift: bool = False) -> None:
        """Press or release a key."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39}
        text = key if len(key) == 1 else {"Enter": "\r"}.get(key, "")
        await self.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            code="Space" if key == " " else key,
            windowsVirtualKeyCode=codes.get(key) or ord(key.upper()),
            modifiers=8 if shift else 0,
            **({"text": text} if text and kind == "keyDown" else {}),
        )

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def screenshot(self) -> bytes:
        """Return what is seen, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def close(self) -> None:
        """Leave the page, and give the tab back."""
        await self.call("Page.navigate", url="about:blank")
        await self._browser.call("Target.detachFromTarget", sessionId=self.session)
        del self._browser.tabs[self.session]
