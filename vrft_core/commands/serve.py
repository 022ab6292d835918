"""`vrft serve`: the page of `serving`, on 127.0.0.1, until it is interrupted."""

import contextlib
import socket
import sys

import uvicorn

from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.serving.app import build
from vrft_core.serving.models import MOST_CATEGORIES, Models

HOST = "127.0.0.1"


def serve(layout: Layout, params: Params, cell: Cell, port: int) -> None:
    """Serve until Ctrl-C. Raises InputError where the cell has no model yet, and for a port that is taken."""
    models = Models(layout, params, cell)
    named = params.benchmark(cell).categories or []
    about = {"cell": cell.key, "models": models.names, "categories": list(named)[:MOST_CATEGORIES]}
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError:
            raise InputError("--port", f"{port} is taken on {HOST}", "name another one") from None
        print(f"{cell.key}: http://{HOST}:{port}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
        config = uvicorn.Config(
            build(models.answer, about), log_level="warning", limit_concurrency=32, timeout_keep_alive=5,
            server_header=False, proxy_headers=False, ws="none",
        )  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends well, and then raises it again
            uvicorn.Server(config).run(sockets=[listening])
