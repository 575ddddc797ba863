"""The command line of `quill batch`, with workers in this process."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from batches import FrailBars, LocalPool, read_bars, write_bars
from readings import write_document

from quillread.batch.cluster import reading
from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.progress import Progress
from quillread.cli.batch_target import summarise
from quillread.cli.main import main
from quillread.models.catalog import ModelEntry
from quillread.models.model_folder import ModelInfo


class NoRay:
    """Stands for Ray, which is not started."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Read in this process; gives the settings of the pool and of its workers."""
    given: dict[str, Any] = {}

    def make(config: Any, worker: Any, cargo: Any) -> LocalPool:
        given.update(pool=config, worker=worker)
        return LocalPool(worker, FrailBars())

    monkeypatch.setattr("quillread.cli.batch._NEEDED", ("pyarrow", "fsspec"))
    monkeypatch.setattr(reading, "running_ray", lambda config, cargo: NoRay())
    monkeypatch.setattr(reading, "RunMetrics", lambda: lambda progress: None)
    monkeypatch.setattr(reading, "RayPool", make)
    return given


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    list(write_bars(tmp_path / "scans", 5))
    return tmp_path / "scans"


def batch(*arguments: str) -> int:
    return main(["batch", *arguments])


def test_a_batch_that_is_read_whole_ends_well_and_says_what_was_read(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("scans", "--lines", "-o", "out") == 0
    assert "5 pages with 5 lines in the data set" in capsys.readouterr().err


def test_pages_that_failed_are_counted_and_tell_in_the_exit_code(scans: Path, capsys: pytest.CaptureFixture[str]):
    (scans / "bad.png").write_text("x", encoding="utf-8")
    write_document(scans / "kill-2.pdf", ["dead"] * 2)
    assert batch("scans", "--lines", "-o", "out") == 3
    told = capsys.readouterr().err
    assert "2 failed (crash: 1, image: 1)" in told
    assert "a worker was lost again and again with scans/kill-2.pdf" in told
    assert batch("scans", "--lines", "-o", "out") == 3


def test_what_was_read_is_told_although_a_part_of_the_source_cannot_be_listed(
    scans: Path, capsys: pytest.CaptureFixture[str]
):
    assert batch("scans", "nowhere", "--lines", "-o", "out") == 3
    told = capsys.readouterr().err
    assert "5 pages with 5 lines in the data set" in told
    assert "nowhere: no such file or folder" in told


def test_a_column_where_there_is_no_table_is_refused(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("scans", "--lines", "-o", "out", "--column", "scan") == 2
    assert "--column scan: SOURCE names no table" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("action", [["report", "-o", "r.html"], ["sample", "-o", "s.csv"]])
def test_a_part_that_is_damaged_ends_with_an_error(action: list[str], scans: Path, capsys: pytest.CaptureFixture[str]):
    read_bars("scans", target="out")
    min((scans.parent / "out" / "pages").rglob("*.parquet")).write_bytes(b"")
    assert batch(action[0], "out", *action[1:]) == 3
    assert "000000-0000.parquet: it is damaged" in capsys.readouterr().err


def test_flags_of_workers_reach_the_pool(scans: Path, local: dict[str, Any]):
    flags = "--min-workers 2 --max-workers 7 --cpus-per-worker 0.5 --gpus-per-worker 0.25 --address auto"
    flags += " --pages-at-once 3"
    (scans.parent / "env.yaml").write_text("env_vars: {A: b}", encoding="utf-8")
    assert batch("scans", "--lines", "-o", "out", *flags.split(), "--runtime-env", "env.yaml") == 0
    pool = local["pool"]
    assert (pool.min_workers, pool.max_workers, pool.cpus_per_worker, pool.gpus_per_worker) == (2, 7, 0.5, 0.25)
    assert (pool.address, pool.runtime_env) == ("auto", {"env_vars": {"A": "b"}})
    assert local["worker"].abreast == 3


def test_the_dashboard_of_a_cluster_is_not_started_here(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("scans", "-o", "out", "--address", "auto", "--dashboard") == 2
    assert "drop --dashboard" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "pages"), [("--gpus-per-worker 1", 4), ("", 1)])
def test_a_worker_with_trocr_on_a_gpu_reads_several_pages_at_once(
    scans: Path, local: dict[str, Any], monkeypatch: pytest.MonkeyPatch, flags: str, pages: int
):
    trocr = ModelEntry("toy", scans, ModelInfo(family="trocr", name="toy"), 0)
    monkeypatch.setattr(reading, "describe", lambda name: trocr)
    assert batch("scans", "--lines", "-o", "out", *flags.split()) == 0
    assert local["worker"].abreast == pages


def test_fewer_workers_at_most_than_at_least_are_refused(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("scans", "-o", "out", "--min-workers", "3", "--max-workers", "2") == 2
    assert "got 3 to 2" in capsys.readouterr().err


def test_without_ray_the_command_says_what_to_install(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("quillread.cli.batch._NEEDED", ("no_such_package",))
    assert batch("scans", "-o", "out") == 2
    assert "pip install 'quillread[ray]'" in capsys.readouterr().err


def test_status_tells_how_far_a_batch_is(scans: Path, capsys: pytest.CaptureFixture[str]):
    read_bars("scans", target="out")
    assert batch("status", "out") == 0
    assert "no run works on it; 5 pages with 5 lines" in capsys.readouterr().err
    assert batch("status", "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["pages"], found["inputs"], found["is_whole"]) == ("ended", 5, 5, True)


@pytest.mark.parametrize("action", [["status"], ["report", "-o", "r.html"], ["sample", "-o", "s.csv"]])
def test_a_folder_without_a_batch_is_refused(action: list[str], scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch(action[0], "scans", *action[1:]) == 2
    assert "holds no batch" in capsys.readouterr().err


def test_a_report_shows_figures_faults_and_the_worst_pages(scans: Path):
    (scans / "bad.png").write_text("x", encoding="utf-8")
    write_document(scans / "book.pdf", ["dead"] * 18)
    read_bars("scans", target="out")
    assert batch("report", "out", "-o", "r.html") == 0
    page = (scans.parent / "r.html").read_text(encoding="utf-8")
    assert '<p class="name">Pages</p><p class="figure">24</p>' in page
    assert "scans/bad.png: is not an image or PDF that can be read" in page
    assert "Collections" in page


def test_a_sample_is_drawn_proofread_and_measured(scans: Path, capsys: pytest.CaptureFixture[str]):
    read_bars("scans", target="out")
    assert batch("sample", "out", "--lines", "20", "-o", "s.csv") == 0
    with Path("s.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5
    with Path("s.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows({**line, "truth": line["text"].replace("dead", "deaf")} for line in lines)
    assert batch("sample", "--measure", "s.csv", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    letters = sum(len(line["text"]) for line in lines)
    assert found["cer"] == pytest.approx(1 / letters)
    assert (found["lines"], found["lines_of_all"]) == (5, 5)


def test_a_sample_needs_a_target_or_a_file(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("sample") == 2
    assert "is drawn from TARGET with --output, or measured with --measure" in capsys.readouterr().err


def test_a_folder_named_as_an_action_can_be_read(scans: Path):
    scans.rename("status")
    assert batch("./status", "--lines", "-o", "out") == 0


def test_files_that_could_not_be_written_are_named():
    progress = Progress(pages=1, unwritten=["a.png: no such letter"])
    assert "a file could not be written: a.png: no such letter" in summarise(progress, None)


def test_the_status_of_a_run_that_has_just_begun_is_told(scans: Path, capsys: pytest.CaptureFixture[str]):
    def look(ledger: Ledger) -> None:
        assert batch("status", "out", "--json") == 0
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "records", look)
        assert batch("scans", "--lines", "-o", "out") == 130
    assert json.loads(capsys.readouterr().out)["state"] == "lost"  # as it has the process of this test


def test_a_line_finder_where_no_lines_are_to_be_found_is_refused(scans: Path, capsys: pytest.CaptureFixture[str]):
    assert batch("scans", "--lines", "--segmenter", "neural", "-o", "out") == 2
    assert "--segmenter finds lines, and --lines says that none are to be found" in capsys.readouterr().err
    assert not Path("out").exists()
