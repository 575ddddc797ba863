"""Stores that fail, throttle and refuse, and a bucket as the target of a batch."""

import os
import random
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from batches import WORDS, read_bars, write_bars

from quillread.batch.cluster import store as stores
from quillread.batch.cluster.store import Store, patiently
from quillread.errors import DataError, InputError, OutputError

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


def require_bucket_packages() -> None:
    if not os.environ.get("QUILLREAD_REQUIRES_RAY"):
        for module in ("s3fs", "moto.server", "flask"):
            pytest.importorskip(module, reason="needs pip install 'quillread[ray]' and moto[server]")


class Away:
    """Fails some times before it answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error = times, error

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise self.error
        return "here"


def test_a_store_that_is_away_for_a_minute_is_waited_for():
    waits: list[float] = []
    assert patiently(Away(6, ConnectionError("reset")), waits.append) == "here"
    assert sum(waits) >= 60
    assert waits == sorted(waits)


def test_a_store_that_stays_away_is_an_error_in_the_end():
    with pytest.raises(ConnectionError):
        patiently(Away(100, ConnectionError("reset")), lambda _: None)


@pytest.mark.parametrize("error", [FileNotFoundError("x"), PermissionError("x"), InputError("x")])
def test_an_answer_that_will_not_change_is_not_asked_for_again(error: Exception):
    waits: list[float] = []
    with pytest.raises(type(error)):
        patiently(Away(1, error), waits.append)
    assert waits == []


def test_a_file_is_written_and_read_and_deleted(tmp_path: Path):
    store = Store(str(tmp_path / "out"))
    store.write("a/b.json", b"x")
    assert store.read("a/b.json") == b"x"
    assert list(store.names("a")) == ["a/b.json"]
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert (store.read("a/b.json"), list(store.names("a")), list(store.names("c"))) == (None, [], [])


def test_what_is_written_lasts_through_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced, sync = list[str](), os.fsync

    def note(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store = Store(str(tmp_path))
    store.write("a/b", b"x")
    assert synced == ["file", "folder"]
    assert store.create("a/c", b"x")
    assert synced == ["file", "folder"] * 2


def test_a_file_that_could_not_be_made_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fill(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fill)
        for write in (Store.create, Store.write):
            with pytest.raises(OutputError, match="No space left on device"):
                write(Store(str(tmp_path)), "a/b", b"x")
    assert list((tmp_path / "a").iterdir()) == []
    assert Store(str(tmp_path)).create("a/b", b"x")


def test_what_is_half_written_is_not_listed(tmp_path: Path):
    store = Store(str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".b.json.part").write_bytes(b"x")
    assert list(store.names("a")) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file/a"):
        Store(str(tmp_path / "file")).write("a", b"x")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A bucket on a server on this machine."""
    require_bucket_packages()
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    address = f"http://127.0.0.1:{port}"
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": address, "AWS_CONFIG_FILE": str(tmp_path / "none")}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=address)
    httpx.post(f"{address}/moto-api/reset").raise_for_status()  # it remembers what was before
    client.create_bucket(Bucket="pages")
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    yield "s3://pages"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def upload(folder: Path, bucket: str) -> None:
    store = Store(bucket)
    for path in folder.iterdir():
        store.put(path, f"scans/{path.name}")


def texts_of(bucket: str) -> dict[str, str]:
    import pyarrow.dataset
    import s3fs

    files = s3fs.S3FileSystem()
    found = pyarrow.dataset.dataset(f"{bucket}/out/pages".removeprefix("s3://"), filesystem=files).to_table()
    rows = found.to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["source"].rsplit("/", 1)[-1]: row["text"] for row in rows}


def test_pages_of_a_bucket_are_read_into_a_bucket(bucket: str, here: Path):
    list(write_bars(here / "scans", 5))
    upload(here / "scans", bucket)
    progress = read_bars(f"{bucket}/scans", target=f"{bucket}/out", formats=("txt",))
    assert (progress.pages, progress.failed) == (5, 0)
    assert texts_of(bucket) == {f"page-{i:03}.png": WORDS[i] for i in range(5)}
    assert Store(bucket).read("out/files/page-001.txt") == f"{WORDS[1]}\n".encode()


def test_many_files_of_a_bucket_are_read_and_deleted(bucket: str):
    store = Store(bucket)
    names = [f"a/{number:03}" for number in range(30)]
    for name in names[1:]:
        store.write(name, name.encode())
    assert list(store.read_all(names)) == [None, *(name.encode() for name in names[1:])]
    store.delete_all(names)
    assert list(store.names("a")) == []


def test_a_file_of_a_bucket_is_made_once(bucket: str, tmp_path: Path):
    for store in (Store(bucket), Store(str(tmp_path))):
        assert [store.create("a/b", b"x"), store.create("a/b", b"y"), store.read("a/b")] == [True, False, b"x"]


def test_a_run_on_a_bucket_goes_on_where_it_ended(bucket: str, here: Path):
    def stop(count: int) -> None:
        if count > 2:
            raise KeyboardInterrupt

    list(write_bars(here / "scans", 6))
    upload(here / "scans", bucket)
    with pytest.raises(KeyboardInterrupt):
        read_bars(f"{bucket}/scans", target=f"{bucket}/out", stop=stop)
    assert read_bars(f"{bucket}/scans", target=f"{bucket}/out").earlier == 4
    assert len(texts_of(bucket)) == 6


def test_more_keys_than_a_request_lists_are_all_found(bucket: str, monkeypatch: pytest.MonkeyPatch, here: Path):
    from quillread.batch.cluster import sources, walking

    monkeypatch.setattr(walking, "_KEYS", 2)
    list(write_bars(here / "scans", 5))
    upload(here / "scans", bucket)
    assert len(list(sources.Source((f"{bucket}/scans",)).items())) == 5


@pytest.mark.parametrize("target", ["", "/scans", "/scans/deep"])
def test_pages_are_read_wherever_in_their_bucket_the_target_is(target: str, bucket: str, here: Path):
    list(write_bars(here / "scans", 3))
    upload(here / "scans", bucket)
    for _ in range(2):
        progress = read_bars(f"{bucket}/scans", target=f"{bucket}{target}", formats=("pdf",))
        assert (progress.pages, progress.failed) == (3, 0)


def test_a_bucket_that_does_not_exist_is_told(bucket: str, here: Path):
    with pytest.raises((DataError, InputError), match="s3://nobody/scans"):
        read_bars("s3://nobody/scans", target=here / "out")


@pytest.mark.parametrize("target", [False, True])
def test_a_bucket_without_permission_is_told(target: bool, bucket: str, here: Path, monkeypatch: pytest.MonkeyPatch):
    import s3fs

    list(write_bars(here / "scans", 1))

    async def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", refuse)
    with pytest.raises((DataError, InputError, OutputError), match="Access Denied"):
        read_bars(*(["scans"] if target else [f"{bucket}/scans"]), target=f"{bucket}/out" if target else here / "out")


_PATIENCE = 0.5
"""Seconds that the client waits for an answer."""


@pytest.fixture
def frail(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Have the server refuse requests and say nothing, as one with too much to do; counts what it did."""
    import fsspec
    import s3fs
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    done: Counter[str] = Counter()
    dice, answer = random.Random(0), DomainDispatcherApplication.__call__

    def answer_or_not(app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        throw = 1.0 if done["recovered"] else dice.random()
        if throw < 0.3:
            done["throttled"] += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        if throw < 0.4:
            done["stalled"] += 1
            time.sleep(2 * _PATIENCE)  # what was asked for may be done all the same
        return answer(app, environ, start_response)

    config = {"read_timeout": _PATIENCE, "retries": {"max_attempts": 0}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": config})
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(stores, "_WAITS", (0.05,) * 8)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(DomainDispatcherApplication, "__call__", answer_or_not)
    return done


@pytest.mark.slow
def test_a_store_that_throttles_and_stalls_loses_no_page_and_doubles_none(frail: Counter[str], bucket: str, here: Path):
    list(write_bars(here / "scans", 5))
    upload(here / "scans", bucket)
    progress = read_bars(f"{bucket}/scans", target=f"{bucket}/out", formats=("txt",))
    assert min(frail["throttled"], frail["stalled"]) > 2
    assert (progress.pages, progress.failed, progress.unwritten) == (5, 0, [])
    frail["recovered"] = 1
    assert texts_of(bucket) == {f"page-{i:03}.png": WORDS[i] for i in range(5)}
    assert [Store(bucket).read(f"out/files/page-{i:03}.txt") for i in range(5)] == [
        f"{WORDS[i]}\n".encode() for i in range(5)
    ]
