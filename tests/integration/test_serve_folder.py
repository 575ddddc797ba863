"""The script of the examples that uploads a folder: against the description of the API, and against a server."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "serve_folder.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serve_folder", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    """The OpenAPI document."""
    with Archive(ServeConfig(data=tmp_path / "data")) as archive:
        client = TestClient(make_app(archive), base_url="http://127.0.0.1:8765")
        document: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    return document


def test_the_script_asks_what_the_api_describes(script: ModuleType, described: dict[str, Any]):
    used = {
        ("post", script.COLLECTIONS): {"name"},
        ("post", script.UPLOADS): {"collection_id", "file"},
        ("get", script.JOB): {"job_id", "finished", "fault", "result"},
        ("get", script.DOCUMENT): {"document_id", "states", "name"},
        ("get", script.EXPORT): {"document_id", "format"},
    }
    for (method, path), names in used.items():
        operation = described["paths"][f"/api/v1{path}"][method]
        assert names <= set(_names(operation, described)), (method, path)


def _names(value: Any, described: dict[str, Any]) -> Iterator[str]:
    """Names of parameters and of members of bodies and answers."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield from _names(described["components"]["schemas"][value["$ref"].rpartition("/")[2]], described)
        yield from value.get("properties", ())
        if "in" in value and "name" in value:
            yield value["name"]
        for member in value.values():
            yield from _names(member, described)
    elif isinstance(value, list):
        for member in value:
            yield from _names(member, described)


@pytest.mark.slow
def test_a_folder_is_read_by_a_server_and_comes_back_as_page_xml(tmp_path: Path):
    (tmp_path / "letters").mkdir()
    shutil.copy(ROOT / "examples" / "letter.jpg", tmp_path / "letters")
    (tmp_path / "letters" / "broken.jpg").write_bytes(b"\xff\xd8\xffx")
    command = [sys.executable, "-m", "quillread.cli.main", "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as server:
        assert server.stderr is not None
        try:
            line = next(line for line in server.stderr if "is open at" in line)
            url = re.search(r"http://[\d.:]+", line)
            assert url is not None
            done = subprocess.run(
                [sys.executable, SCRIPT, tmp_path / "letters", tmp_path / "out", "--url", url[0]],
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        finally:
            server.terminate()
            server.stderr.read()
    assert done.returncode == 3, done.stderr
    assert "broken" in done.stderr
    (file,) = (tmp_path / "out").glob("letter*.xml")
    assert file.read_text(encoding="utf-8").count("<TextLine") > 5
