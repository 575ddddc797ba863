"""Download the photographs of Imgur5K: several at a time, checked, resumable, and gentle to the server."""

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from quillread.config import dump
from quillread.data.imgur5k import SplitReport, inspect_imgur5k
from quillread.data.imgur5k_lists import SPLITS, ListedImage, find_images, hash_file, list_images
from quillread.errors import ConfigError
from quillread.files import write_atomic, write_json
from quillread.types import Progress
from quillread.version import __version__

log = logging.getLogger(__name__)

REPORT_NAME = "fetch-report.json"

_USER_AGENT = f"Mozilla/5.0 (compatible; quillread/{__version__})"
_REMOVED = "/removed.png"  # where imgur.com sends those who ask for an image that was taken down
_GONE = (404, 410)
_PASSING = (408, 425, 429)  # and all from 500 up
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
_LARGEST = 64 << 20  # bytes; imgur.com takes no images of that size
_HOPELESS = 20  # images in a row that failed: the network is down, or the server wants none of us


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """How images are downloaded."""

    workers: int = 8
    """Downloads at a time, 1 to 64."""

    rate: float = 10.0
    """Requests per second at most, of all workers together."""

    timeout: float = 30.0
    """Seconds without an answer, and for one whole image, after which a try has failed."""

    retries: int = 3
    """Further tries after the first has failed."""

    backoff: float = 1.0
    """Seconds before the first further try; doubled before each next one."""

    base_url: str | None = None
    """A mirror: the images are asked for there, as BASE/ID.jpg."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 64:
            raise ConfigError(f"fetch.workers must be 1 to 64, got {self.workers}")
        if self.retries < 0 or self.backoff < 0:
            raise ConfigError(f"fetch.retries and fetch.backoff must not be below 0: {self.retries}, {self.backoff}")
        if not (self.rate > 0 and self.timeout > 0):
            raise ConfigError(f"fetch.rate and fetch.timeout must be above 0, got {self.rate} and {self.timeout}")
        if self.base_url is not None and not self.base_url.startswith(("https://", "http://")):
            raise ConfigError(f"fetch.base_url must begin with https:// or http://, got {self.base_url!r}")


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of every image of the lists; names are ids."""

    listed: int
    kept: int
    """Were there already, with the right hash."""
    fetched: int
    dead: dict[str, str]
    """Taken down: id -> what the server said. A later run asks again, once, with little hope."""
    changed: dict[str, str]
    """The server has another file than the annotators saw: id -> what differs. As little hope."""
    failed: dict[str, str]
    """id -> the last error. A later run may mend it."""
    untried: tuple[str, ...]
    """Not asked for, because the run was interrupted or given up."""
    splits: dict[str, SplitReport] = field(default_factory=dict)
    """What the folder holds now; empty if the run was interrupted."""

    @property
    def is_complete(self) -> bool:
        """Whether every image was asked for and answered, be it that it is no more."""
        return not (self.failed or self.untried)


_Kind = Literal["kept", "fetched", "dead", "changed", "failed"]
_Outcome = tuple[_Kind, str]


class _NoAnswerError(Exception):
    """A try failed in a way that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = min(wait, _LONGEST_WAIT)


class _FinalError(Exception):
    """The server's answer leaves no hope for another try in this run."""

    def __init__(self, kind: _Kind, reason: str) -> None:
        super().__init__(reason)
        self.outcome: _Outcome = (kind, reason)


def fetch_imgur5k(
    folder: Path,
    config: FetchConfig | None = None,
    *,
    splits: Sequence[str] = tuple(SPLITS),
    progress: Progress | None = None,
) -> FetchReport:
    """Download the images named by the lists in `folder/dataset_info` to `folder/images`.

    An image is put in place only whole and with the hash of the lists. What is there already is kept, so an
    interrupted run goes on where it was; a file with another hash stays unless the right one can be had. However
    the run ends, `folder/fetch-report.json` says what became of each image.

    Args:
        folder: A copy of the data set's repository, which has the lists.
        config: The defaults if not given.
        splits: Of "train", "validation" and "test".
        progress: Counts images.

    Raises:
        DataError: If a list is missing or malformed.
        OutputError: If an image cannot be written.
    """
    images = list_images(folder, splits)
    outcomes: dict[str, _Outcome] = {}
    holdings: dict[str, SplitReport] = {}
    try:
        _fetch_all(images, folder, config or FetchConfig(), outcomes, progress)
        holdings.update((split, inspect_imgur5k(folder, split)) for split in splits)
    finally:  # Ctrl-C and a full disk too
        report = _summarise(images, outcomes, holdings)
        write_json(folder / REPORT_NAME, dump(report))
    return report


def _fetch_all(
    images: Sequence[ListedImage],
    folder: Path,
    config: FetchConfig,
    outcomes: dict[str, _Outcome],
    progress: Progress | None,
) -> None:
    """Fill `outcomes`, id by id; images that are not in there at the end were not tried."""
    there = find_images(folder)
    stop = threading.Event()
    web = _Web(config, stop)

    def work(image: ListedImage) -> None:
        outcome = _fetch(image, folder, there.get(image.id), web)
        if outcome:
            outcomes[image.id] = outcome

    failed_in_a_row = 0
    with ThreadPoolExecutor(config.workers) as pool:
        try:
            futures = {pool.submit(work, image): image.id for image in images}
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                kind, reason = outcomes.get(futures[future], ("untried", ""))
                failed_in_a_row = failed_in_a_row + 1 if kind == "failed" else 0
                if failed_in_a_row == _HOPELESS and not stop.is_set():
                    log.warning("given up, as %d images in a row failed; the last: %s", _HOPELESS, reason)
                    stop.set()
                if progress:
                    progress(done, len(images))
        except BaseException:  # on Ctrl-C, workers that wait go home at once, the others after their try
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(image: ListedImage, folder: Path, present: Path | None, web: "_Web") -> _Outcome | None:
    """Bring one image into place; None if the run was stopped before that was decided."""
    if present and hash_file(present) == image.md5:
        return "kept", ""
    try:
        content = web.get(image.url)
    except _FinalError as error:
        return error.outcome
    except _NoAnswerError as error:
        return "failed", str(error)
    if content is None:
        return None
    found = md5(content, usedforsecurity=False).hexdigest()
    if found != image.md5:
        return "changed", f"MD5 {found} instead of {image.md5}, {len(content)} bytes"
    write_atomic(folder / "images" / f"{image.id}.jpg", content)
    return "fetched", ""


def _summarise(
    images: Sequence[ListedImage], outcomes: dict[str, _Outcome], splits: dict[str, SplitReport]
) -> FetchReport:
    by_kind: dict[str, dict[str, str]] = {}
    for image in images:
        kind, reason = outcomes.get(image.id, ("untried", ""))
        by_kind.setdefault(kind, {})[image.id] = reason
    dead, changed, failed = (by_kind.get(kind, {}) for kind in ("dead", "changed", "failed"))
    kept, fetched = (len(by_kind.get(kind, {})) for kind in ("kept", "fetched"))
    untried = tuple(by_kind.get("untried", {}))
    return FetchReport(len(images), kept, fetched, dead, changed, failed, untried, splits)


class _Web:
    """Asks for files, not too often, again where that may help; threads share it."""

    def __init__(self, config: FetchConfig, stop: threading.Event) -> None:
        self._config = config
        self._stop = stop
        self._opener = urllib.request.build_opener(_NoRemoved)
        self._lock = threading.Lock()
        self._next = 0.0  # when the next request may go out, on the monotonic clock

    def get(self, url: str) -> bytes | None:
        """Download a file; None if the run was stopped meanwhile.

        Raises:
            _FinalError: If the server says that there is none, or that we shall have none.
            _NoAnswerError: If the last try failed, too.
        """
        base = self._config.base_url
        address = f"{base.rstrip('/')}/{urlsplit(url).path.rpartition('/')[2]}" if base else url
        tries_left, delay = self._config.retries, self._config.backoff
        while not self._wait_turn():
            try:
                return self._try(address)
            except _NoAnswerError as error:
                self._pause(error.wait)
                if not tries_left and not self._stop.is_set():
                    raise
            if self._stop.wait(min(delay, _LONGEST_WAIT)):
                break
            tries_left, delay = tries_left - 1, 2 * delay
        return None

    def _wait_turn(self) -> bool:
        """Wait until a request may go out; true if the run was stopped."""
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + 1 / self._config.rate
        return self._stop.wait(max(0.0, start - time.monotonic()))

    def _pause(self, seconds: float) -> None:
        """Let no request out for a while: the server asked one of us, and means all."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _try(self, address: str) -> bytes:
        request = urllib.request.Request(address, headers={"User-Agent": _USER_AGENT})
        try:
            with self._opener.open(request, timeout=self._config.timeout) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise _judge(error) from error
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are among the former
            reason = getattr(error, "reason", None) or error
            raise _NoAnswerError(str(reason) or type(error).__name__) from error

    def _read(self, answer: Any) -> bytes:
        if answer.headers.get_content_type() == "text/html":
            raise _FinalError("failed", "the server answered with a web page instead of an image")
        deadline = time.monotonic() + self._config.timeout
        length = answer.headers.get("Content-Length")
        content = bytearray()
        # One piece as it comes, not as many as fill a buffer: a server that sends drop by drop must be noticed.
        while piece := answer.read1(1 << 16):
            content += piece
            if time.monotonic() > deadline or self._stop.is_set():
                raise _NoAnswerError(f"not finished after {len(content)} bytes")
            if len(content) > _LARGEST:
                raise _FinalError("changed", f"more than {_LARGEST} bytes")
        if not content or (length and length != str(len(content))):
            raise _NoAnswerError(f"cut off after {len(content)} of {length or 'unknown'} bytes")
        return bytes(content)


class _NoRemoved(urllib.request.HTTPRedirectHandler):
    """Does not follow to the picture that stands for all images taken down; the redirect becomes an HTTPError."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).path.endswith(_REMOVED):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _judge(error: urllib.error.HTTPError) -> _NoAnswerError | _FinalError:
    if error.code in _GONE:
        return _FinalError("dead", f"HTTP {error.code}")
    if urlsplit(error.headers.get("Location") or "").path.endswith(_REMOVED):
        return _FinalError("dead", "redirected to removed.png")
    if error.code in _PASSING or error.code >= 500:
        wait = error.headers.get("Retry-After") or ""  # a date is allowed, too, and then not heeded
        return _NoAnswerError(f"HTTP {error.code}", float(wait) if wait.isdecimal() else 0.0)
    return _FinalError("failed", f"HTTP {error.code}")
