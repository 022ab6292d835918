"""Which requests a server on loopback answers: those of its own pages and of programs, not those of other web pages.

Any page that is open in the same browser can send requests to 127.0.0.1, and Dagster obeys them. What is served behind
this belongs to `webserver`. Other users of this machine are not kept out: docs/security.md.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from vrft_core.serving.guard import LOOPBACK, host_name

GRAPHQL = "/graphql"
HEADERS = {"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin"}


class Guard:
    """ASGI middleware. `names`: host names that this server may be called by, besides those of loopback."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self.app, self.names = app, {*LOOPBACK, *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif refusal := refused(scope, self.names):
            status, why = refusal
            if scope["type"] == "websocket":
                await WebSocketClose(1008, why)(scope, receive, send)
            else:
                await PlainTextResponse(f"{why}\n", status)(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send))


def refused(scope: Scope, names: Collection[str]) -> tuple[int, str] | None:
    """(HTTP status, reason) for a request that another web page may have sent, or that changes something by a link."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or host_name(hosts[0]) not in names:
        return 403, "this host name is not served here; name it in VRFT_UI_HOSTS if it is yours"
    for origin in headers.getlist("origin"):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != hosts[0].lower():
            return 403, "requests of other web pages are refused"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_a_link(scope, headers):
        return 403, "requests of other web pages are refused"
    if scope["type"] == "http" and scope["path"] == GRAPHQL:
        return _refused_query(scope["method"], headers)
    return None


def _refused_query(method: str, headers: Headers) -> tuple[int, str] | None:
    """Queries and mutations by GET or by forms are refused: other pages can send these without permission."""
    if method == "GET" and "text/html" in headers.get("accept", ""):
        return None  # the page to write queries in
    if method != "POST":
        return 405, "queries and mutations are sent by POST"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/graphql"):
        return 415, "queries and mutations are sent as application/json"
    return None


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
