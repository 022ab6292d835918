"""A file is read once for its digest, and again whenever it may have changed."""

import hashlib
import os
import time

import pytest

from vrft_core import digests, provenance

LONG_AGO = time.time_ns() - 3600 * 10**9


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that are read from here on."""
    found, read = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, of: found.append(file.name) or read(file, of))
    return found


def put(path, content: bytes, at: int = LONG_AGO):
    path.write_bytes(content)
    os.utime(path, ns=(at, at))
    return path


def test_weights_are_read_once_in_a_process(tmp_path, reads):
    weights = put(tmp_path / "weights", b"one")
    assert {digests.of_file(weights) for _ in range(3)} == {hashlib.md5(b"one").hexdigest()}
    assert provenance.directory_digest(tmp_path) == provenance.directory_digest(tmp_path)
    assert reads == [str(weights)]


@pytest.mark.parametrize("at", [LONG_AGO, time.time_ns()], ids=["long ago", "a moment ago"])
def test_whatever_changes_is_read_again(tmp_path, at):
    weights = put(tmp_path / "weights", b"one", at)
    assert digests.of_file(weights) == hashlib.md5(b"one").hexdigest()
    put(weights, b"two", at + 1)
    assert digests.of_file(weights) == hashlib.md5(b"two").hexdigest(), "of the same size"
    put(tmp_path / "other", b"six", at + 1).replace(weights)
    assert digests.of_file(weights) == hashlib.md5(b"six").hexdigest(), "another file in its place"


def test_a_change_that_leaves_the_same_time_is_seen_where_the_time_is_the_present(tmp_path):
    now = time.time_ns()
    weights = put(tmp_path / "weights", b"one", now)
    digests.of_file(weights)
    assert digests.of_file(put(weights, b"two", now)) == hashlib.md5(b"two").hexdigest()


def test_a_file_that_is_gone_is_gone(tmp_path):
    weights = put(tmp_path / "weights", b"one")
    digests.of_file(weights)
    weights.unlink()
    with pytest.raises(FileNotFoundError):
        digests.of_file(weights)
