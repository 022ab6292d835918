"""The one downloader: files from official addresses, mirrors or a folder filled by hand, each checked before use.

It knows no data set. A file appears under its name only once it is whole and verified; what is half fetched ends in
`.part` and is resumed. HTTP is `requests`: proxies and certificates come from the environment as for DVC and MLflow,
which already need it. Unpacking belongs to `archives`, terms of use to `licences`.

Environment:

- `VRFT_DATA_DIR`: a folder of files fetched by hand, as `SOURCE/NAME`; they are verified, and used where they lie.
- `VRFT_MIRROR_<SOURCE>`: an address that stands before all others; `<it>/NAME` is asked first.
  SOURCE in capitals, other characters as `_`.
- `VRFT_ACCEPT_LICENCES`: see `licences`.
"""

import contextlib
import datetime
import errno
import hashlib
import os
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import filelock
import requests
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import Retry

from vrft_core import __version__, io
from vrft_core.errors import InputError
from vrft_core.progress import Progress
from vrft_core.sources import licences
from vrft_core.sources.licences import Licence

CHUNK = 1 << 20
MEGABYTE = 1_000_000
PINNED = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """One published file. At least one of `sha256` and `check` says whether its content is right.

    `check(path)` raises InputError; it is for files without a published checksum. `urls` are tried in order; where
    there are none, a person fetches the file, and `by_hand` says from where.
    """

    source: str  # its folder in the cache
    name: str  # relative to that folder, with /
    urls: tuple[str, ...]
    licence: Licence
    size: int | None = None  # bytes
    sha256: str | None = None
    md5: str | None = None  # where no sha256 is published
    check: Callable[[Path], None] | None = None
    by_hand: str = ""
    loose: bool = False  # one of thousands, which nobody pins

    @property
    def pinned(self) -> bool:
        """Whether the content is known beforehand, so that any two copies of it are equal."""
        return bool(self.sha256 or self.md5)

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


@dataclass(frozen=True)
class Http:
    """How patient a download is. Seconds."""

    parallel: int = 6  # connections at once
    connect: float = 20
    read: float = 60  # without a byte
    stall: float = 60  # the time in which at least `least` bytes must come
    least: int = 10_000
    tries: int = 6  # in a row without a new byte, for each address
    pause: float = 1  # before the second try; doubled each time, half of it by chance
    longest_pause: float = 120  # a server that asks for more is given up


class _Failed(Exception):
    """This address will not do."""


class _Again(Exception):
    """It may do later; `after` is what the server asked for, seconds."""

    def __init__(self, reason: str, after: float = 0, offline: bool = False) -> None:
        super().__init__(reason)
        self.after, self.offline = after, offline


PATIENT = Http()


def fetch(files: Sequence[File], cache: Path, http: Http = PATIENT) -> dict[File, Path]:
    """Every file's path, whole and verified: from the cache, from VRFT_DATA_DIR, or else downloaded into the cache.

    The cache has a folder for each source, in which `record.json` says what came from where, under which licence.
    Two processes do not fetch the same source at once: the second waits.

    Raises InputError, in one line, when a licence is not accepted, a file given by hand is not the right one, the
    disk is full, or files cannot be fetched; it then names them and where to place them. What has been fetched stays.
    """
    cache = Path(cache)
    found: dict[File, Path] = {}
    for source in dict.fromkeys(file.source for file in files):
        wanted = [file for file in dict.fromkeys(files) if file.source == source]
        with _locked(cache / source):
            found |= _fetch_source(cache / source, wanted, http)
    return found


def present(file: File, cache: Path) -> Path | None:
    """Where the file lies already, unverified: in the cache or in VRFT_DATA_DIR."""
    path = Path(cache) / file.source / file.name
    return path if path.is_file() else _given(file)


def _fetch_source(folder: Path, files: list[File], http: Http) -> dict[File, Path]:
    record = _Record(folder)
    found: dict[File, Path] = {}
    for file in files:
        path = folder / file.name
        if path.is_file() and (record.knows(file, path) or _verified_or_removed(file, path, record)):
            found[file] = path
        elif (path := _given(file)) is not None:
            _verify_given(file, path, record)
            found[file] = path
    missing = [file for file in files if file not in found]
    if missing:
        licences.require({file.licence for file in missing if file.licence.name not in record.accepted})
        record.accept({file.licence for file in missing})
        _require_space(folder, missing)
        try:
            _Download(folder, missing, record, http).run()
        finally:
            record.save()
        found |= {file: folder / file.name for file in missing}
    record.save()
    return {file: found[file] for file in files}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{folder}: another process fetches into it; waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _given(file: File) -> Path | None:
    """The file in VRFT_DATA_DIR."""
    root = os.environ.get("VRFT_DATA_DIR")
    path = Path(root) / file.source / file.name if root else None
    return path if path and path.is_file() else None


class _Record:
    """`record.json` of a source's folder: licences, and of each verified file its digest, size, time and origin."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "record.json"
        data = io.read_json(self.path) if self.path.is_file() else {}
        self.files: dict[str, dict] = data.get("files", {})
        self.licences: dict[str, dict] = data.get("licences", {})
        self.changed = False
        self.guard = threading.Lock()

    @property
    def accepted(self) -> set[str]:
        return set(self.licences)

    def accept(self, items: set[Licence]) -> None:
        for item in items:
            self.licences[item.name] = {"terms": item.terms, "attribution": item.attribution, "url": item.url}
            self.changed = True

    def knows(self, file: File, path: Path) -> bool:
        """Whether these very bytes were verified before against what is expected now."""
        with self.guard:
            row = self.files.get(str(path))
        stat = path.stat()
        return (
            row is not None
            and (row["size"], row["modified_ns"]) == (stat.st_size, stat.st_mtime_ns)
            and (file.sha256 is None or row["sha256"] == file.sha256)
            and (file.md5 is None or row.get("md5") == file.md5)
        )

    def add(self, file: File, path: Path, digests: dict[str, str], origin: str, published: bool = False) -> None:
        stat = path.stat()
        row = {
            **digests,
            "size": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "origin": origin,
            "licence": file.licence.name,
            "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with self.guard:
            self.files[str(path)] = row
            self.changed = True
        if not (file.pinned or file.loose or published or origin == "by hand"):
            print(f"{file}: no checksum is published; sha256 {digests['sha256']} to pin it", file=sys.stderr)

    def save(self) -> None:
        with self.guard:
            if self.changed:
                io.write_json(self.path, {"licences": self.licences, "files": self.files})
                self.changed = False


def _verified_or_removed(file: File, path: Path, record: _Record) -> bool:
    """Whether a file in the cache is right; a wrong one is deleted, to be fetched anew."""
    try:
        record.add(file, path, _verify(file, path), "found in the cache")
    except InputError as error:
        print(f"{error}: fetching it anew", file=sys.stderr, flush=True)
        path.unlink()
        return False
    return True


def _verify_given(file: File, path: Path, record: _Record) -> None:
    if not record.knows(file, path):
        record.add(file, path, _verify(file, path), "by hand")


def _verify(file: File, path: Path, published: str | None = None, named: object = None) -> dict[str, str]:
    """The file's digests. Raises InputError when size, a checksum or the content is not what it should be."""
    named = named or path
    if file.size is not None and path.stat().st_size != file.size:
        raise InputError(named, f"has {path.stat().st_size:,} bytes, {file.size:,} are right", "fetch it again")
    with open(path, "rb") as stream:
        digests = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
        if file.md5:
            stream.seek(0)
            digests["md5"] = hashlib.file_digest(stream, "md5").hexdigest()
    for kind, right in (("sha256", file.sha256), ("md5", file.md5), ("sha256", published)):
        if right and digests[kind] != right:
            raise InputError(named, f"{kind} is {digests[kind]}, {right} is right", "fetch it again")
    if file.check:
        file.check(path)
    return digests


def _require_space(folder: Path, files: list[File]) -> None:
    left = sum((file.size or 0) - _size(folder / f"{file.name}.part") for file in files)
    free = shutil.disk_usage(folder).free
    if left > free:
        raise InputError(
            folder, f"{left / 1e9:.1f} GB are to come, {free / 1e9:.1f} GB are free", "make room or move the cache"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Download:
    """One call's downloads into one folder: shared progress, shared patience with each host."""

    def __init__(self, folder: Path, files: list[File], record: _Record, http: Http) -> None:
        self.folder, self.files, self.record, self.http = folder, files, record, http
        self.stop = threading.Event()
        self.local = threading.local()
        self.wait_until: dict[str, float] = {}  # host → no request before (time.monotonic)
        self.unreachable: set[str] = set()
        self.guard = threading.Lock()
        self.bytes_done = sum(_size(self._part(file)) for file in files)
        self.by_bytes = all(file.size is not None for file in files)
        what, total = f"download {folder.name}", len(files)
        if self.by_bytes:
            what, total = f"{what} (MB)", max(1, round(sum(file.size for file in files) / MEGABYTE))
        self.progress = Progress(what, total, min(total, self.bytes_done // MEGABYTE) if self.by_bytes else 0)

    def run(self) -> None:
        failures: dict[File, str] = {}
        with ThreadPoolExecutor(max(1, min(self.http.parallel, len(self.files)))) as pool:
            pending = {pool.submit(self._one, file): file for file in self.files}
            try:
                for future in as_completed(pending):
                    file = pending[future]
                    try:
                        future.result()
                    except _Failed as failed:
                        failures[file] = str(failed)
                    if not self.by_bytes:
                        self.progress.step()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if failures:
            raise self._refusal(failures)
        if self.by_bytes and self.progress.done < self.progress.total:
            self.progress.step(self.progress.total - self.progress.done)

    def _refusal(self, failures: dict[File, str]) -> InputError:
        named = [f"{file.name}" + (f" ({file.size:,} bytes)" if file.size else "") for file in failures]
        shown = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if named[5:] else "")
        reasons = list(dict.fromkeys(reason for reason in failures.values() if reason != "stopped"))
        source = self.files[0].source
        hints = "; ".join(dict.fromkeys(file.by_hand for file in failures if file.by_hand))
        return InputError(
            source,
            f"cannot fetch {shown}: {'; '.join(reasons[:3]) or 'stopped'}",
            f"place them in {self.folder}, or in {source}/ of a folder that VRFT_DATA_DIR names, "
            f"or set {mirror_variable(source)}" + (f" ({hints})" if hints else ""),
        )

    def _part(self, file: File) -> Path:
        return self.folder / f"{file.name}.part"

    def _one(self, file: File) -> None:
        """Fetch one file from the first address that gives the right bytes. Raises _Failed."""
        reasons = []
        part = self._part(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        for url in addresses(file):
            try:
                self._from(file, url)
                return
            except _Failed as failed:
                reasons.append(f"{failed} ({_host(url)})")
        raise _Failed("; ".join(dict.fromkeys(reasons)) or "there is no address to fetch it from")

    def _from(self, file: File, url: str) -> None:
        """Try one address until it gives the file. Raises _Failed, and then leaves a part only if it may be resumed."""
        part = self._part(file)
        failures, again = 0, False
        while True:
            had = _size(part)
            try:
                if file.pinned and had and had == file.size:  # stopped just before it was verified
                    published, resumed = None, True
                else:
                    published, resumed = self._transfer(file, url, part)
            except _Again as problem:
                failures = 0 if _size(part) > had else failures + 1
                if failures >= (2 if problem.offline else self.http.tries):
                    if problem.offline:
                        self.unreachable.add(_host(url))  # the other files need not wait for the same
                    raise _Failed(str(problem)) from None
                pause = self.http.pause * 2**failures / 2 * (0.5 + random.random() / 2)
                if max(pause, problem.after) > self.http.longest_pause:
                    raise _Failed(f"{problem}, and asks for {problem.after:.0f} s of patience") from None
                self._sleep(max(pause, problem.after))
                continue
            try:
                digests = _verify(file, part, published, f"{file} from {_host(url)}")
            except InputError as error:
                _forget(part)
                if resumed and not again:  # what lay there may have been wrong
                    again = True
                    continue
                raise _Failed(str(error).partition(": ")[2].partition(";")[0]) from None
            path = self.folder / file.name
            os.replace(part, path)
            _note(part).unlink(missing_ok=True)
            _sync_directory(path.parent)
            self.record.add(file, path, digests, _without_query(url), published is not None)
            return

    def _transfer(self, file: File, url: str, part: Path) -> tuple[str | None, bool]:
        """Bring the part to its end. Returns the checksum that the server publishes, and whether it was resumed."""
        self._wait_for(_host(url))
        headers = {"Accept-Encoding": "identity"} | _range_headers(file, url, part)
        started = _size(part) if "Range" in headers else 0
        try:
            with self._session().get(
                url, headers=headers, stream=True, timeout=(self.http.connect, self.http.read)
            ) as response:
                self._refuse_status(response, url, part)
                started = started if _continues(response, started) else 0
                total = _total(response, started)
                if total is not None and file.size not in (None, total):
                    raise _Failed(f"offers {total:,} bytes, {file.size:,} are right")
                if not started:
                    self._count(-_size(part))
                _note_down(part, url, response)
                self._receive(response, part, started)
                return _published_checksum(response), started > 0
        except requests.exceptions.RequestException as error:
            raise _reason(error) from None
        except (TransportError, OSError) as error:  # while the body is read
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise InputError(part, "the disk is full", "make room and run again; it is resumed") from None
            raise _Again("the connection broke") from None

    def _receive(self, response: requests.Response, part: Path, started: int) -> None:
        """Append the body to the part and sync it. Raises _Again when it comes too slowly.

        A body that ends before its announced length makes urllib3 raise.
        """
        size = started
        with open(part, "r+b" if started else "wb") as file:
            file.seek(started)
            file.truncate()
            began, since = time.monotonic(), size
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                if self.stop.is_set():
                    raise _Failed("stopped")
                file.write(chunk)
                size += len(chunk)
                self._count(len(chunk))
                if time.monotonic() - began > self.http.stall:
                    if size - since < self.http.least:
                        raise _Again("too slow")
                    began, since = time.monotonic(), size
            file.flush()
            os.fsync(file.fileno())

    def _refuse_status(self, response: requests.Response, url: str, part: Path) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status == 416:  # nothing is left, or the file is another one now
            self._count(-_size(part))
            _forget(part)
            raise _Again("the part does not fit the file")
        if status in (408, 425, 429, 500, 502, 503, 504):
            after = _retry_after(response)
            with self.guard:
                until = time.monotonic() + min(after, self.http.longest_pause)
                self.wait_until[_host(url)] = max(until, self.wait_until.get(_host(url), 0))
            raise _Again(f"answers {status}", after)
        raise _Failed(f"answers {status}")

    def _session(self) -> requests.Session:
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.headers["User-Agent"] = f"vrft/{__version__}"
        return self.local.session

    def _wait_for(self, host: str) -> None:
        """Until the host may be asked again: one 429 slows all connections to it."""
        if host in self.unreachable:
            raise _Failed("no connection")
        with self.guard:
            left = self.wait_until.get(host, 0) - time.monotonic()
        self._sleep(left)

    def _sleep(self, seconds: float) -> None:
        if self.stop.is_set() or (seconds > 0 and self.stop.wait(seconds)):
            raise _Failed("stopped")

    def _count(self, amount: int) -> None:
        with self.guard:
            self.bytes_done += amount
            if self.by_bytes and (new := self.bytes_done // MEGABYTE - self.progress.done) > 0:
                self.progress.step(min(new, self.progress.total - 1 - self.progress.done))


def mirror_variable(source: str) -> str:
    return f"VRFT_MIRROR_{re.sub('[^A-Z0-9]', '_', source.upper())}"


def addresses(file: File) -> list[str]:
    """Where the file may be had, the mirror of the environment first."""
    mirror = os.environ.get(mirror_variable(file.source))
    return ([f"{mirror.rstrip('/')}/{file.name}"] if mirror else []) + list(file.urls)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _without_query(url: str) -> str:
    """An address as it may be shown and recorded: a query or a user may hold a key."""
    return urlsplit(url)._replace(query="", fragment="", netloc=_host(url)).geturl()


def _note(part: Path) -> Path:
    """What is known of the file a part belongs to, so that the rest is not taken from another one."""
    return part.with_name(f"{part.name}.json")


def _note_down(part: Path, url: str, response: requests.Response) -> None:
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else ""  # a weak one does not promise equal bytes
    validator = strong or response.headers.get("Last-Modified", "")
    io.write_json(_note(part), {"url": hashlib.sha256(url.encode()).hexdigest(), "validator": validator})


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _range_headers(file: File, url: str, part: Path) -> dict[str, str]:
    """Ask for the rest only where it must be the rest of the same bytes.

    That is so when the server can be asked whether its file is still the one (If-Range), and when the content is
    known beforehand: then even another mirror may go on, since the whole is verified.
    """
    size = _size(part)
    if not size or (file.size is not None and size >= file.size):
        return {}
    note = io.read_json(_note(part)) if _note(part).is_file() else {}
    same = note.get("url") == hashlib.sha256(url.encode()).hexdigest()
    headers = {"Range": f"bytes={size}-"}
    if same and note.get("validator"):
        return headers | {"If-Range": note["validator"]}
    return headers if file.pinned else {}


def _continues(response: requests.Response, started: int) -> bool:
    """Whether the answer is the rest from byte `started` on; 200 is the whole file. Raises _Again for another piece."""
    if response.status_code == 200:
        return False
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not started or not match or int(match[1]) != started:
        raise _Failed("answers with a piece that was not asked for")
    return True


def _total(response: requests.Response, started: int) -> int | None:
    """Size of the whole file as the server states it."""
    length = response.headers.get("Content-Length", "")
    return started + int(length) if length.isdigit() else None


def _published_checksum(response: requests.Response) -> str | None:
    """The sha256 that the Hugging Face hub states of a large file, on the answer that redirects to it."""
    for answer in (*response.history, response):
        etag = answer.headers.get("X-Linked-ETag", "").strip('"')
        if PINNED.fullmatch(etag):
            return etag
    return None


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait; 0 when it does not say, or not in a readable way."""
    try:
        return Retry(retry_after_max=10**9).parse_retry_after(response.headers["Retry-After"])
    except (KeyError, TransportError):
        return 0.0


def _reason(error: requests.exceptions.RequestException) -> Exception:
    """A library's error as a plain one. Its own text may hold the address with a key, so it is not shown."""
    cause = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.ProxyError):
        return _Again("the proxy cannot be reached or refuses", offline=True)
    if isinstance(error, requests.exceptions.SSLError):
        return _Failed("its certificate is not accepted (REQUESTS_CA_BUNDLE names your own authorities)")
    if isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(cause, NameResolutionError):
        return _Again("no connection", offline=True)
    if isinstance(cause, NewConnectionError):
        return _Again("no connection", offline=True)
    if isinstance(error, requests.exceptions.Timeout):
        return _Again("no answer in time")
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return _Again("the connection broke")
    return _Failed(f"no usable address: {type(error).__name__}")


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def safe_name(name: str) -> bool:
    """Whether a name from a downloaded list stays inside the folder it is put in."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and not set("\\\0:") & set(name)
