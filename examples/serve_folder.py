"""Upload a folder to `quill serve`, wait until its pages are read, and download each document as PAGE XML.

    quill serve &
    python examples/serve_folder.py letters/ out/

Needs nothing but Python. Images that have a PAGE or ALTO file beside them, of the same name, keep its lines. The API is
described at /api/v1/openapi.json.
"""

# ruff: noqa: T201
import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

COLLECTIONS = "/collections"
UPLOADS = "/collections/{collection_id}/uploads"
JOB = "/jobs/{job_id}"
DOCUMENT = "/documents/{document_id}"
EXPORT = "/documents/{document_id}/export"
FILES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic", ".pdf", ".zip", ".xml")


class Server:
    """A server, and who asks.

    Args:
        url: Where it is open, such as http://127.0.0.1:8765.
        token: Of an account; None on the machine of the server, where there are no accounts.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._root = url.rstrip("/") + "/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None, **ids: int) -> Any:
        """Make a request; the answer is JSON."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        return json.loads(self._send(method, path, content, headers, query, ids)[0])

    def upload(self, collection: int, files: Sequence[Path]) -> list[dict[str, Any]]:
        """Upload files that belong together; the jobs that import them."""
        boundary = uuid.uuid4().hex
        heads = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(file.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
            for file in files
        ]
        end = f"--{boundary}--\r\n".encode()
        size = sum(len(head) + file.stat().st_size + 2 for head, file in zip(heads, files, strict=True)) + len(end)

        def content() -> Iterator[bytes]:  # piece by piece, as files may be larger than the memory
            for head, file in zip(heads, files, strict=True):
                yield head
                with file.open("rb") as opened:
                    while part := opened.read(1 << 20):
                        yield part
                yield b"\r\n"
            yield end

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(size)}
        while True:
            try:
                answer = self._send("POST", UPLOADS, content(), headers, None, {"collection_id": collection})
                return list(json.loads(answer[0])["jobs"])
            except HTTPError as error:
                if error.code != 429:  # 429: too many jobs wait
                    raise
                time.sleep(float(error.headers.get("Retry-After", 30)))

    def download(self, document: int, format: str) -> tuple[bytes, str]:
        """Export a document; its content and the kind of file."""
        return self._send("GET", EXPORT, None, {}, {"format": format}, {"document_id": document})

    def _send(
        self, method: str, path: str, content: Any, headers: dict[str, str], query: Any, ids: dict[str, int]
    ) -> tuple[bytes, str]:
        url = self._root + path.format(**ids) + (f"?{urlencode(query)}" if query else "")
        request = Request(url, content, {**self._headers, **headers}, method=method)
        with urlopen(request) as answer:
            return answer.read(), answer.headers.get_content_type()


def main() -> int:
    """Upload, wait, download; 3 if something could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8765")
    parser.add_argument("--token", help="of an account; POST /api/v1/tokens makes one")
    parser.add_argument("--collection", help="name of the collection to make (default: that of the folder)")
    args = parser.parse_args()
    server = Server(args.url, args.token)
    if not args.folder.is_dir():
        parser.error(f"{args.folder}: not a folder")
    try:
        return run(server, args.folder, args.output, args.collection or args.folder.resolve().name)
    except HTTPError as error:
        problem = error.read().decode(errors="replace")
        print(f"{error.url}: {error.code}: {problem}", file=sys.stderr)
    except OSError as error:  # the server does not answer, or a file cannot be read or written
        print(f"{args.url}: {error}", file=sys.stderr)
    return 1


def run(server: Server, folder: Path, output: Path, name: str) -> int:
    """Put a folder into a new collection, and save what was read; 3 if something could not be read."""
    collection = server.ask("POST", COLLECTIONS, {"name": name})["id"]
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in FILES:
            groups.setdefault(path.stem, []).append(path)
    jobs = [job["id"] for group in groups.values() for job in server.upload(collection, group)]
    output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for id in jobs:
        job = wait(server, id)
        result = job["result"] or {}
        for fault in (*([job["fault"]] if job["fault"] else []), *result.get("faults", ())):
            print(fault["message"], file=sys.stderr)
            failed += 1
        for document in result.get("document_ids", ()):
            failed += save(server, document, output)
    return 3 if failed else 0


def wait(server: Server, job_id: int) -> dict[str, Any]:
    """Wait for a job to end."""
    while True:
        job: dict[str, Any] = server.ask("GET", JOB, job_id=job_id)
        if job["finished"]:
            return job
        time.sleep(1)


def save(server: Server, document_id: int, output: Path) -> int:
    """Wait until the pages of a document are read, and save it; how many pages could not be read."""
    while True:
        document = server.ask("GET", DOCUMENT, document_id=document_id)
        states = document["states"]
        if not states["waiting"] + states["reading"]:
            break
        time.sleep(1)
    content, kind = server.download(document_id, "page")
    name = "".join(c if c.isalnum() or c in " -_" else "_" for c in document["name"])
    target = output / f"{name}-{document_id}{'.zip' if kind == 'application/zip' else '.xml'}"
    target.write_bytes(content)
    print(target)
    return int(states["failed"])


def _quoted(name: str) -> str:
    """A file name within a header (WHATWG, multipart/form-data)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
