from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from fakes import write_trocr
from huggingface_hub import errors

from quillread.errors import ModelError
from quillread.models.catalog import fetch_model, is_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Calls = list[dict[str, Any]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Calls]:
    """Stands in for the hub: `snapshot_download` gives those files of a folder that it is asked for."""
    calls: Calls = []

    def publish(folder: Path) -> Calls:
        def snapshot_download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
            calls.append({"repository": repository, "revision": revision, "patterns": allow_patterns})
            cache = tmp_path / "cache" / COMMIT
            cache.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                    (cache / path.name).write_bytes(path.read_bytes())
            return str(cache)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return calls

    return publish


@pytest.mark.parametrize("variant", ["small", "base-handwritten"])
def test_all_that_a_model_needs_is_fetched(tmp_path: Path, hub: Callable[[Path], Calls], variant: str):
    source = write_trocr(tmp_path / "source", variant)
    hub(source)
    folder = fetch_model("org/name@v1")
    assert {path.name for path in folder.iterdir()} == {path.name for path in source.iterdir()}


def test_the_revision_is_passed_on(tmp_path: Path, hub: Callable[[Path], Calls], caplog: pytest.LogCaptureFixture):
    calls = hub(write_trocr(tmp_path / "source"))
    fetch_model("org/name@refs/pr/1")
    assert [(call["repository"], call["revision"]) for call in calls] == [("org/name", "refs/pr/1")]
    assert caplog.text == ""


def test_pickles_and_other_forms_stay_where_there_are_safetensors(tmp_path: Path, hub: Callable[[Path], Calls]):
    source = write_trocr(tmp_path / "source")
    for name in ("pytorch_model.bin", "training_args.bin", "tf_model.h5"):
        (source / name).write_bytes(b"")
    hub(source)
    assert not {"pytorch_model.bin", "training_args.bin", "tf_model.h5"} & {
        p.name for p in fetch_model("o/n").iterdir()
    }


def test_pickles_are_fetched_where_there_is_nothing_else(tmp_path: Path, hub: Callable[[Path], Calls]):
    calls = hub(write_trocr(tmp_path / "source", pickled=True))
    assert (fetch_model("org/name") / "pytorch_model.bin").is_file()
    assert [call["revision"] for call in calls] == [None, COMMIT]


def test_a_name_without_revision_is_warned_of(
    tmp_path: Path, hub: Callable[[Path], Calls], caplog: pytest.LogCaptureFixture
):
    hub(write_trocr(tmp_path / "source"))
    fetch_model("org/name")
    assert f"took the newest, {COMMIT}; write org/name@{COMMIT}" in caplog.text


def response_error(kind: type[Exception]) -> Exception:
    return kind("no", response=SimpleNamespace(headers={}, request=None))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (response_error(errors.RepositoryNotFoundError), "there is no such model"),
        (response_error(errors.GatedRepoError), "its owner must grant access"),
        (response_error(errors.RevisionNotFoundError), "the model has no such revision"),
        (errors.LocalEntryNotFoundError("offline"), "cannot be reached, and its cache does not hold the whole model"),
        (OSError("disk full"), "cannot be downloaded from the Hugging Face hub: disk full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_went_wrong_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str):
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=f"^org/name@v1: .*{message}"):
        fetch_model("org/name@v1")


def test_a_model_in_the_cache_is_read_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = tmp_path / "models--org--name"
    write_trocr(cache / "snapshots" / COMMIT)
    (cache / "refs").mkdir()
    (cache / "refs" / "v1").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert fetch_model("org/name@v1").name == COMMIT


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("microsoft/trocr-base-handwritten", True),
        ("org/name@main", True),
        ("org/name@refs/pr/1", True),
        ("name", False),
        ("./name", False),
        ("/etc/name", False),
        ("a/b/c", False),
        ("org/name@", False),
    ],
)
def test_names_of_the_hub_are_told_from_paths(name: str, expected: bool):
    assert is_hub_name(name) is expected


def test_a_path_into_a_folder_that_is_there_is_no_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("runs/lost")


def test_a_name_of_another_form_is_refused():
    with pytest.raises(ModelError, match="is not a name of the form org/name@revision"):
        fetch_model("name")
