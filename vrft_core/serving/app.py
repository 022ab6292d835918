"""The page and its one request, with limits on bytes, requests and time. What models answer belongs to `models`."""

import asyncio
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from vrft_core.errors import InputError
from vrft_core.serving.guard import Guard

HERE = Path(__file__).parent
PAGES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
MOST_BYTES = 10 * 2**20
SECONDS_TO_SEND = 30
WAITING = 4  # questions at once; one is answered at a time

Answer = Callable[[Path, list[str]], list[dict]]


class Refused(Exception):
    """A request that is not answered: HTTP status and one line."""

    def __init__(self, status: int, line: str) -> None:
        self.status = status
        super().__init__(line)


def build(answer: Answer, about: dict[str, Any]) -> Starlette:
    """The application. `answer(image, categories)` is called by one thread at a time; `about` is what the page shows
    of the cell: {"cell", "models", "categories"}."""
    turn, places = threading.Lock(), threading.BoundedSemaphore(WAITING)

    def answered(body: bytes, categories: list[str]) -> list[dict]:
        with tempfile.TemporaryDirectory(prefix="vrft-serve-") as folder:
            image = Path(folder) / "image"
            image.write_bytes(body)
            with turn:
                return answer(image, categories)

    async def ask(request: Request) -> Response:
        if not places.acquire(blocking=False):
            return _error(503, "busy: try again in a moment")
        try:
            body = await _body(request)
            categories = [name.strip() for name in request.query_params.getlist("category") if name.strip()]
            return JSONResponse({"models": await run_in_threadpool(answered, body, categories)})
        except Refused as refused:
            return _error(refused.status, str(refused))
        except InputError as error:
            return _error(422, f"{error.problem}; {error.remedy}" if error.remedy else error.problem)
        except ClientDisconnect:
            return _error(400, "the image did not arrive whole")
        finally:
            places.release()

    async def told(request: Request) -> Response:
        return JSONResponse(about)

    routes = [Route(path, _file(name)) for path, name in PAGES.items()]
    routes += [Route("/about", told), Route("/ask", ask, methods=["POST"])]
    return Starlette(routes=routes, middleware=[Middleware(Guard)])


async def _body(request: Request) -> bytes:
    """The image's bytes, as they were sent, within the limits."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("image/"):
        raise Refused(415, "send the image itself, as image/png, image/jpeg, image/webp, …")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise Refused(413, f"the image has more than {MOST_BYTES // 2**20} MB")
    except TimeoutError:
        raise Refused(408, f"the image took longer than {SECONDS_TO_SEND} seconds to arrive") from None
    if not body:
        raise Refused(400, "no image was sent")
    return bytes(body)


def _file(name: str) -> Callable:
    async def send(request: Request) -> Response:
        return FileResponse(HERE / name)

    return send


def _error(status: int, line: str) -> JSONResponse:
    return JSONResponse({"error": line}, status)
