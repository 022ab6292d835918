"""Which requests the page's server answers: those of its own page and of programs, not those of other web pages.

Any page that is open in the same browser can send requests to 127.0.0.1; so can every user of this machine.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (why := refused(Headers(scope=scope))):
            await JSONResponse({"error": why}, 403)(scope, receive, _with_headers(send))
        elif scope["type"] in ("http", "lifespan"):
            await self.app(scope, receive, _with_headers(send))
        else:  # no websocket is served
            await send({"type": "websocket.close", "code": 1008})


def refused(headers: Headers) -> str | None:
    """Why a request is refused, or None: its Host must be this machine's own, its origin the page itself."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or host_name(hosts[0]) not in LOOPBACK:
        return "this host name is not served here"
    origins = headers.getlist("origin")
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        return "requests of other web pages are refused"
    link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not link:
        return "requests of other web pages are refused"
    return None


def host_name(host: str) -> str | None:
    """`127.0.0.1:8600` → `127.0.0.1`; None for what is not a host."""
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname if parts.netloc == host and "@" not in host and parts.port != 0 else None
    except ValueError:
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
