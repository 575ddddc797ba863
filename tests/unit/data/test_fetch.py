import hashlib
import io
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from quillread.data.fetch import FetchConfig, _Web, fetch_imgur5k
from quillread.errors import ConfigError, DataError, OutputError


def jpeg(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 80, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Serves images, after the misdeeds that a test asks for: path -> what to do at the first, second, ... request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.misdeeds = {}
        self.asked = []
        self.agents = set()
        self.release = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.agents.add(self.headers["User-Agent"])
        self.server.asked.append(self.path)
        misdeeds = self.server.misdeeds.get(self.path, [])
        content = self.server.files.get(self.path, b"")
        deed = misdeeds.pop(0) if misdeeds else ("send" if content else 404)
        if isinstance(deed, int):
            self.answer(deed, b"", {"Retry-After": "1"} if deed == 429 else {})
        elif deed.startswith("/"):
            self.answer(302, b"", {"Location": deed})
        elif deed == "stall":
            self.server.release.wait(5)
        elif deed == "drip":
            self.answer(200, content[:3], {"Content-Length": str(len(content))})
            for byte in content[3:]:
                if self.server.release.wait(0.05):
                    break
                self.wfile.write(bytes([byte]))
        elif deed == "break":
            self.answer(200, content[:100], {"Content-Length": str(len(content))})
        elif deed == "hang up":
            self.connection.close()
        elif deed == "web page":
            self.answer(200, b"<html></html>", {"Content-Type": "text/html; charset=utf-8"})
        else:
            self.answer(200, content if deed == "send" else b"lie" + content)

    def answer(self, code, body, headers=None):
        self.send_response(code)
        for name, value in {"Content-Type": "image/jpeg", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):  # the client, or a misdeed, has closed the connection
            self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, server):
    """Lists that name the images a, b and c of the server."""
    return write_lists(tmp_path, server, ("a", "b", "c"))


def write_lists(folder, server, names):
    info = folder / "dataset_info"
    info.mkdir(exist_ok=True)
    server.files = {f"/{name}.jpg": jpeg(seed) for seed, name in enumerate(names)}
    hashes = {name: hashlib.md5(server.files[f"/{name}.jpg"]).hexdigest() for name in names}
    tables = {
        "index_id": {n: {"image_url": f"{server.url}/{n}.jpg", "image_hash": h} for n, h in hashes.items()},
        "index_to_ann_map": {n: [f"{n}_0"] for n in names},
        "ann_id": {f"{n}_0": {"word": "word", "bounding_box": "[40.0, 20.0, 30.0, 10.0, 0.0]"} for n in names},
    }
    (info / "imgur5k_hashes.lst").write_text("".join(f"{n} {h}\n" for n, h in hashes.items()), encoding="utf-8")
    (info / "train_index_ids.lst").write_text("\n".join(names), encoding="utf-8")
    (info / "imgur5k_annotations_train.json").write_text(json.dumps(tables), encoding="utf-8")
    return folder


def fetch(folder, **settings):
    fast = {"timeout": 5.0, "backoff": 0.01, "rate": 1000.0, "retries": 2}
    return fetch_imgur5k(folder, FetchConfig(**(fast | settings)), splits=("train",))


def images_in(folder):
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


def test_all_images_of_the_lists_are_fetched(folder, server):
    report = fetch(folder)
    assert (report.listed, report.fetched, report.is_complete) == (3, 3, True)
    assert {f"/{name}": content for name, content in images_in(folder).items()} == server.files


def test_image_that_is_there_is_not_asked_for_again(folder, server):
    fetch(folder)
    server.asked.clear()
    report = fetch(folder)
    assert (report.kept, report.fetched, server.asked) == (3, 0, [])


def test_run_goes_on_where_the_one_before_failed(folder, server):
    server.misdeeds["/b.jpg"] = [500, 500, 500]
    assert list(fetch(folder).failed) == ["b"]
    server.asked.clear()
    report = fetch(folder)
    assert (report.kept, report.fetched, server.asked) == (2, 1, ["/b.jpg"])


def test_file_with_another_hash_is_fetched_anew(folder, server):
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(b"half an ima")
    assert fetch(folder).fetched == 3
    assert images_in(folder)["a.jpg"] == server.files["/a.jpg"]


@pytest.mark.parametrize("misdeed", [500, 503, "stall", "drip", "break", "hang up"])
def test_passing_fault_is_tried_again(folder, server, misdeed):
    server.misdeeds["/b.jpg"] = [misdeed]
    assert fetch(folder, timeout=0.5 if misdeed in ("stall", "drip") else 5.0).fetched == 3
    assert Counter(server.asked)["/b.jpg"] == 2


def test_image_that_fails_at_every_try_is_reported(folder, server):
    server.misdeeds["/b.jpg"] = [500, "break", "stall"]
    report = fetch(folder, timeout=0.5)
    assert report.failed == {"b": "timed out"}
    assert not report.is_complete
    assert sorted(images_in(folder)) == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("misdeed", "reason"),
    [(404, "HTTP 404"), (410, "HTTP 410"), ("/removed.png", "redirected to removed.png")],
)
def test_dead_link_is_reported_and_not_tried_again(folder, server, misdeed, reason):
    server.misdeeds["/b.jpg"] = [misdeed]
    report = fetch(folder)
    assert (report.dead, report.is_complete) == ({"b": reason}, True)
    assert sorted(server.asked) == ["/a.jpg", "/b.jpg", "/c.jpg"]


def test_other_redirect_is_followed(folder, server):
    server.files["/moved/b.jpg"] = server.files["/b.jpg"]
    server.misdeeds["/b.jpg"] = ["/moved/b.jpg"]
    assert fetch(folder).fetched == 3


def test_changed_image_is_reported_and_not_put_in_place(folder, server):
    server.misdeeds["/b.jpg"] = ["lie"]
    report = fetch(folder)
    assert list(report.changed) == ["b"]
    assert report.is_complete
    assert sorted(images_in(folder)) == ["a.jpg", "c.jpg"]


@pytest.mark.parametrize(("misdeed", "reason"), [(403, "HTTP 403"), ("web page", "web page instead of an image")])
def test_refusal_is_reported_and_not_tried_again_in_this_run(folder, server, misdeed, reason):
    server.misdeeds["/b.jpg"] = [misdeed]
    report = fetch(folder)
    assert reason in report.failed["b"]
    assert Counter(server.asked)["/b.jpg"] == 1


class Patience(threading.Event):
    """Notes how many seconds are waited for it, and takes none."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return self.is_set()


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return Patience()


def test_server_that_asks_for_a_pause_gets_it(folder, server, patience):
    server.misdeeds["/a.jpg"] = [429]
    _Web(FetchConfig(backoff=0.5), patience).get(f"{server.url}/a.jpg")
    assert patience.waits == [0.0, 0.5, 1.0]


def test_requests_keep_to_the_rate(folder, server, patience):
    web = _Web(FetchConfig(rate=10.0), patience)
    for name in "abc":
        web.get(f"{server.url}/{name}.jpg")
    assert patience.waits == pytest.approx([0.0, 0.1, 0.2])


def test_requests_say_who_asks(folder, server):
    fetch(folder)
    (agent,) = server.agents
    assert "quillread" in agent


def test_run_without_hope_is_given_up(tmp_path, server):
    names = [f"x{i}" for i in range(60)]
    folder = write_lists(tmp_path, server, names)
    server.misdeeds = {f"/{name}.jpg": [403] for name in names}
    report = fetch(folder, workers=2)
    assert len(report.untried) > 20
    assert len(report.failed) + len(report.untried) == 60


def test_other_base_address_is_asked_instead(folder, server):
    server.files = {f"/mirror{path}": content for path, content in server.files.items()}
    assert fetch(folder, base_url=f"{server.url}/mirror/").fetched == 3


def test_report_in_the_folder_names_what_was_not_fetched(folder, server):
    server.misdeeds = {"/a.jpg": [404], "/b.jpg": ["lie"], "/c.jpg": [403]}
    fetch(folder)
    report = json.loads((folder / "fetch-report.json").read_text(encoding="utf-8"))
    assert [list(report[kind]) for kind in ("dead", "changed", "failed")] == [["a"], ["b"], ["c"]]
    assert report["splits"]["train"]["missing"] == ["a", "b", "c"]


def test_interrupted_run_keeps_its_images_and_reports(folder, server):
    server.misdeeds["/b.jpg"] = ["stall"]

    def interrupt(done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_imgur5k(folder, FetchConfig(workers=1, timeout=0.3, rate=1000.0), splits=("train",), progress=interrupt)
    report = json.loads((folder / "fetch-report.json").read_text(encoding="utf-8"))
    assert (report["fetched"], report["untried"]) == (1, ["b", "c"])
    assert fetch(folder).fetched == 2


def test_full_disk_ends_the_run(folder, monkeypatch):
    from quillread.data import fetch as module

    def full(path, content, real=module.write_atomic):
        if path.suffix == ".jpg":
            raise OutputError(f"{path}: cannot be written: No space left on device")
        real(path, content)

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(OutputError, match="No space left"):
        fetch(folder)


def test_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(DataError, match="git clone"):
        fetch(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [{"workers": 0}, {"workers": 65}, {"rate": 0.0}, {"timeout": 0.0}, {"retries": -1}, {"base_url": "i.imgur.com"}],
)
def test_setting_out_of_range_is_refused(setting):
    with pytest.raises(ConfigError):
        FetchConfig(**setting)
