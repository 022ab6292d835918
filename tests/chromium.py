"""A headless Chromium for tests of pages, driven by its DevTools protocol over aiohttp, which the lock holds."""

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Navigated(AssertionError):
    """The page was left before it answered."""


class Page:
    """One tab. `messages`: what its console and its errors said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.numbers, self.messages = socket, count(1), []

    async def do(self, method: str, **params: Any) -> dict:
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        async for message in self.socket:
            found = message.json()
            if found.get("id") == number:
                if "navigated or closed" in str(found.get("error")):
                    raise Navigated(found)
                assert "error" not in found, found
                return found["result"]
            if found.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(str(found["params"]))
        raise AssertionError("the browser is gone")

    async def value(self, expression: str) -> Any:
        found = await self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(Navigated):  # asked of a page that is just being left
                    if await self.value(f"Boolean({expression})"):  # an element by itself would be an empty object
                        return
                await asyncio.sleep(0.2)

    async def go(self, address: str) -> None:
        await self.do("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def click(self, element: str, seconds: float = 120) -> None:
        """`element`: JavaScript that finds it; waited for until it stands still. With the mouse, as menus want it."""
        await self.until(element, seconds)
        middle = "(e => { e?.scrollIntoView({block: 'center'}); const b = e?.getBoundingClientRect(); "
        middle += f"return b && [b.x + b.width / 2, b.y + b.height / 2] }})({element})"
        before, place = None, await self.value(middle)
        while place is None or place != before:
            await asyncio.sleep(1)
            before, place = place, await self.value(middle)
        x, y = place
        await self.do("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            await self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def choose(self, selector: str, file: Path) -> None:
        """Put a file into a file input."""
        root = await self.do("DOM.getDocument")
        node = await self.do("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        await self.do("DOM.setFileInputFiles", files=[str(file)], nodeId=node["nodeId"])

    async def screenshot(self, path: Path, width: int = 1440, height: int = 900) -> None:
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        shot = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def page(address: str) -> AsyncIterator[Page]:
    """A tab that shows `address`."""
    assert PROGRAM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = Path(profile) / "DevToolsActivePort"
            async with asyncio.timeout(120):
                while not (port.is_file() and port.read_text().strip()):
                    await asyncio.sleep(0.2)
            base = f"http://127.0.0.1:{port.read_text().split()[0]}"
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{base}/json/list") as answer:
                    [tab] = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=2**26) as socket:
                    one = Page(socket)
                    for part in ("Page", "Runtime", "Log", "DOM"):
                        await one.do(f"{part}.enable")
                    await one.do("Page.navigate", url=address)
                    await one.until("document.readyState === 'complete' && location.href !== 'about:blank'")
                    yield one
        finally:
            process.kill()
            process.wait()
