"""`quill batch` on Ray: drivers, workers and nodes are killed, and each page still has one row."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if not os.environ.get("QUILLREAD_REQUIRES_RAY"):
    pytest.importorskip("ray", reason="needs Ray: pip install 'quillread[ray]'")

from batches import WORDS, rows, texts, write_bars
from readings import write_document

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
PATIENCE = 300.0
"""Seconds after which a test is taken to hang."""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    list(write_bars(tmp_path / "scans", 30))
    write_document(tmp_path / "scans" / "book.pdf", [WORDS[i % 7] for i in range(20)])
    (tmp_path / "notes").mkdir()
    return tmp_path / "scans"


def start(*arguments: str | Path, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    code = "import ray_bars; ray_bars.main()"
    paths = {"PYTHONPATH": str(TESTS), "BARS_NOTES": str(folder / "notes")}
    return subprocess.Popen(
        [sys.executable, "-c", code, "batch", "--lines", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **paths, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, told = process.communicate(timeout=PATIENCE)
    return process.returncode, told


def wait(condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def noted(folder: Path) -> list[str]:
    return [line for path in (folder / "notes").iterdir() for line in path.read_text(encoding="utf-8").splitlines()]


def expected() -> dict[tuple[str, int | None], str]:
    images = {(f"page-{i:03}.png", 1): WORDS[i % 7] for i in range(30)}
    return images | {("book.pdf", i + 1): WORDS[i % 7] for i in range(20)}


def test_each_page_has_a_row_although_the_driver_is_killed_twice(scans: Path):
    folder = scans.parent
    for count in (5, 25):
        process = start("scans", "--output", "out", folder=folder, BARS_SECONDS="0.2")
        wait(lambda: len(noted(folder)) >= count or process.poll() is not None)  # noqa: B023
        process.kill()
        process.communicate()
    code, told = finish(start("scans", "--output", "out", "--max-workers", "2", folder=folder))
    assert (code, texts(folder / "out")) == (0, expected()), told


def test_what_is_done_when_the_driver_is_interrupted_is_not_done_again(scans: Path):
    folder = scans.parent
    process = start("scans", "--output", "out", "--max-workers", "1", folder=folder, BARS_SECONDS="0.2")
    wait(lambda: list((folder / "out" / "pages").glob("*/*.parquet")))
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    code, told = finish(start("scans", "--output", "out", folder=folder))
    assert (code, texts(folder / "out")) == (0, expected()), told
    # At most a task that was in the middle and one that had just ended, each of two pages.
    assert len(noted(folder)) <= 50 + 4


def test_a_page_that_crashes_its_worker_is_parked_and_named(scans: Path):
    folder = scans.parent
    write_document(scans / "crash-2.pdf", ["dead"] * 3)
    code, told = finish(start("scans", "--output", "out", "--max-workers", "2", folder=folder))
    found = {(Path(row["source"]).name, row["page"]): row for row in rows(folder / "out")}
    assert code == 3
    assert len(found) == len(rows(folder / "out")) == 53
    assert found["crash-2.pdf", 2]["fault"]["kind"] == "crash"
    assert [found["crash-2.pdf", page]["text"] for page in (1, 3)] == ["dead", "dead"]
    assert "a worker was lost again and again with scans/crash-2.pdf" in told
    assert noted(folder).count("scans/crash-2.pdf 1") == 3


def test_workers_of_another_version_are_refused(scans: Path):
    code, told = finish(start("scans", "--output", "out", folder=scans.parent, BARS_VERSION="0.0.1"))
    assert code == 2
    assert "a worker has Quillread 0.0.1" in told


def test_a_worker_that_cannot_load_its_model_ends_the_run_with_the_reason(scans: Path):
    code, told = finish(start("scans", "--output", "out", folder=scans.parent, BARS_FAULT="no such model"))
    assert code == 2
    assert "error: no such model\n  hint: train one" in told


def listening(folder: Path) -> set[str]:
    """Addresses, in hexadecimal, at which the processes of a run listen: all have its environment."""
    inodes = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder / "notes").encode() in (place / "environ").read_bytes():
                inodes |= {str(path.readlink()) for path in (place / "fd").iterdir()}
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and f"socket:[{cells[9]}]" in inodes:
                found.add(cells[1].partition(":")[0])
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
@pytest.mark.parametrize("flags", [[], ["--dashboard"]], ids=["alone", "with its dashboard"])
def test_ray_on_this_machine_listens_to_this_machine_alone(flags: list[str], scans: Path):
    folder = scans.parent
    if flags:
        require_dashboard()
    process = start("scans", "--output", "out", *flags, folder=folder, BARS_SECONDS="0.2")
    wait(lambda: noted(folder) or process.poll() is not None)
    found = listening(folder)
    code, told = finish(process)
    assert code == 0, told
    assert found
    assert found <= {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def require_dashboard() -> None:
    if not os.environ.get("QUILLREAD_REQUIRES_RAY"):
        for module in ("aiohttp_cors", "opencensus"):
            pytest.importorskip(module, reason="needs Ray's dashboard: pip install 'quillread[dashboard]'")


def fetch(address: str) -> dict[str, float]:
    """Figures of Quillread at an address for Prometheus, each summed up over the processes that tell it."""
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, float] = {}
    with contextlib.suppress(httpx.TransportError):  # it is not there yet
        for family in text_string_to_metric_families(httpx.get(address).text):
            for sample in family.samples:
                if "quillread" in sample.name and "le" not in sample.labels:
                    found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_ray_tells_pages_failures_seconds_and_the_queue(scans: Path):
    require_dashboard()
    (scans / "a-bad.png").write_text("no image", encoding="utf-8")
    arguments = ("scans", "--output", "out", "--max-workers", "1", "--dashboard")
    process = start(*arguments, folder=scans.parent, BARS_SECONDS="0.5", RAY_metrics_report_interval_ms="500")
    assert process.stderr is not None
    told = next(line for line in iter(process.stderr.readline, "") if "metrics for Prometheus" in line)
    address, found = told.split()[-1], dict[str, float]()

    def has_read_some() -> bool:
        # The worker tells of pages, the process that gives them out of the queue: each in its own time.
        found.update(fetch(address))
        some = found.get("ray_quillread_pages_read_total", 0) >= 3 and 0 < found.get("ray_quillread_queue", 0) < 50
        return some or process.poll() is not None

    wait(has_read_some)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    pages, failed = found["ray_quillread_pages_read_total"], found["ray_quillread_pages_failed_total"]
    assert (failed, found["ray_quillread_workers"]) == (1, 1)
    assert found["ray_quillread_page_seconds_count"] == pages + failed
    assert found["ray_quillread_page_seconds_sum"] > 0.5 * pages
    assert 0 < found["ray_quillread_queue"] < 50


def test_nothing_of_ray_is_left_behind(scans: Path, tmp_path: Path):
    home, temporary = tmp_path / "home", tmp_path / "t"
    home.mkdir()
    temporary.mkdir()
    places = {"HOME": str(home), "TMPDIR": str(temporary)}
    (tmp_path / "words.txt").write_text("dead\n", encoding="utf-8")
    arguments = ("scans", "--output", "out", "--lexicon", "words.txt")  # which is sent to the workers
    code, told = finish(start(*arguments, folder=scans.parent, **places))
    assert code == 0, told
    assert [path for folder in (home, temporary) for path in folder.rglob("*")] == []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Three nodes on this machine, of which the first has no room for workers."""
    from ray.cluster_utils import Cluster

    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(TESTS)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BARS_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("BARS_SECONDS", "0.2")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    yield cluster
    cluster.shutdown()


def test_each_page_has_a_row_although_a_node_is_killed_and_another_one_comes(cluster: Any, scans: Path):
    folder = scans.parent
    process = start("scans", "--output", "out", "--address", cluster.address, "--max-workers", "2", folder=folder)
    wait(lambda: len(list((folder / "notes").iterdir())) == 2 or process.poll() is not None)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    code, told = finish(process)
    assert (code, texts(folder / "out")) == (0, expected()), told


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_ROUNDS", "1"))))
def test_each_page_has_one_row_whatever_is_killed_at_whatever_moment(seed: int, cluster: Any, scans: Path):
    folder, rng, killed = scans.parent, random.Random(seed), []
    arguments = ("scans", "--output", "out", "--address", cluster.address, "--min-workers", "2", "--max-workers", "2")
    process = start(*arguments, folder=folder)
    for kind in rng.sample(["driver", "worker", "node"], 3):
        before = len(noted(folder))
        wait(lambda: len(noted(folder)) > before or process.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0, 1))
        if process.poll() is not None:
            break
        killed.append(kind)
        if kind == "driver":
            process.kill()
            process.communicate()
            process = start(*arguments, folder=folder)
        elif kind == "worker":
            newest = max((folder / "notes").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(newest.name), signal.SIGKILL)
        else:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    code, told = finish(process)
    assert (code, texts(folder / "out")) == (0, expected()), (killed, told)
    assert killed, "all was read before anything could be killed"
