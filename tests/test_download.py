"""Downloads arrive whole, verified and once, whatever the network or the server does; licences are accepted first."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from data_server import answers, drips
from downloads import DATA, FREE, QUICK, RESEARCH, file, nothing_half_written, server_of_one_file  # noqa: F401 - fixtures

from vrft_core.errors import InputError
from vrft_core.progress import Progress
from vrft_core.sources import transfer
from vrft_core.sources.download import fetch
from vrft_core.sources.published import File


def test_a_file_is_fetched_once_and_recorded_with_its_licence(server, tmp_path):
    a = file(server)

    path = fetch([a], tmp_path, QUICK)[a]
    again = fetch([a], tmp_path, QUICK)[a]

    assert path == again == tmp_path / "set/a.bin"
    assert path.read_bytes() == DATA
    assert len(server.requests) == 1
    record = json.loads((tmp_path / "set/record.json").read_text())
    assert record["licences"]["free"]["attribution"] == "Somebody"
    (row,) = record["files"].values()
    assert row["sha256"] == a.sha256
    assert row["origin"] == f"{server.address}/a.bin"


def test_a_changed_file_in_the_cache_is_fetched_anew(server, tmp_path, capsys):
    a = file(server)
    path = fetch([a], tmp_path, QUICK)[a]
    path.write_bytes(DATA[:-1] + b"?")

    fetch([a], tmp_path, QUICK)

    assert path.read_bytes() == DATA
    assert "downloading it again" in capsys.readouterr().err


@pytest.mark.parametrize("other", [b"x" * len(DATA), b"short", b"x" * (len(DATA) + 1)])
def test_wrong_bytes_are_refused_and_the_next_address_is_tried(server, tmp_path, other):
    server.files["/bad/a.bin"] = other
    a = replace(file(server), urls=(f"{server.address}/bad/a.bin", f"{server.address}/a.bin"))

    assert fetch([a], tmp_path, QUICK)[a].read_bytes() == DATA

    only = replace(a, source="other", urls=(f"{server.address}/bad/a.bin",))
    with pytest.raises(InputError) as refused:
        fetch([only], tmp_path, QUICK)
    assert not (tmp_path / "other/a.bin").exists()
    assert "right" in str(refused.value)


def test_md5_is_checked_where_no_sha256_is_published(server, tmp_path):
    right = file(server, data=None, md5=hashlib.md5(DATA).hexdigest())
    wrong = replace(right, source="other", md5="0" * 32)

    fetch([right], tmp_path, QUICK)
    with pytest.raises(InputError, match="md5"):
        fetch([wrong], tmp_path, QUICK)


def test_a_checksum_stated_with_the_answer_is_compared(server, tmp_path):
    server.headers["/a.bin"] = {"X-Linked-ETag": f'"{hashlib.sha256(DATA).hexdigest()}"'}
    fetch([file(server, data=None)], tmp_path, QUICK)

    server.headers["/a.bin"] = {"X-Linked-ETag": f'"{"0" * 64}"'}
    with pytest.raises(InputError, match="sha256"):
        fetch([replace(file(server, data=None), source="other")], tmp_path, QUICK)


def test_without_a_published_checksum_the_first_is_said_and_the_content_checked(server, tmp_path, capsys):
    def reject(path: Path) -> None:
        raise InputError(path, "is a web page", "fetch it by hand")

    fetch([file(server, data=None)], tmp_path, QUICK)
    assert f"sha256 {hashlib.sha256(DATA).hexdigest()} to pin it" in capsys.readouterr().err

    with pytest.raises(InputError, match="is a web page"):
        fetch([replace(file(server, data=None), source="other", check=reject)], tmp_path, QUICK)
    assert not (tmp_path / "other/a.bin").exists()


def test_404_says_in_one_line_which_files_to_place_where(server, tmp_path):
    files = [file(server, f"{i}.bin") for i in range(7)]

    with pytest.raises(InputError) as refused:
        fetch(files, tmp_path, QUICK)

    line = str(refused.value)
    assert "\n" not in line
    for part in ("0.bin", "and 2 more", "answers 404", str(tmp_path / "set"), "VRFT_DATA_DIR", "VRFT_MIRROR_SET"):
        assert part in line
    assert all(len(server.asked(f"/{i}.bin")) == 1 for i in range(7))  # it is not asked again


def test_what_could_be_fetched_stays_when_something_else_could_not(server, tmp_path):
    with pytest.raises(InputError):
        fetch([file(server), file(server, "absent.bin")], tmp_path, QUICK)

    count = len(server.requests)
    fetch([file(server)], tmp_path, QUICK)
    assert len(server.requests) == count


def test_retry_after_is_honoured_by_every_connection_to_the_host(server, tmp_path):
    for name in ("/b.bin", "/c.bin"):
        server.files[name] = DATA
    server.meets("/a.bin", answers(429, Retry_After="1"))

    fetch([file(server, name) for name in ("a.bin", "b.bin", "c.bin")], tmp_path, replace(QUICK, parallel=1))

    times = [when for _, _, when in server.requests]
    assert times[1] - times[0] >= 0.95


def test_a_server_that_asks_for_hours_is_given_up(server, tmp_path):
    server.meets("/a.bin", *[answers(429, Retry_After="7200")] * 9)

    with pytest.raises(InputError, match="7200 s"):
        fetch([file(server)], tmp_path, QUICK)
    assert len(server.requests) == 1


def test_503_is_tried_again_with_growing_pauses_and_not_for_ever(server, tmp_path):
    server.meets("/a.bin", *[answers(503)] * 3)
    fetch([file(server)], tmp_path, QUICK)
    assert len(server.requests) == 4

    server.meets("/a.bin", *[answers(503)] * 99)
    with pytest.raises(InputError, match="answers 503"):
        fetch([replace(file(server), source="other")], tmp_path, QUICK)
    assert len(server.requests) == 4 + QUICK.tries


def test_without_a_network_it_says_so_at_once(tmp_path, monkeypatch):
    monkeypatch.delenv("VRFT_DATA_DIR", raising=False)
    files = [File("set", f"{i}.bin", ("http://127.0.0.1:1/x",), FREE, size=10, sha256="0" * 64) for i in range(50)]

    began = time.monotonic()
    with pytest.raises(InputError, match="no connection"):
        fetch(files, tmp_path, QUICK)
    assert time.monotonic() - began < 5


def test_a_dead_mirror_does_not_stop_the_official_address(server, tmp_path, monkeypatch):
    monkeypatch.setenv("VRFT_MIRROR_SET", "http://127.0.0.1:1/")

    assert fetch([file(server)], tmp_path, QUICK)[file(server)].read_bytes() == DATA


def test_the_mirror_of_the_environment_comes_first(server, tmp_path, monkeypatch):
    server.files["/mirror/a.bin"] = DATA
    monkeypatch.setenv("VRFT_MIRROR_SET", f"{server.address}/mirror/")

    fetch([file(server)], tmp_path, QUICK)

    assert [path for path, _, _ in server.requests] == ["/mirror/a.bin"]


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.files["http://data.invalid/a.bin"] = DATA  # a proxy is asked for whole addresses
    a = replace(file(server), urls=("http://data.invalid/a.bin",))

    assert fetch([a], tmp_path, QUICK)[a].read_bytes() == DATA


def test_files_fetched_by_hand_are_used_where_they_lie_once_they_are_verified(server, tmp_path, monkeypatch):
    hand = tmp_path / "hand/set"
    hand.mkdir(parents=True)
    (hand / "a.bin").write_bytes(DATA)
    monkeypatch.setenv("VRFT_DATA_DIR", str(tmp_path / "hand"))

    assert fetch([file(server)], tmp_path / "cache", QUICK)[file(server)] == hand / "a.bin"
    assert server.requests == []

    (hand / "a.bin").write_bytes(DATA[:-1])
    with pytest.raises(InputError) as refused:
        fetch([file(server)], tmp_path / "cache", QUICK)
    assert str(hand / "a.bin") in str(refused.value)
    assert (hand / "a.bin").exists()  # a person's file is not deleted


def test_a_licence_that_asks_must_be_accepted_before_a_byte_is_fetched(server, tmp_path, monkeypatch):
    a = file(server, licence=RESEARCH)

    with pytest.raises(InputError) as refused:
        fetch([a], tmp_path, QUICK)
    assert server.requests == []
    assert "\n" not in str(refused.value)
    for part in ("non-commercial research only", "http://example.org/nc", "VRFT_ACCEPT_LICENCES=research"):
        assert part in str(refused.value)

    monkeypatch.setenv("VRFT_ACCEPT_LICENCES", "other, research")
    fetch([a], tmp_path, QUICK)
    monkeypatch.delenv("VRFT_ACCEPT_LICENCES")
    server.files["/b.bin"] = DATA
    fetch([file(server, "b.bin", licence=RESEARCH)], tmp_path, QUICK)  # asked once for a cache


@pytest.mark.parametrize(("typed", "fetched"), [(b"y\n", True), (b"\n", False), (b"no\n", False)])
def test_on_a_terminal_a_person_is_asked(server, tmp_path, typed, fetched):
    import pty

    ours, theirs = pty.openpty()
    script = (
        "import sys; from pathlib import Path\n"
        "from vrft_core.sources.download import fetch; from vrft_core.sources.published import File\n"
        "from vrft_core.sources.licences import Licence\n"
        "nc = Licence('research', 'non-commercial research only', 'Somebody', 'http://example.org/nc', True)\n"
        f"fetch([File('set', 'a.bin', ('{server.address}/a.bin',), nc, {len(DATA)})], Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdin=theirs, stdout=theirs, stderr=theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 10_000)
    os.write(ours, typed)

    assert (process.wait(timeout=20) == 0) == fetched
    assert b"Cite: Somebody" in shown
    assert (tmp_path / "set/a.bin").exists() == fetched


def test_two_runs_do_not_fetch_one_file_twice(server, tmp_path, capsys):
    server.meets("/a.bin", drips(1000, 0.4))
    threads = [threading.Thread(target=fetch, args=([file(server)], tmp_path, QUICK)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert nothing_half_written(tmp_path)
    assert server.asked("/a.bin").count(None) == 1
    assert "another process downloads into it" in capsys.readouterr().err


def test_a_full_disk_is_said_before_it_is_full(server, tmp_path):
    with pytest.raises(InputError, match="GB are free"):
        fetch([file(server, size=10**18)], tmp_path, QUICK)
    assert server.requests == []


def test_a_key_in_an_address_is_neither_recorded_nor_shown(server, tmp_path, capsys):
    a = replace(file(server, data=None), urls=(f"{server.address}/a.bin?api_key=SECRET",))
    fetch([a], tmp_path, QUICK)

    dead = replace(a, source="dead", urls=("http://127.0.0.1:1/a.bin?api_key=SECRET", f"{server.address}/x?k=SECRET"))
    with pytest.raises(InputError) as refused:
        fetch([dead], tmp_path, QUICK)

    texts = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert not any("SECRET" in text for text in [*texts, str(refused.value), capsys.readouterr().err])


def test_progress_tells_bytes_and_the_time_that_is_left(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(transfer, "MEGABYTE", 100_000)
    monkeypatch.setattr(transfer, "CHUNK", 50_000)
    monkeypatch.setattr(transfer, "Progress", functools.partial(Progress, every=0))

    fetch([file(server)], tmp_path, QUICK)

    shown = capsys.readouterr().err
    assert "download set (MB): 1/3" in shown
    assert "left" in shown
    assert "download set (MB): 3/3, done in" in shown
