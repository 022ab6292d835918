"""Bringing files here over HTTP: resumed, verified, patient with servers, several at once.

HTTP is `requests`: proxies and certificates come from the environment as for DVC and MLflow, which already need it.
What is here already, locks and licences belong to `download`.
"""

import errno
import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import Retry

from vrft_core import __version__, io
from vrft_core.errors import InputError
from vrft_core.progress import Progress
from vrft_core.sources.published import File, addresses, mirror_variable, verify

CHUNK = 1 << 20
MEGABYTE = 1_000_000
PINNED = re.compile(r"[0-9a-f]{64}")


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


Arrived = Callable[[File, Path, dict[str, str], str, bool], None]  # file, path, digests, origin, checksum stated


class _Failed(Exception):
    """This address will not do."""


class _Again(Exception):
    """It may do later; `after` is what the server asked for, seconds."""

    def __init__(self, reason: str, after: float = 0, offline: bool = False) -> None:
        super().__init__(reason)
        self.after, self.offline = after, offline


class Transfer:
    """One call's downloads into one folder: shared progress, shared patience with each host."""

    def __init__(self, folder: Path, files: list[File], arrived: Arrived, http: Http) -> None:
        self.folder, self.files, self.arrived, self.http = folder, files, arrived, http
        self.stop = threading.Event()
        self.local = threading.local()
        self.wait_until: dict[str, float] = {}  # host → no request before (time.monotonic)
        self.unreachable: set[str] = set()
        self.guard = threading.Lock()
        self.bytes_done = sum(size_of(self._part(file)) for file in files)
        sizes = [file.size for file in files if file.size is not None]
        self.by_bytes = len(sizes) == len(files)
        what, total = f"download {folder.name}", len(files)
        if self.by_bytes:
            what, total = f"{what} (MB)", max(1, round(sum(sizes) / MEGABYTE))
        self.progress = Progress(what, total, min(total, self.bytes_done // MEGABYTE) if self.by_bytes else 0)

    def run(self) -> None:
        """Raises InputError naming the files that did not come and where to place them; the others have their names."""
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
            had = size_of(part)
            try:
                if file.pinned and had and had == file.size:  # stopped just before it was verified
                    published, resumed = None, True
                else:
                    published, resumed = self._transfer(file, url, part)
            except _Again as problem:
                failures = 0 if size_of(part) > had else failures + 1
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
                digests = verify(file, part, published, f"{file} from {_host(url)}")
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
            self.arrived(file, path, digests, _without_query(url), published is not None)
            return

    def _transfer(self, file: File, url: str, part: Path) -> tuple[str | None, bool]:
        """Bring the part to its end. Returns the checksum that the server publishes, and whether it was resumed."""
        self._wait_for(_host(url))
        headers = {"Accept-Encoding": "identity"} | _range_headers(file, url, part)
        started = size_of(part) if "Range" in headers else 0
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
                    self._count(-size_of(part))
                _note_down(part, url, response)
                self._receive(response, part, started)
                return _published_checksum(response), started > 0
        except requests.exceptions.RequestException as error:
            raise _reason(error) from None
        except (TransportError, OSError) as error:  # while the body is read
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise InputError(
                    part, "the disk is full", "free some space and run again; the download resumes"
                ) from None
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
            self._count(-size_of(part))
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


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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
    size = size_of(part)
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
        return Retry(retry_after_max=10**9).get_retry_after(response.raw) or 0.0
    except TransportError:
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
