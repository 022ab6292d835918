"""A file on a real server that tests fetch, and how impatient they are."""

import hashlib
import random
from pathlib import Path

import pytest
from data_server import Server, serving

from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.transfer import Http

FREE = Licence("free", "CC BY 4.0", "Somebody", "http://example.org/free", ask=False)
RESEARCH = Licence("research", "non-commercial research only", "Somebody", "http://example.org/nc", ask=True)
DATA = random.Random(0).randbytes(300_000)
QUICK = Http(parallel=3, connect=2, read=1, stall=0.5, least=1000, tries=4, pause=0.02, longest_pause=3)


@pytest.fixture(name="server")
def server_of_one_file(monkeypatch):
    for name in ("VRFT_DATA_DIR", "VRFT_ACCEPT_LICENCES", "VRFT_MIRROR_SET", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        running.files["/a.bin"] = DATA
        yield running


def file(server: Server, name: str = "a.bin", data: bytes | None = DATA, **more) -> File:
    known = {} if data is None else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return File("set", name, (f"{server.address}/{name}",), more.pop("licence", FREE), **(known | more))


def nothing_half_written(cache: Path) -> bool:
    """No file under a final name but what is right."""
    return all(path.read_bytes() == DATA for path in cache.rglob("*.bin"))
