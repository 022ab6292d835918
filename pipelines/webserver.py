"""`python -m pipelines.webserver --port 3000 --code CODE`: Dagster's pages behind a guard; reports, data docs and the
project's code at a commit too. /vrft/ lists them.

Reports hold what a model wrote: their pages get an origin of their own and no script, whatever they contain.
"""

import argparse
import os
import re
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from pipelines.browser_guard import Guard
from pipelines.children import HOST
from pipelines.definitions import LOCATION, project_root
from pipelines.front_page import NOTHING_YET, html
from pipelines.pages import CODE, FOLDERS, PREFIX
from pipelines.source_links import Source, git
from vrft_core.errors import InputError

POLL = 2000  # milliseconds between a page's questions, as in `dagster dev`
SECONDS_TO_STOP = 3  # for requests that have not ended; a page's websocket never does
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-popups",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages(StaticFiles):
    """Regular files of one folder, to be read; no list of them, none that a link leads out to, none that is hidden."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False, follow_symlink=False)
        self.config_checked = True  # the folder may be made later

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if any(part.startswith(".") for part in Path(path).parts):
            return "", None
        return super().lookup_path(path)

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not path.endswith(".html"):
                raise
            response = HTMLResponse(NOTHING_YET, 404)
        response.headers.update(PAGE_HEADERS)
        return response


class Code:
    """Text, at any commit, of the files that the present commit has; nothing else of git's."""

    def __init__(self, root: Path) -> None:
        self.source = Source.of(root)

    def __call__(self, request: Request) -> Response:
        commit, file = request.path_params["commit"], request.path_params["file"]
        if not re.fullmatch("[0-9a-f]{40}", commit) or file not in self.source.files:
            return PlainTextResponse("no such file\n", 404, PAGE_HEADERS)
        return PlainTextResponse(git(self.source.root, "show", f"{commit}:./{file}"), 200, PAGE_HEADERS)


def guarded(app: ASGIApp, root: Path) -> Guard:
    """Dagster's application with the project's pages, behind the guard. VRFT_UI_HOSTS: further host names."""

    def front(request: Request) -> Response:
        try:
            return HTMLResponse(html(root), 200, PAGE_HEADERS)
        except InputError as error:
            return PlainTextResponse(f"{error}\n", 500, PAGE_HEADERS)

    app.router.routes[:0] = [
        *(Mount(f"{PREFIX}/{name}", Pages(root / name)) for name in FOLDERS),
        Route(f"{PREFIX}/{CODE}/{{commit}}/{{file:path}}", Code(root).__call__),
        Route(f"{PREFIX}/", front),
    ]
    names = [name.strip() for name in os.environ.get("VRFT_UI_HOSTS", "").split(",") if name.strip()]
    return Guard(app, names)


def serve(host: str, port: int, code: str) -> None:
    """Until SIGINT or SIGTERM. `code`: where the code server answers, a socket's path or `host:port`."""
    server, _, number = code.rpartition(":")
    socket = None if server else code
    target = GrpcServerTarget(
        host=server or "localhost", port=int(number) if server else None, socket=socket, location_name=LOCATION
    )
    with (
        DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, workspace_load_target=target, version=__version__) as context,
    ):
        # connections are replaced after a second: after a restart of PostgreSQL an older one would fail the next click
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=1, max_overflow=20)
        app = create_app_from_workspace_process_context(context, live_data_poll_rate=POLL)
        uvicorn.run(
            guarded(app, project_root()),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default=HOST, help="a container's own address; its port is published on loopback")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--code", required=True)
    serve(**vars(parser.parse_args()))
