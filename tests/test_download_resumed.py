"""A download that was cut, killed or begun by another goes on where it broke, and is never glued of two files."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from data_server import answers, cut_after, drips
from downloads import DATA, QUICK, file, nothing_half_written, server_of_one_file  # noqa: F401 - fixtures

from vrft_core.sources.download import fetch


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    server.meets("/a.bin", cut_after(120_000))

    fetch([file(server)], tmp_path, QUICK)

    assert server.asked("/a.bin") == [None, "bytes=120000-"]
    assert nothing_half_written(tmp_path)


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    server.meets("/a.bin", cut_after(120_000))

    path = fetch([file(server)], tmp_path, QUICK)[file(server)]

    assert path.read_bytes() == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_that_changed_between_two_attempts_is_not_glued_together(server, tmp_path, pinned):
    new = random.Random(1).randbytes(len(DATA))

    def cut_and_change(handler, data):
        cut_after(120_000)(handler, data)
        server.change("/a.bin", new)

    server.meets("/a.bin", cut_and_change)
    a = file(server, data=new if pinned else None)

    path = fetch([a], tmp_path, QUICK)[a]

    assert path.read_bytes() == new


def test_without_validator_and_checksum_nothing_is_resumed(server, tmp_path):
    server.validators = False
    server.meets("/a.bin", cut_after(120_000))

    fetch([file(server, data=None)], tmp_path, QUICK)

    assert server.asked("/a.bin") == [None, None]


def test_a_mirror_resumes_what_another_began_since_the_whole_is_verified(server, tmp_path):
    server.files["/mirror/a.bin"] = DATA
    server.meets("/a.bin", cut_after(120_000), *[answers(404)] * 9)
    a = replace(file(server), urls=(f"{server.address}/a.bin", f"{server.address}/mirror/a.bin"))

    path = fetch([a], tmp_path, QUICK)[a]

    assert path.read_bytes() == DATA
    assert server.asked("/mirror/a.bin") == ["bytes=120000-"]


def test_a_wrong_part_from_before_does_not_spoil_the_file(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.bin.part").write_bytes(b"?" * 1000)

    path = fetch([file(server)], tmp_path, QUICK)[file(server)]

    assert path.read_bytes() == DATA
    assert server.asked("/a.bin") == ["bytes=1000-", None]


def test_a_part_that_was_whole_is_only_verified(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.bin.part").write_bytes(DATA)

    path = fetch([file(server)], tmp_path, QUICK)[file(server)]

    assert path.read_bytes() == DATA
    assert server.requests == []


def test_a_slow_drip_is_cut_and_resumed(server, tmp_path):
    server.meets("/a.bin", drips(100_000, 20))

    began = time.monotonic()
    fetch([file(server)], tmp_path, QUICK)

    assert time.monotonic() - began < 5
    assert server.asked("/a.bin")[1].startswith("bytes=1000")
    assert nothing_half_written(tmp_path)


def test_a_killed_download_is_resumed_and_was_never_taken_for_whole(server, tmp_path):
    server.meets("/a.bin", drips(150_000, 60))
    script = (
        "import sys; from pathlib import Path\n"
        "from vrft_core.sources.download import fetch; from vrft_core.sources.published import File\n"
        "from vrft_core.sources.licences import Licence\n"
        "free = Licence('free', 'CC BY 4.0', 'Somebody', 'http://example.org/free', False)\n"
        f"a = File('set', 'a.bin', ('{server.address}/a.bin',), free, {len(DATA)}, '{file(server).sha256}')\n"
        "fetch([a], Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path])
    part = tmp_path / "set/a.bin.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 10_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = part.stat().st_size
    assert 0 < left < len(DATA)
    assert not (tmp_path / "set/a.bin").exists()

    path = fetch([file(server)], tmp_path, QUICK)[file(server)]  # its lock died with it

    assert path.read_bytes() == DATA
    assert server.asked("/a.bin")[1] == f"bytes={left}-"
