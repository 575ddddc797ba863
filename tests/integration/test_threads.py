"""Any number of threads may use one Reader: what they read does not depend on each other."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread import Reader
from quillread.images.read import open_document
from quillread.types import Transcript, UInt8Image

PAGE = Path(__file__).parents[1] / "data" / "page.jpg"
TOPS = (20, 85, 143, 202, 315, 377, 440, 554, 617, 675)
"""Of the lines on the page, each 75 pixels high."""
THREADS = 8


@pytest.fixture(autouse=True)
def hasty_threads() -> Iterator[None]:
    """Let threads take turns so often that they meet in the middle of whatever is not safe."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def lines() -> list[UInt8Image]:
    """Forty pieces of lines, a word or two each."""
    page = np.array(Image.open(PAGE).convert("RGB"))
    pieces = [page[top : top + 75, left : left + 180] for top in TOPS for left in range(20, 920, 180)]
    return sorted(pieces, key=np.mean)[:40]  # the others are blank


@pytest.fixture(scope="module")
def serial(lines: list[UInt8Image]) -> list[Transcript]:
    """What one thread reads in each, line by line."""
    with Reader(lm=("auto",), lines=True, threads=1) as reader:
        return [reader.read_lines([line])[0] for line in lines]


def read_in_threads(lines: list[UInt8Image], reads: int) -> list[tuple[int, Transcript]]:
    """Read the lines again and again, each thread from another one on; with the number of the line."""
    share = reads // THREADS

    def read(reader: Reader, thread: int) -> list[tuple[int, Transcript]]:
        numbers = [(thread * 5 + i) % len(lines) for i in range(share)]
        return [(number, reader.read_lines([lines[number]])[0]) for number in numbers]

    with Reader(lm=("auto",), lines=True, threads=1) as reader, ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(read, reader, thread) for thread in range(THREADS)]
        return [result for job in jobs for result in job.result()]


def test_the_lines_hold_what_languages_change(serial: list[Transcript], lines: list[UInt8Image]):
    with Reader(lm=("none",), lines=True, threads=1) as reader:
        plain = reader.read_lines(lines)
    assert len({transcript.text for transcript in serial}) > 35
    assert sum(one.confidence != other.confidence for one, other in zip(serial, plain, strict=True)) >= 10


@pytest.mark.parametrize(
    ("reads", "most_states"),
    [
        pytest.param(160, 2_000, id="a few reads"),
        pytest.param(2_000, None, marks=pytest.mark.slow, id="many reads"),
        pytest.param(2_000, 2_000, marks=pytest.mark.slow, id="many reads, states dropped often"),
    ],
)
def test_threads_read_what_one_reads(
    reads: int,
    most_states: int | None,
    lines: list[UInt8Image],
    serial: list[Transcript],
    monkeypatch: pytest.MonkeyPatch,
):
    if most_states is not None:
        monkeypatch.setattr("quillread.language.characters._MOST_STATES", most_states)
    results = read_in_threads(lines, reads)
    assert len(results) == reads
    assert [number for number, transcript in results if transcript != serial[number]] == []


@pytest.mark.slow
def test_threads_read_pages_as_one_does():
    with Reader(threads=1) as reader, open_document(PAGE) as document:
        images = [document.page(0), np.ascontiguousarray(document.page(0)[:400])]
        serial = [reader.read_page(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(reader.read_page, images * 2)) == serial * 2
