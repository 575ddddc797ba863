import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
from fakes import write_trocr
from fastapi.testclient import TestClient

from quillread.models.catalog import SHIPPED, describe, resolve
from quillread.models.trocr.export import export
from quillread.serve.access.actor import Actor
from quillread.serve.archive.home import Archive
from quillread.serve.archive.model_zip import packed
from quillread.serve.archive.models import check_models, free_name, model_folder, place_models
from quillread.serve.database.schema import Model, User
from quillread.serve.faults import NotFoundError

MODELS = "/api/v1/models"


def zip_of(files: dict[str, bytes], folder: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)
    return content.getvalue()


def builtin() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in resolve("builtin").iterdir()}


def upload(client: TestClient, content: bytes, name: str = "mine") -> tuple[int, dict]:
    answer = client.post(MODELS, data={"name": name}, files={"file": ("model.zip", content)})
    return answer.status_code, answer.json()


@pytest.fixture
def uploaded(client: TestClient) -> dict:
    status, made = upload(client, zip_of(builtin(), "run/model/"))
    assert status == 201, made
    return made


def test_a_model_that_was_uploaded_is_listed_after_those_that_ship(client: TestClient, uploaded: dict):
    items = client.get(MODELS).json()["items"]
    assert [item["name"] for item in items if item["builtin"]] == [*SHIPPED, "auto"]
    assert items[len(SHIPPED) + 1 :] == [uploaded]
    assert uploaded["family"] == "compact"


def test_the_files_of_a_model_are_as_they_were_uploaded(archive: Archive, uploaded: dict):
    with archive.database.read() as session:
        folder = model_folder(archive, session, "archive:mine")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == builtin()


def test_a_model_is_unpacked_again_when_its_folder_is_gone(archive: Archive, uploaded: dict):
    with archive.database.read() as session:
        folder = model_folder(archive, session, "archive:mine")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        options = place_models(archive, session, {"models": ["builtin", "archive:mine"], "variants": 2})
    assert options == {"models": ["builtin", str(folder)], "variants": 2}
    assert {path.name for path in folder.iterdir()} == set(builtin())
    assert list(folder.parent.iterdir()) == [folder]


def exported(tmp_path: Path) -> dict[str, bytes]:
    export(describe(str(write_trocr(tmp_path / "trocr"))), tmp_path / "fast", "int8")
    return {path.name: path.read_bytes() for path in (tmp_path / "fast").iterdir()}


def test_an_export_of_a_trocr_model_is_a_model(archive: Archive, client: TestClient, tmp_path: Path):
    files = exported(tmp_path)
    status, made = upload(client, zip_of(files))
    assert (status, made.get("family")) == (201, "trocr"), made
    with archive.database.read() as session:
        assert {path.name for path in model_folder(archive, session, "archive:mine").iterdir()} == set(files)


def test_an_export_that_cannot_be_run_is_refused(archive: Archive, client: TestClient, tmp_path: Path):
    status, answer = upload(client, zip_of(exported(tmp_path) | {"decoder.onnx": b"x" * 99}))
    assert (status, answer["detail"].partition(": ")[0]) == (422, "decoder.onnx"), answer
    assert "cannot be loaded as an ONNX model" in answer["detail"]
    assert str(archive.config.data) not in json.dumps(answer)


def test_equal_models_have_one_file(archive: Archive, client: TestClient, uploaded: dict):
    assert upload(client, zip_of(builtin(), "other/"), "again")[0] == 201
    with archive.database.read() as session:
        assert len({model.blob for model in session.query(Model)}) == 1


def test_a_name_that_is_taken_is_refused(client: TestClient, uploaded: dict):
    status, answer = upload(client, zip_of(builtin()))
    assert (status, answer["hint"]) == (409, "choose another name")


@pytest.mark.parametrize("name", ["", " ", "a/b", "../x", "a#1", "a\n", "x" * 81])
def test_names_that_options_could_not_hold_are_refused(client: TestClient, name: str):
    assert upload(client, zip_of({"quillread.json": b"{}"}), name)[0] == 422


@pytest.mark.parametrize("wish", ["medieval", "auto"])
def test_a_taught_model_is_not_called_as_one_that_ships(archive: Archive, wish: str):
    with archive.database.read() as session:
        assert free_name(session, wish) == f"{wish} 2"


def test_a_deleted_model_is_gone_and_its_name_free(archive: Archive, client: TestClient, uploaded: dict):
    assert client.delete(f"{MODELS}/{uploaded['id']}").status_code == 204
    assert client.delete(f"{MODELS}/{uploaded['id']}").status_code == 404
    assert all(item["builtin"] for item in client.get(MODELS).json()["items"])
    with archive.database.read() as session, pytest.raises(NotFoundError, match="no model 'mine'"):
        model_folder(archive, session, "archive:mine")
    assert list((archive.config.data / "models").iterdir()) == list(archive.storage.list()) == []
    assert upload(client, zip_of(builtin()))[0] == 201


def test_a_collection_is_read_with_models_that_there_are(client: TestClient, uploaded: dict):
    place = f"/api/v1/collections/{client.post('/api/v1/collections', json={'name': 'a'}).json()['id']}"
    lost = client.patch(place, json={"settings": {"options": {"models": ["archive:lost"]}}})
    assert (lost.status_code, lost.json()["detail"]) == (404, "options.models: there is no model 'lost' in the archive")
    assert client.patch(place, json={"settings": {"options": {"models": ["archive:mine"]}}}).status_code == 200
    refused = client.delete(f"{MODELS}/{uploaded['id']}")
    assert (refused.status_code, refused.json()["hint"]) == (409, "choose another model there first")
    client.patch(place, json={"settings": {}})
    assert client.delete(f"{MODELS}/{uploaded['id']}").status_code == 204


@pytest.mark.parametrize(
    "options",
    [
        {"models": ["/etc"]},
        {"models": ["some/model"]},
        {"lm": ["/etc/passwd"]},
        {"lm": ["en", "../x@0.5"]},
        {"segmenter": "/tmp/x.onnx"},
    ],
)
def test_options_name_no_files_of_the_server(client: TestClient, options: dict):
    place = f"/api/v1/collections/{client.post('/api/v1/collections', json={'name': 'a'}).json()['id']}"
    answer = client.patch(place, json={"settings": {"options": options}})
    assert answer.status_code == 400
    assert "is not available here" in answer.json()["detail"]


def test_a_model_that_was_taught_on_a_collection_is_for_those_who_may_read_it(archive: Archive, client: TestClient):
    mine, other = (client.post("/api/v1/collections", json={"name": name}).json()["id"] for name in "ab")
    upload(client, zip_of(builtin()))
    with archive.database.write() as session:
        session.query(Model).one().collection_id = mine
        session.add(User(id=7, name="u", password_hash="", role="none"))
    actors = {id: Actor("token", collection_id=id) for id in (mine, other)}
    with archive.database.read() as session:
        check_models(session, actors[mine], {"models": ["archive:mine"]})
        for actor in (actors[other], Actor("u", "none", 7)):
            with pytest.raises(NotFoundError, match="no model 'mine'"):
                check_models(session, actor, {"models": ["archive:mine"]})


def with_mode(name: str, mode: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    return content.getvalue()


def many_files() -> bytes:
    return zip_of({f"{i}.txt": b"" for i in range(1001)})


BAD = {
    "no zip": (b"not a zip", 400, "the file is not a zip"),
    "empty": (b"", 400, "the file is not a zip"),
    "cut": (zip_of({"quillread.json": b"{}" * 99})[:-30], 400, "the file is not a zip"),
    "nothing of a model": (zip_of({"letter.txt": b"x"}), 400, "holds no file of a model"),
    "a pickle": (zip_of({"config.json": b"{}", "pytorch_model.bin": b"x"}), 400, "may be a pickle"),
    "a pickle of a training": (zip_of({"config.json": b"{}", "training_args.bin": b"x"}), 400, "may be a pickle"),
    "a program": (zip_of({"config.json": b"{}", "modeling.py": b"x"}), 400, "is a program"),
    "a path out of it": (zip_of({"../../quillread.json": b"{}"}), 400, "leads out of it"),
    "an absolute path": (zip_of({"/etc/quillread.json": b"{}"}), 400, "leads out of it"),
    "a path of Windows": (zip_of({"..\\quillread.json": b"{}"}), 400, "leads out of it"),
    "a control character": (zip_of({"a\x1b/quillread.json": b"{}"}), 400, "leads out of it"),
    "a link": (with_mode("quillread.json", stat.S_IFLNK | 0o777), 400, "is a link or a device"),
    "a device": (with_mode("quillread.json", stat.S_IFCHR | 0o666), 400, "is a link or a device"),
    "two folders": (zip_of({"a/quillread.json": b"{}", "b/model.onnx": b"x"}), 400, "2 folders"),
    "many files": (many_files(), 413, "1,001 files"),
    "a bomb": (zip_of({"model.onnx": bytes(30_000_000)}), 413, "30,000,000 bytes, 20,000,000 are allowed"),
    "no JSON": (zip_of({"quillread.json": b"{", "model.onnx": b"x"}), 422, "quillread.json: cannot be read"),
    "deep JSON": (zip_of({"quillread.json": b"[" * 99999, "model.onnx": b"x"}), 422, "quillread.json"),
    "no weights": (zip_of({"quillread.json": json.dumps({"family": "compact", "name": "x"}).encode()}), 422, "lacks"),
    "code to load": (
        zip_of({"config.json": b'{"model_type": "vision-encoder-decoder", "auto_map": {"AutoModel": "x.Y"}}'}),
        422,
        "lacks its weights",
    ),
    "a damaged network": (zip_of(builtin() | {"model.onnx": b"x" * 99}), 422, "cannot be loaded as an ONNX model"),
}


@pytest.mark.parametrize(("content", "status", "detail"), BAD.values(), ids=BAD)
def test_what_is_not_a_model_is_refused_and_leaves_nothing(
    content: bytes, status: int, detail: str, archive: Archive, client: TestClient
):
    object.__setattr__(archive.config.limits, "upload_bytes", 20_000_000)
    found, answer = upload(client, content)
    assert (found, detail in answer["detail"]) == (status, True), answer
    assert str(archive.config.data) not in json.dumps(answer)
    assert list((archive.config.data / "models").iterdir()) == []
    assert all(item["builtin"] for item in client.get(MODELS).json()["items"])


def test_what_no_model_needs_is_skipped(archive: Archive, client: TestClient):
    status, _ = upload(client, zip_of(builtin() | {"curve.png": b"x", ".DS_Store": b"x", "samples.txt": b"x"}))
    assert status == 201
    with archive.database.read() as session:
        assert {path.name for path in model_folder(archive, session, "archive:mine").iterdir()} == set(builtin())


def test_a_long_list_of_files_is_not_read(client: TestClient):
    content = bytearray(zip_of({"quillread.json": b"{}"}))
    content[-10:-6] = (2_000_000).to_bytes(4, "little")
    assert upload(client, bytes(content))[0] == 413


def test_equal_folders_are_packed_alike(tmp_path: Path):
    zips = []
    for name, files in (("a", ["config.json", "README.md"]), ("b", ["README.md", "config.json"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("x", encoding="utf-8")
        with packed(tmp_path / name) as zipped:
            zips.append(zipped.read_bytes())
    assert zips[0] == zips[1]
