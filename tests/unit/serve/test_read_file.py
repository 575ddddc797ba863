import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serve_readers import PATIENCE, frail, picture, wait_for

from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig, ServeLimits
from quillread.serve.jobs.crew import Crew

DATED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
LIMITS = ServeLimits(read_seconds=PATIENCE, concurrent_reads=1, upload_bytes=1_000_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def reading(folder: Path) -> Iterator[TestClient]:
    """A client of a server whose workers read the same on all pages: no database has a part in it."""
    with Archive(ServeConfig(folder, workers=1, limits=LIMITS)) as archive:
        crew = Crew(archive, readers=frail, runs={})
        with TestClient(make_app(archive, crew), base_url="http://127.0.0.1:8765") as client:
            yield client


def post(client: TestClient, name: str = "a.png", content: bytes | None = None, format: str = "txt", **fields: str):
    content = picture() if content is None else content
    return client.post("/api/v1/read", params={"format": format}, files={"file": (name, content)}, data=fields)


def tiff(pages: int) -> bytes:
    file = BytesIO()
    images = [Image.new("L", (40, 50), 255) for _ in range(pages)]
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    return file.getvalue()


def test_a_file_is_read_in_any_format(reading: TestClient):
    assert post(reading).text == "Dear Sir,\nI am, yours\n"
    document = post(reading, format="json").json()
    assert document["source"] == "a.png"
    for format, begin in (
        ("page", b"<?xml"),
        ("alto", b"<?xml"),
        ("hocr", b"<!DOC"),
        ("pdf", b"%PDF"),
        ("docx", b"PK"),
    ):
        answer = post(reading, format=format)
        assert answer.status_code == 200, answer.text
        assert answer.content[:5].startswith(begin[: len(answer.content[:5])]) or begin in answer.content[:60]
        assert "a" in answer.headers["content-disposition"]
    assert post(reading, format="md").headers["content-type"].startswith("text/markdown")
    assert post(reading, format="csv").headers["content-type"].startswith("text/csv")


def test_a_server_whose_folder_is_named_from_here_reads_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with Archive(ServeConfig(Path("data"), workers=1, limits=LIMITS)) as archive:
        app = make_app(archive, Crew(archive, readers=frail, runs={}))
        with TestClient(app, base_url="http://127.0.0.1:8765") as client:
            assert post(client).text == "Dear Sir,\nI am, yours\n"


def test_several_pages_of_a_format_of_one_page_come_as_a_zip(reading: TestClient):
    answer = post(reading, "letter.tif", tiff(2), "page")
    assert answer.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(BytesIO(answer.content)).namelist()
    assert names == ["letter-0001.page.xml", "letter-0002.page.xml"]


def test_pages_are_chosen_by_options(reading: TestClient):
    answer = post(reading, "letter.tif", tiff(3), "json", options=json.dumps({"pages": "2"}))
    assert [page["number"] for page in answer.json()["pages"]] == [2]


def test_lines_of_a_page_file_are_read(reading: TestClient):
    xml = post(reading, "a.png", format="page").content
    files = [("file", ("a.png", picture())), ("segmentation", ("a.xml", xml))]
    answer = reading.post("/api/v1/read", params={"format": "json"}, files=files)
    assert answer.status_code == 200, answer.text
    assert answer.json()["provenance"]["model"] == "fake"


@pytest.mark.parametrize(
    ("name", "content"), [("a.png", b""), ("a.png", b"no image"), ("a.png", picture()[:50]), ("a.pdf", b"%PDF-1.4\n")]
)
@pytest.mark.parametrize("format", ["txt", "json", "pdf"])
def test_a_file_that_cannot_be_read_is_refused_with_its_fault(
    reading: TestClient, name: str, content: bytes, format: str
):
    answer = post(reading, name, content, format)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(name)


@pytest.mark.parametrize(
    "options",
    [
        "{",
        "[]",
        "5",
        "[" * 100_000,
        '{"modles": ["x"]}',
        '{"models": ["/etc"]}',
        '{"models": ["../x"]}',
        '{"lm": ["/etc/passwd"]}',
        '{"segmentation": "/etc"}',
        '{"lexicons": ["/etc/passwd"]}',
        '{"read": {"web": {"allow": "any"}}}',
        '{"read": {"max_seconds": 1e9}}',
        '{"pages": "0"}',
        '{"pages": "7"}',
        '{"variants": NaN}',
    ],
)
def test_options_that_make_no_sense_are_refused(reading: TestClient, options: str):
    assert 400 <= post(reading, options=options).status_code < 500


@pytest.mark.parametrize(
    ("given", "shown"),
    [("../../x.png", "x.png"), ("C:\\letters\\x.png", "x.png"), ("..", "file"), ("ü " * 300, None)],
)
def test_names_have_no_folders(reading: TestClient, folder: Path, given: str, shown: str | None):
    answer = post(reading, given, format="json")
    assert answer.status_code in (200, 422) if shown is None else answer.json()["source"] == shown
    assert not list((folder / "uploads").glob(".*"))


@pytest.mark.parametrize("name", ["../a.xml", ".a.xml", "x" * 300, ""])
def test_names_of_files_of_options_stay_in_their_folder(reading: TestClient, folder: Path, name: str):
    files = [("file", ("a.png", picture())), ("lexicons", (name, b"Sir\n"))]
    assert reading.post("/api/v1/read", files=files).status_code in (200, 400, 422)
    assert not list((folder / "uploads").glob(".*"))


def test_an_unknown_format_is_refused(reading: TestClient):
    assert post(reading, format="exe").status_code == 422


def test_a_request_without_a_file_is_refused(reading: TestClient):
    assert reading.post("/api/v1/read", data={"options": "{}"}).status_code == 422
    assert reading.post("/api/v1/read", json={}).status_code == 422


def test_a_file_that_is_too_large_is_refused(reading: TestClient):
    assert post(reading, content=bytes(LIMITS.upload_bytes + 1)).status_code == 413


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_read(
    reading: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    reader = reading.app.state.crew.single_files
    with monkeypatch.context() as short:
        short.setattr(reader, "_limits", replace(LIMITS, read_seconds=2.0))
        answer = post(reading, "slow.png")
    assert answer.status_code == 504
    assert "2 seconds" in answer.json()["detail"]
    assert not list((folder / "uploads").glob(".*"))
    assert post(reading).status_code == 200


def test_a_file_that_crashes_its_process_does_not_harm_the_next(reading: TestClient):
    assert post(reading, "crash.png").status_code == 500
    assert post(reading).status_code == 200


def test_more_files_at_once_than_allowed_are_refused_with_a_time_to_come_back(reading: TestClient, folder: Path):
    reader = reading.app.state.crew.single_files
    first = threading.Thread(target=post, args=(reading, "slow.png"))
    first.start()
    wait_for(lambda: list((folder / "uploads").glob(".*")))
    answer = post(reading)
    while first.is_alive():
        for worker in reader._workers:
            worker.kill()
        first.join(0.05)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server with the built-in model."""
    with (
        Archive(ServeConfig(tmp_path_factory.mktemp("real"), workers=1)) as archive,
        TestClient(make_app(archive, Crew(archive, runs={})), base_url="http://127.0.0.1:8765") as client,
    ):
        yield client


def undated(content: bytes) -> object:
    """What does not depend on the time; of a zip, by its files."""
    if content.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(content)) as packed:
            return {name: undated(packed.read(name)) for name in packed.namelist()}
    return re.sub(rb"\(D:\d+[^)]*\)|/ID *\[[^\]]*\]", b"", DATED.sub(b"", content))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["txt", "json", "md", "page", "alto", "hocr", "csv", "docx", "pdf"])
def test_the_answer_is_byte_for_byte_what_the_command_writes(real: TestClient, tmp_path: Path, format: str):
    image = Image.open("examples/letter.jpg").convert("RGB")
    image.crop((0, 0, image.width, image.height // 4)).save(tmp_path / "letter.png")
    options = {"lm": ["en"], "correct": True}
    answer = post(real, "letter.png", (tmp_path / "letter.png").read_bytes(), format, options=json.dumps(options))
    assert answer.status_code == 200, answer.text
    command = [sys.executable, "-m", "quillread.cli.main", "read", "letter.png", "--format", format]
    command += ["--lm", "en", "--correct"]
    streams = format in ("txt", "json", "md")
    command += [] if streams else ["--output", "out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=10 * PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    written = (
        done.stdout
        if streams
        else next(
            p for p in (tmp_path / "out").iterdir() if p.suffix != ".jsonl" and not p.name.startswith(".")
        ).read_bytes()
    )
    assert undated(answer.content) == undated(written)
    assert not streams or answer.content == written
