"""Archives give the wanted members whole, and refuse names, links and sizes that would do harm."""

import gzip
import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from vrft_core.errors import InputError
from vrft_core.sources import archives


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for info, data in members:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_wanted_members_come_whole_from_zip_and_tar(tmp_path):
    content = {"a/1.txt": b"one", "a/2.txt": b"two" * 1000}
    for archive in (
        zipped(tmp_path / "x.zip", **content),
        tar(tmp_path / "x.tgz", *[(info(f"./{name}"), data) for name, data in content.items()]),
        tar(tmp_path / "x.tar", *[(info(name), data) for name, data in content.items()], mode="w"),
    ):
        assert dict(archives.members(archive)) == content
        assert dict(archives.members(archive, lambda name: name == "a/2.txt")) == {"a/2.txt": content["a/2.txt"]}
        assert archives.read(archive, "a/1.txt") == b"one"
        with pytest.raises(InputError, match="no file 'b'"):
            archives.read(archive, "b")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:evil"])
def test_names_that_lead_outside_are_refused(tmp_path, name):
    for archive in (tar(tmp_path / "x.tgz", (info(name), b"x")), zipped(tmp_path / "x.zip", **{name: b"x"})):
        with pytest.raises(InputError, match="leads outside"):
            list(archives.members(archive, lambda member: False))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    archive = tar(tmp_path / "x.tgz", (info("innocent", kind, "/etc/passwd"), b""))

    with pytest.raises(InputError, match="link or a device"):
        list(archives.members(archive))


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        member = zipfile.ZipInfo("innocent")
        member.external_attr = 0o120777 << 16
        file.writestr(member, "/etc/passwd")

    with pytest.raises(InputError, match="link or a device"):
        list(archives.members(tmp_path / "x.zip"))


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    archive = tar(tmp_path / "x.tgz", (info("a"), b"1"), (info("a"), b"2"))

    with pytest.raises(InputError, match="twice"):
        list(archives.members(archive))


def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path):
    bomb = bytes(200_000_000)
    small = archives.Bounds(bytes=10**12, ratio=100, slack=1_000_000)
    for archive in (zipped(tmp_path / "x.zip", a=bomb), tar(tmp_path / "x.tgz", (info("a"), bomb))):
        assert archive.stat().st_size < 1_000_000
        with pytest.raises(InputError, match="unpacks to"):
            list(archives.members(archive, lambda name: False, small))  # skipping unpacks too


@pytest.mark.parametrize("bounds", [archives.Bounds(bytes=999), archives.Bounds(bytes=10**6, ratio=0.5, slack=999)])
def test_limits_on_total_size_hold_for_plain_archives_too(tmp_path, bounds):
    noise = random.Random(0).randbytes(2000)
    for archive in (zipped(tmp_path / "x.zip", a=noise), tar(tmp_path / "x.tgz", (info("a"), noise))):
        with pytest.raises(InputError, match="unpacks to"):
            list(archives.members(archive, bounds=bounds))


def test_truncated_and_damaged_archives_end_in_one_line(tmp_path):
    noise = random.Random(0).randbytes(100_000)
    damaged = bytearray(zipped(tmp_path / "whole.zip", a=noise).read_bytes())
    damaged[50_000] ^= 255
    broken = {
        "cut.tgz": tar(tmp_path / "whole.tgz", (info("a"), noise)).read_bytes()[:50_000],
        "cut.zip": zipped(tmp_path / "whole2.zip", a=noise).read_bytes()[:50_000],
        "damaged.zip": bytes(damaged),
        "page.html": b"<html>quota exceeded</html>" * 50,
        "empty.tgz": b"",
        "gzip.tgz": gzip.compress(b"no tar"),
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="damaged, truncated or not an archive") as refused:
            list(archives.members(tmp_path / name))
        assert name in str(refused.value)
        assert "\n" not in str(refused.value)
