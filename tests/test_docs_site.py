"""The documentation site as `make docs` builds it: its search finds things, from files and from a server, offline."""

import asyncio
import os
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import chromium
import pytest
from small_project import ROOT

MKDOCS = ROOT / ".venv-docs/bin/mkdocs"
BOX = "document.querySelector('[data-md-component=search-query]')"
FOUND = "[...document.querySelectorAll('.md-search-result__item a')].map(e => e.href)"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MKDOCS.is_file(), reason="no mkdocs here (make docs installs it)"),
    pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium here (apt-get install chromium)"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("site")
    command = [MKDOCS, "build", "--strict", "--quiet", "--site-dir", place]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return place


async def search(tab: chromium.Page, words: str) -> list[str]:
    """Type into the box; the addresses of what is found, best first."""
    await tab.value(f"{BOX}.focus()")
    await tab.do("Input.insertText", text=words)
    await tab.until(f"{FOUND}.length")
    return await tab.value(FOUND)


def test_the_search_finds_pages_from_files_and_from_a_server(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()

    async def both() -> None:
        for start in (site.as_uri(), f"http://127.0.0.1:{server.server_port}"):
            async with chromium.page(f"{start}/reference/commands.html") as tab:
                found = await search(tab, "stale stages")
                await tab.go(found[0])

                assert any(one.startswith(f"{start}/dvc.html") for one in found), found
                assert await tab.value("document.querySelector('h1').innerText")
                assert tab.messages == []

    try:
        asyncio.run(both())
    finally:
        server.shutdown()
        server.server_close()
