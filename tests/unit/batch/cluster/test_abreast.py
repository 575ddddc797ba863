"""Workers that read several pages at the same time."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import WORDS, FrailBars, LocalPool, read_bars, rows, texts, write_bars
from fakes import write_trocr
from readings import write_document, written

from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.reading import BatchConfig, read_batch
from quillread.batch.executors import PageJob, PageResult, make_worker
from quillread.options import ReadOptions

SEVERAL = 4


@pytest.fixture
def scans(here: Path) -> Path:
    list(write_bars(here / "scans", 7))
    (here / "scans" / "bad.png").write_text("no image", encoding="utf-8")
    write_document(here / "scans" / "short.pdf", ["dead", None, "cab"])
    write_document(here / "scans" / "book.pdf", [WORDS[i % 7] if i != 18 else None for i in range(39)])
    return here / "scans"


@pytest.mark.parametrize("formats", [("page", "txt"), ("txt",)])
def test_several_pages_at_once_have_the_rows_and_files_of_one_at_a_time(formats: tuple[str, ...], scans: Path):
    told = [read_bars("scans", target=f"out-{pages}", abreast=pages, formats=formats).plain() for pages in (1, SEVERAL)]
    assert texts("out-1") == texts(f"out-{SEVERAL}")
    assert len(texts("out-1")) == 7 + 1 + 3 + 39
    for name in ("pages", "lines", "failed", "faults", "confidence", "inputs"):
        assert told[0][name] == told[1][name]
    ours, theirs = (written(scans.parent / f"out-{pages}" / "files") for pages in (1, SEVERAL))
    assert ours.keys() == theirs.keys()
    assert {name: ours[name] for name in ours if name.endswith(".txt")} == {
        name: theirs[name] for name in theirs if name.endswith(".txt")
    }


def test_the_rows_of_a_part_are_in_the_order_of_its_pages(scans: Path):
    read_bars("scans/book.pdf", target="out", abreast=SEVERAL)
    import pyarrow.parquet

    for part in (scans.parent / "out" / "pages").rglob("*.parquet"):
        numbers = [row["page"] for row in pyarrow.parquet.read_table(part).to_pylist()]
        assert numbers == sorted(numbers)


def test_pages_that_failed_are_read_again_several_at_once(scans: Path):
    read_bars("scans", target="out", abreast=SEVERAL, formats=("txt",))
    write_document(scans / "book.pdf", ["dead"] * 39)
    list(write_bars(scans, 1))
    (scans / "bad.png").write_bytes((scans / "page-000.png").read_bytes())
    progress = read_bars("scans", target="out", abreast=SEVERAL, formats=("txt",), retry_failed=True)
    assert (len(texts("out")), progress.pages, progress.failed) == (50, 50, 1)


def test_rows_that_a_killed_run_has_mended_are_there_once(scans: Path, monkeypatch: pytest.MonkeyPatch):
    read_bars("scans/book.pdf", target="out", abreast=SEVERAL)
    write_document(scans / "book.pdf", ["dead"] * 39)
    with monkeypatch.context() as killed:  # before it notes what it has done
        killed.setattr(Ledger, "commit", lambda *_: None)
        read_bars("scans/book.pdf", target="out", abreast=SEVERAL, retry_failed=True)
    progress = read_bars("scans/book.pdf", target="out", abreast=SEVERAL, retry_failed=True)
    assert (len(rows("out")), progress.pages, progress.failed) == (39, 39, 0)


def test_a_page_that_kills_a_worker_that_reads_several_is_found(scans: Path):
    write_document(scans / "kill-2.pdf", ["dead"] * 3)
    progress = read_bars("scans", target="out", abreast=SEVERAL)
    crashed = [(row["source"], row["page"]) for row in rows("out") if row["fault"] and row["fault"]["kind"] == "crash"]
    assert (crashed, progress.deadly) == ([("scans/kill-2.pdf", 2)], ["scans/kill-2.pdf"])
    assert len(texts("out")) == 53


def test_pages_of_a_long_document_are_read_at_the_same_time(here: Path):
    begun = threading.Barrier(SEVERAL, timeout=60)

    class Together(FrailBars):
        """Reads a page when as many are begun as may be read at the same time."""

        def __call__(self, job: PageJob) -> PageResult:
            if job.index is not None:
                begun.wait()
            return super().__call__(job)

    write_document(here / "book.pdf", ["dead"] * 32)
    assert read_bars("book.pdf", target="out", abreast=SEVERAL, pages=Together()).pages == 32


def test_trocr_reads_lines_of_several_pages_in_one_batch_with_the_same_texts(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torch", reason="needs pip install 'quillread[train]'")
    from liveliness import lively

    from quillread.models.trocr import adapters
    from quillread.recognize.trocr import engine
    from quillread.recognize.trocr.torch_backend import TorchTrocr

    waiting, batches = [0], []
    ask, read, open_model = engine._Turns.__call__, TorchTrocr._write, adapters.load_trocr

    def count(turns: Any, images: Sequence[Any]) -> Any:
        waiting[0] += 1
        return ask(turns, images)

    def look(backend: Any, images: Sequence[Any], readings: int) -> Any:
        limit = time.monotonic() + 60
        while not batches and waiting[0] < SEVERAL and time.monotonic() < limit:
            time.sleep(0.05)
        batches.append(len(images))
        return read(backend, images, readings)

    monkeypatch.setattr(adapters, "load_trocr", lambda folder, **told: lively(open_model(folder, **told)))
    write_trocr(here / "toy")
    write_document(here / "book.pdf", [WORDS[i % 7] for i in range(20)])
    options = ReadOptions(models=(str(here / "toy"),), lines=True, threads=1)

    def read_all(target: str, abreast: int) -> None:
        config = BatchConfig(("book.pdf",), target, options, abreast=abreast)
        read_batch(config, pool=lambda worker: LocalPool(worker, make_worker(worker.options)))

    read_all("alone", 1)
    monkeypatch.setattr(engine._Turns, "__call__", count)
    monkeypatch.setattr(TorchTrocr, "_write", look)
    read_all("together", SEVERAL)
    assert texts("together") == texts("alone")
    assert len(set(texts("alone").values())) > 1
    assert (sum(batches), max(batches) > 1) == (20, True)
