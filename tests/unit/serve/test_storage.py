"""Files in a bucket; those in a folder are tested with all that keeps them."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from quillread.errors import OutputError
from quillread.serve import storage
from quillread.serve.storage import Storage


@pytest.fixture
def bucket(tmp_path: Path) -> Storage:
    return Storage(f"memory://{uuid.uuid4().hex}", tmp_path / "fetched")


def test_a_file_of_a_bucket_is_fetched_once_and_goes_when_it_is_deleted(bucket: Storage, tmp_path: Path):
    stored = bucket.add(b"a page")
    path = bucket.path(stored.sha256)
    assert path.parent == tmp_path / "fetched"
    assert path.read_bytes() == b"a page" == bucket.read(stored.sha256)
    assert bucket.path(stored.sha256) == path
    bucket.delete(stored.sha256)
    assert not path.exists()
    assert not bucket.has(stored.sha256)


def test_what_was_fetched_and_is_needed_no_more_makes_room(bucket: Storage):
    old, used = (bucket.path(bucket.add(content).sha256) for content in (b"old", b"used"))
    for path in (old, used):
        os.utime(path, (0, time.time() - 90_000))
    bucket.path(used.name)
    bucket.drop_fetched()
    assert (old.exists(), used.exists()) == (False, True)
    assert bucket.path(old.name).read_bytes() == b"old"


def test_a_file_that_is_cut_off_on_its_way_into_a_bucket_is_not_there(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "scan.tif"
    source.write_bytes(b"a page")
    calls: list[Path] = []

    def chunks(content: Path) -> Iterator[bytes]:
        calls.append(content)
        yield b"a p"
        if len(calls) > 1:  # after its digest was made
            raise OSError("the disk has gone")
        yield b"age"

    monkeypatch.setattr(storage, "_chunks", chunks)
    with pytest.raises(OutputError):
        bucket.add(source)
    monkeypatch.undo()
    stored = bucket.add(source)
    assert bucket.read(stored.sha256) == b"a page"


def test_a_file_that_another_has_kept_meanwhile_stays_when_ones_own_way_into_the_bucket_fails(
    bucket: Storage, monkeypatch: pytest.MonkeyPatch
):
    stored = bucket.add(b"a page")
    opened = bucket._fs.open

    def open_file(place: str, mode: str) -> BinaryIO:
        if mode == "wb":
            raise OSError("the bucket is away")
        return opened(place, mode)

    monkeypatch.setattr(bucket, "has", lambda sha256: False)  # it was not there when it was looked for
    monkeypatch.setattr(bucket._fs, "open", open_file)
    with pytest.raises(OutputError):
        bucket.add(b"a page")
    monkeypatch.undo()
    assert bucket.read(stored.sha256) == b"a page"
