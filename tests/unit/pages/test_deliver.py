import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from quillread.errors import Fault, ImageError, OutputError
from quillread.images.document import Document, OnePage
from quillread.pages.deliver import Collector, Stop, deliver, explain, page_name, refuse
from quillread.types import DocumentInfo, Page, Reading, Scan

FAULT = Fault("image", "a.tif, page 2: cannot be decoded", "scan it again")
IMAGE = np.full((10, 20, 3), 255, np.uint8)


class Notes:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, info: DocumentInfo) -> None:
        self.said.append(("begin", info.source, info.page_count))

    def add(self, scan: Scan) -> None:
        self.said.append(scan.page.number)

    def close(self, fault: Fault | None) -> None:
        self.said.append(fault)

    def abort(self) -> None:
        self.said.append("abort")


def read(number: int = 1) -> Scan:
    return Scan(Page("a.tif", number, 20, 10), IMAGE)


def failed(number: int = 1, fault: Fault = FAULT) -> Scan:
    return Scan(Page("a.tif", number, 0, 0, fault=fault))


def handed_on(*scans: Scan) -> tuple[list[object], tuple[Fault, ...]]:
    """Give what a writer is told of a document, and the faults that come back."""
    notes = Notes()
    faults = deliver(iter(scans), notes, DocumentInfo("a.tif", len(scans)), len(scans))
    return notes.said, faults


# --- pages to a writer ------------------------------------------------------------------------------------------------


def test_pages_are_handed_on_in_order():
    assert handed_on(read(1), read(2), read(3)) == ([("begin", "a.tif", 3), 1, 2, 3, None], ())


def test_a_page_that_failed_stands_among_the_others():
    assert handed_on(read(1), failed(2), read(3)) == ([("begin", "a.tif", 3), 1, 2, 3, None], (FAULT,))


def test_an_input_of_one_page_that_failed_has_a_fault_and_no_page():
    assert handed_on(failed(1)) == ([("begin", "a.tif", 1), FAULT], (FAULT,))


def test_an_input_of_which_all_pages_failed_has_its_pages_and_a_fault_of_its_own():
    said, faults = handed_on(failed(1), failed(2))
    whole = Fault("image", "a.tif: none of its 2 pages could be read")
    assert said == [("begin", "a.tif", 2), 1, 2, whole]
    assert faults == (whole, FAULT, FAULT)


def test_a_page_that_keeps_its_text_without_its_image_has_not_failed():
    kept = replace(read(1), image=None, missing=FAULT)
    assert handed_on(kept) == ([("begin", "a.tif", 1), 1, None], (FAULT,))


def test_pages_are_taken_one_at_a_time():
    order: list[str] = []

    def scans() -> Iterator[Scan]:
        for number in (1, 2):
            order.append(f"read {number}")
            yield read(number)

    class Watch(Notes):
        def add(self, scan: Scan) -> None:
            order.append(f"write {scan.page.number}")

    deliver(scans(), Watch(), DocumentInfo("a.tif", 2), 2)
    assert order == ["read 1", "write 1", "read 2", "write 2"]


def test_what_a_writer_raises_is_not_taken_for_a_bad_page():
    class Full(Notes):
        def add(self, scan: Scan) -> None:
            raise OutputError("the disk is full")

    with pytest.raises(OutputError):
        deliver([read()], Full(), DocumentInfo("a.tif"), 1)


def test_an_input_that_cannot_be_opened_has_no_pages():
    notes = Notes()
    assert refuse(notes, "none.png", FAULT, {}) == (FAULT,)
    assert notes.said == [("begin", "none.png", 0), FAULT]


def test_a_collector_keeps_pages_without_their_images():
    collector = Collector()
    deliver([read(1), failed(2)], collector, DocumentInfo("a.tif", 2, {"model": "bars"}), 2)
    assert collector.reading() == Reading("a.tif", (read(1).page, failed(2).page), None, {"model": "bars"})


# --- errors to faults -------------------------------------------------------------------------------------------------


def test_an_error_of_a_later_step_names_the_input():
    assert explain(ImageError("is not a line", hint="crop it"), "a.png") == Fault(
        "image", "a.png: is not a line", "crop it"
    )


def test_an_error_that_names_the_input_does_so_once():
    assert explain(ImageError("a.png: is empty"), "a.png").message == "a.png: is empty"


def test_a_page_too_large_for_the_memory_says_what_to_lower():
    fault = explain(MemoryError(), "a.png")
    assert (fault.kind, fault.message) == ("memory", "a.png: is too large for the memory")
    assert fault.hint is not None
    assert fault.hint.startswith("lower read.max_pixels")


def test_a_fault_of_the_file_system_is_one_of_the_input():
    fault = explain(OSError(36, "File name too long"), "x")
    assert (fault.kind, fault.message) == ("input", "x: cannot be read: File name too long")


def test_a_fault_of_ours_is_told_as_one_and_shows_no_trace(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        fault = explain(RuntimeError("boom"), "a.png")
    assert (fault.kind, fault.message) == ("internal", "a.png: internal error: RuntimeError('boom')")
    assert fault.hint is not None
    assert "report it" in fault.hint
    assert caplog.text == ""


def test_the_trace_of_a_fault_of_ours_is_logged_for_those_who_ask(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        try:
            raise RuntimeError("boom")
        except RuntimeError as error:
            explain(error, "a.png")
    assert "Traceback" in caplog.text


# --- stopping between pages -------------------------------------------------------------------------------------------


class Pages(OnePage):
    """Three pages."""

    def __len__(self) -> int:
        return 3


@pytest.fixture
def document() -> Document:
    return Document("a.tif", Pages(IMAGE))


def test_pages_of_a_document_are_named_by_their_number(document: Document):
    assert page_name(document, 1) == "a.tif, page 2"
    assert page_name(Document("a.png", OnePage(IMAGE)), 0) == "a.png"


def test_a_reading_without_limits_goes_on(document: Document):
    assert Stop(None, None).fault(document, 2) is None
    assert Stop(3600, lambda: False).fault(document, 2) is None


def test_a_cancelled_reading_stops_with_a_fault_that_names_the_page(document: Document):
    assert Stop(None, lambda: True).fault(document, 1) == Fault(
        "stopped", "a.tif, page 2: not read: the reading was cancelled"
    )


def test_a_reading_stops_at_its_time_limit(document: Document):
    fault = Stop(0, None).fault(document, 1)
    assert fault is not None
    assert (fault.kind, fault.message) == (
        "stopped",
        "a.tif, page 2: not read: the time limit of 0 seconds was reached",
    )


def test_cancelling_is_asked_for_page_by_page(document: Document):
    answers = iter([False, True])
    stop = Stop(None, lambda: next(answers))
    assert [stop.fault(document, index) is None for index in (0, 1)] == [True, False]
