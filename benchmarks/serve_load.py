"""A real `quill serve` on loopback under load: start, saving, opening, listing, search, memory, jobs.

    python benchmarks/serve_load.py --root DIR --json benchmarks/results/serve_load.json

DIR holds images of pages; the examples if not given. Clients run on the same machine, so what they take is missing to
the server. Times are those of whole requests as a client sees them, connection kept open; p95 of all requests.
"""

import argparse
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from record import describe_machine, save
from serve_fill import fill, read_words

from quillread.images.read import is_readable_name
from quillread.serve.config import ServeConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
_IDLE_SECONDS = 2.0
"""After which a client opens its connection anew: the server closes those that are idle for five seconds."""


class Client:
    """A client of the API with a connection of its own, which stays open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
        self._last = 0.0

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Make a request; the answer is JSON, and must not be an error."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) or body is None else {"Content-Type": "application/json"}
        if time.monotonic() - self._last > _IDLE_SECONDS:
            self._connection.close()  # it opens itself again
        self._last = time.monotonic()
        self._connection.request(method, f"/api/v1{path}", content, {**kind, **(headers or {})})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}: {data[:500]!r}")
        return json.loads(data) if data and answer.headers.get_content_type() == "application/json" else data

    def upload(self, collection: int, files: Sequence[Path], *, read: bool) -> list[int]:
        """Upload files in one request; ids of the jobs."""
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="read"\r\n\r\n{str(read).lower()}\r\n'.encode()]
        for file in files:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
            parts += [head.encode(), file.read_bytes(), b"\r\n"]
        parts.append(f"--{boundary}--\r\n".encode())
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = self.ask("POST", f"/collections/{collection}/uploads", b"".join(parts), headers)
        return [job["id"] for job in answer["jobs"]]

    def wait(self, job: int) -> dict[str, Any]:
        """Wait for a job to end."""
        while True:
            state: dict[str, Any] = self.ask("GET", f"/jobs/{job}")
            if state["finished"]:
                return state
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=EXAMPLES, metavar="DIR")
    parser.add_argument("--database", metavar="URL", help="PostgreSQL database, empty; SQLite if not given")
    parser.add_argument("--words", type=Path, metavar="FILE", help="text to draw words of, such as fr.txt")
    parser.add_argument("--pages", type=int, default=100_000, help="of the large archive (%(default)s)")
    parser.add_argument("--lines", type=int, default=10, help="of each of them (%(default)s)")
    parser.add_argument("--seconds", type=int, default=30, help="of editing (%(default)s)")
    parser.add_argument("--editors", type=int, default=20)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--read-pages", type=int, default=40, help="to read by jobs and by the command (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.images = sorted(path for path in args.root.rglob("*") if path.is_file() and is_readable_name(path))
    machine, results = describe_machine(), {"database": "postgresql" if args.database else "sqlite"}
    with tempfile.TemporaryDirectory(prefix="quill-load-") as place:
        for name in args.only:
            results |= MEASURES[name](args, Path(place))
            print(json.dumps(results, indent=1), flush=True)
            if args.json:
                save(args.json, "serve_load", machine, results)


def measure_empty(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Starts with an empty archive; the first makes it."""
    times = []
    for _ in range(3):
        with serving(args, place / "empty") as (_, _, seconds):
            times.append(seconds)
    return {"start_new_seconds": times[0], "start_empty_seconds": min(times[1:])}


def measure_large(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Starts, lists, opens pages and searches with an archive of many pages."""
    data, words = place / "large", read_words(args.words)
    rest = max(args.pages - 10_000, 0)
    begun = time.perf_counter()
    sizes = [min(args.pages, 10_000), *[10_000] * (rest // 10_000), *([rest % 10_000] if rest % 10_000 else [])]
    ids = fill(config(args, data), sizes, args.lines, words)
    filled = time.perf_counter() - begun
    rng = np.random.default_rng(3)
    with serving(args, data) as (url, pid, seconds):
        client = Client(url)
        first, pages, whole = [], [], []
        for _ in range(5):
            start, after = time.perf_counter(), ""
            pages = []
            while after is not None:
                begun = time.perf_counter()
                part = client.ask("GET", f"/collections/{ids[0]}/pages?limit=1000{after}")
                first += [time.perf_counter() - begun] if not after else []
                pages += [page["id"] for page in part["items"]]
                after = f"&after={part['next']}" if part["next"] else None
            whole.append(time.perf_counter() - start)
        queries = [words[int(rank)] for rank in rng.integers(5, min(len(words), 3000), 200)]
        found = timed(lambda word: client.ask("GET", f"/search?q={quote(word)}"), queries)
        small = timed(lambda word: client.ask("GET", f"/search?q={quote(word)}&collection_id={ids[-1]}"), queries[:100])
        return {
            "large_pages": sum(sizes),
            "large_lines": sum(sizes) * args.lines,
            "fill_seconds": filled,
            "start_large_seconds": seconds,
            "list_first_1000_pages_seconds": min(first),
            f"list_{len(pages)}_pages_seconds": min(whole),
            "search_p95_seconds": p95(found),
            "search_in_collection_p95_seconds": p95(small),
            "large_memory_mb": memory_mb(pid),
        }


def measure_editing(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Editors save lines, each on a page of 40, and others open pages, while the server reads pages."""
    data = place / "editing"
    (collection,) = fill(config(args, data), [max(args.editors, 20)], 40, read_words(args.words))
    with serving(args, data) as (url, _, _):
        client = Client(url)
        pages = [page["id"] for page in client.ask("GET", f"/collections/{collection}/pages?limit=1000")["items"]]
        reading = client.ask("POST", "/collections", {"name": "to read"})["id"]
        upload_copies(client, reading, args.images, max(20, 3 * args.seconds), read=False)
        job = client.ask("POST", f"/collections/{reading}/read", {})["id"]
        end = time.monotonic() + args.seconds
        saves: list[float] = []
        opens: list[float] = []
        threads = [threading.Thread(target=edit, args=(url, page, end, saves)) for page in pages[: args.editors]]
        threads.append(threading.Thread(target=look, args=(url, pages, end, opens)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = client.ask("GET", f"/jobs/{job}")
        client.ask("POST", f"/jobs/{job}/cancel")
        return {
            "editors": args.editors,
            "saves": len(saves),
            "saves_per_second": len(saves) / args.seconds,
            "save_p50_seconds": float(np.median(saves)),
            "save_p95_seconds": p95(saves),
            "save_max_seconds": max(saves),
            "open_page_p95_seconds": p95(opens),
            "pages_read_meanwhile": state["done"],
        }


def edit(url: str, page: int, end: float, saves: list[float]) -> None:
    """Correct a line every half second, one after the other."""
    client = Client(url)
    lines = client.ask("GET", f"/pages/{page}/lines")["lines"]
    number, due = 0, time.monotonic() + (page % 10) / 20
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        line = lines[number % len(lines)]
        begun = time.perf_counter()
        body = {"text": f"{line['text']} {number}"[-200:], "checked": True}
        answer = client.ask("PUT", f"/lines/{line['id']}/text", body, {"If-Match": f'"{line["revision"]}"'})
        saves.append(time.perf_counter() - begun)
        line["revision"] = answer["revision"]
        number, due = number + 1, due + 0.5


def look(url: str, pages: Sequence[int], end: float, opens: list[float]) -> None:
    """Open a page four times a second, with the calls that an editor makes for it."""
    client = Client(url)
    number = 0
    while time.monotonic() < end:
        page = pages[number % len(pages)]
        begun = time.perf_counter()
        client.ask("GET", f"/pages/{page}")
        client.ask("GET", f"/pages/{page}/lines")
        opens.append(time.perf_counter() - begun)
        number += 1
        time.sleep(0.25)


def measure_uploads(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """The memory of the server after many uploads, which are not read."""
    with serving(args, place / "uploads") as (url, pid, _):
        client = Client(url)
        collection = client.ask("POST", "/collections", {"name": "uploads"})["id"]
        before, begun = memory_mb(pid), time.perf_counter()
        half = 0.0
        for done in range(0, args.uploads, 10):
            upload_copies(client, collection, args.images, 10, read=False, apart=True)
            half = memory_mb(pid) if done == args.uploads // 2 else half
        seconds = time.perf_counter() - begun
        return {
            "uploads": args.uploads,
            "uploads_per_second": args.uploads / seconds,
            "memory_before_mb": before,
            "memory_half_mb": half,
            "memory_after_uploads_mb": memory_mb(pid),
        }


def measure_jobs(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Pages per second of jobs against the command with two jobs, in turn, both with their start."""
    rates: dict[str, list[float]] = {"server": [], "command": []}
    folder = place / "pages"
    folder.mkdir()
    for number in range(args.read_pages):
        image = args.images[number % len(args.images)]
        shutil.copy(image, folder / f"{number:04}-{image.name}")
    with serving(args, place / "jobs", "--workers", "2") as (url, _, _):
        client = Client(url)
        collection = client.ask("POST", "/collections", {"name": "pages"})["id"]
        for job in client.upload(collection, sorted(folder.iterdir()), read=False):
            client.wait(job)
        for turn in range(3):
            begun = time.perf_counter()
            job = client.ask("POST", f"/collections/{collection}/read", {"layout": "find"})["id"]
            done = client.wait(job)
            if done["failed"]:
                raise RuntimeError(f"job {job}: {done['fault']}")
            rates["server"].append(args.read_pages / (time.perf_counter() - begun))
            begun = time.perf_counter()
            command = [*quill(), "read", str(folder), "--jobs", "2", "--format", "json"]
            subprocess.run([*command, "--output", str(place / f"out-{turn}")], check=True, capture_output=True)
            rates["command"].append(args.read_pages / (time.perf_counter() - begun))
    return {
        "read_pages": args.read_pages,
        "pages_per_second": rates,
        "jobs_against_command": float(np.median([a / b for a, b in zip(*rates.values(), strict=True)])),
    }


MEASURES = {
    "empty": measure_empty,
    "large": measure_large,
    "editing": measure_editing,
    "uploads": measure_uploads,
    "jobs": measure_jobs,
}


@contextmanager
def serving(args: argparse.Namespace, data: Path, *flags: str) -> Iterator[tuple[str, int, float]]:
    """Run a server: its address, the id of its process, and the seconds until it answers."""
    command = [*quill(), "serve", "--data", str(data), "--port", "0", *flags]
    command += ["--database", args.database] if args.database else []
    begun = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stderr is not None
        try:
            url = None
            for line in process.stderr:
                if found := re.search(r"is open at (http://[\d.:]+)", line):
                    url = found[1]
                    break
            if url is None:
                raise RuntimeError("the server did not start")
            Client(url).ask("GET", "/me")
            seconds = time.perf_counter() - begun
            drain = threading.Thread(target=process.stderr.read, daemon=True)  # else it would wait for its log
            drain.start()
            yield url, process.pid, seconds
        finally:
            process.terminate()
            process.wait()


def config(args: argparse.Namespace, data: Path) -> ServeConfig:
    return ServeConfig(data=data, database=args.database)


def quill() -> list[str]:
    return [sys.executable, "-m", "quillread.cli.main"]


def upload_copies(
    client: Client, collection: int, images: Sequence[Path], count: int, *, read: bool, apart: bool = False
) -> None:
    """Upload copies of images, each with other bytes, and wait until they are imported."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number in range(count):
            image = images[number % len(images)]
            files.append(Path(folder) / f"{number:04}-{image.name}")
            files[-1].write_bytes(image.read_bytes() + uuid.uuid4().bytes)
        groups = [[file] for file in files] if apart else [files[at : at + 20] for at in range(0, count, 20)]
        jobs = [job for group in groups for job in client.upload(collection, group, read=read)]
        for job in jobs:
            client.wait(job)


def timed(call: Any, values: Sequence[Any]) -> list[float]:
    times = []
    for value in values:
        begun = time.perf_counter()
        call(value)
        times.append(time.perf_counter() - begun)
    return times


def p95(times: Sequence[float]) -> float:
    return float(np.percentile(times, 95))


def memory_mb(pid: int) -> float:
    """Resident memory of a process without its children, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else float("nan")


if __name__ == "__main__":
    main()
