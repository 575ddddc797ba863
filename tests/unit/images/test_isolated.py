import io
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread.errors import ConfigError, ImageError
from quillread.images import isolated, pictures
from quillread.images.document import ReadConfig
from quillread.images.isolated import IsolatedPages
from quillread.images.opening import Opening, open_pages
from quillread.images.read import open_document

DATA = Path(__file__).parents[2] / "data"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="worker processes need POSIX")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    shades = [Image.new("L", (30, 40), 60 * number) for number in range(3)]
    shades[0].save(tmp_path / "book.pdf", save_all=True, append_images=shades[1:])
    return tmp_path / "book.pdf"


def content(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.copy().save(buffer, file_format, **options)
    return buffer.getvalue()


def opened(source: Path | bytes, kind: str = "picture", **config: float) -> object:
    pages = open_pages(Opening(kind, source, ReadConfig(**config), "input"))
    pages.close()
    return pages


def test_pages_of_another_process_are_those_of_this_one(book: Path):
    opening = Opening("pdf", book, ReadConfig(), "book")
    here = opening.pages()
    there = IsolatedPages(opening)
    assert len(there) == len(here) == 3
    for index in (2, 0, 1):
        assert (there.render(index, "page") == here.render(index, "page")).all()
        assert there.render(index, "page").flags.writeable
        assert there.paper_size(index) == here.paper_size(index)
    there.close()
    here.close()


@pytest.mark.parametrize(("name", "kind"), [("turned.heic", "heif"), ("encrypted.pdf", "pdf")])
def test_decoders_that_may_crash_or_hang_are_not_loaded_here(name, kind):
    code = (
        "import sys; from pathlib import Path; from quillread.images.read import open_document\n"
        f"try: open_document(Path({str(DATA / name)!r})).page(0)\n"
        "except Exception as error: assert 'encrypted' in str(error)\n"
        "sys.exit(bool({'pypdfium2', 'pi_heif'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )


def test_a_heavy_picture_is_told_by_its_header(monkeypatch):
    page, frames = Image.new("L", (60, 50)), [Image.new("L", (5, 5))]
    assert isinstance(opened(content(page, "JPEG2000")), IsolatedPages)
    light = [content(page, "PNG"), content(page, "JPEG", progressive=True),
             content(frames[0], "TIFF", save_all=True, append_images=[page])]  # fmt: skip
    assert [isinstance(opened(source), IsolatedPages) for source in light] == [False] * 3
    monkeypatch.setattr(pictures, "_MANY_PIXELS", 2999)
    assert [isinstance(opened(source), IsolatedPages) for source in light] == [True] * 3
    monkeypatch.setattr(pictures, "_MANY_PIXELS", 3000)
    monkeypatch.setattr(pictures, "_MANY_SCANS", 3)
    assert [isinstance(opened(source), IsolatedPages) for source in light] == [False, True, False]


def test_a_process_serves_one_document_after_another(book: Path):
    with open_document(book) as document:
        document.page(0)
        first = document._pages._worker.pid
    with open_document(DATA / "turned.heic") as document:
        assert document._pages._worker.pid == first
        assert document.page(0).shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("number", "told", "hints_at_memory"),
    [
        (signal.SIGSEGV, "its decoder crashed: Segmentation fault", False),
        (signal.SIGABRT, "cannot be decoded within .* crashed: Aborted", True),  # as C++ does without memory
    ],
)
def test_a_lost_process_costs_one_page(book: Path, monkeypatch, number, told, hints_at_memory):
    with open_document(book) as document:
        document.page(0)
        worker = document._pages._worker
        submit = worker.submit

        def crashing(job):
            os.kill(worker.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, worker.pid, os.WSTOPPED)  # it must not have answered before it crashes
            submit(job)
            os.kill(worker.pid, number)
            os.kill(worker.pid, signal.SIGCONT)

        monkeypatch.setattr(worker, "submit", crashing)
        with pytest.raises(ImageError, match=rf"book\.pdf, page 2: {told}") as caught:
            document.page(1)
        assert ("read.max_memory" in caught.value.hint) is hints_at_memory
        assert document.paper_size(1) is None  # not opened again
        monkeypatch.undo()
        assert document.page(2)[20, 15, 0] == pytest.approx(120, abs=2)


def make_pdf(draw: bytes, *more: bytes) -> bytes:
    """One page of 100 x 100 points."""
    parts = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
             b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources "
             b"<< /Pattern << /P 5 0 R >> /XObject << /F 5 0 R >> >> >>",
             b"<< /Length %d >>\nstream\n%b\nendstream" % (len(draw), draw), *more]  # fmt: skip
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%b\nendobj\n" % item for item in enumerate(parts, 1))
    return body + b"trailer\n<< /Size 9 /Root 1 0 R >>\n%%EOF\n"


def test_a_page_that_takes_too_long_is_named_with_the_limit():
    tiny = (
        b"<< /Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep 0.0001 /YStep 0.0001 "
        b"/Resources << >> /Length 12 >>\nstream\n0 0 1 1 re f\nendstream"
    )
    hostile = make_pdf(b"/Pattern cs /P scn 0 0 100 100 re f", tiny)
    with (
        pytest.raises(ImageError, match=r"scan: takes longer than the 1 seconds allowed") as caught,
        open_document(hostile, ReadConfig(max_seconds=1), name="scan") as document,
    ):
        document.page(0)
    assert "read.max_seconds" in (caught.value.hint or "")


def test_a_page_that_unpacks_to_more_than_the_memory_is_named_with_the_limit():
    packer = zlib.compressobj()
    megabytes = [packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    packed = megabytes[0] + 499 * megabytes[1]
    bomb = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(packed), packed)
    hostile = make_pdf(b"", bomb).replace(b"/Contents 4 0 R", b"/Contents 5 0 R")
    with (
        open_document(hostile, ReadConfig(max_memory=250_000_000), name="scan") as document,
        pytest.raises(ImageError, match=r"scan: (cannot be decoded within|needs more than the) 250 MB") as caught,
    ):
        document.page(0)
    assert "read.max_memory" in (caught.value.hint or "")


def test_pixels_that_need_too_much_memory_are_refused_by_the_header():
    claims = bytearray(content(Image.new("RGB", (4, 4)), "PNG"))
    claims[16:24] = struct.pack(">II", 9500, 7000)
    claims[29:33] = struct.pack(">I", zlib.crc32(claims[12:29]))
    with (
        open_document(bytes(claims), ReadConfig(max_memory=250_000_000), name="map") as document,
        pytest.raises(ImageError, match=r"map: 9500 x 7000 pixels need 466 MB of memory, more .* 250 MB") as caught,
    ):
        document.page(0)
    assert "read.max_memory" in (caught.value.hint or "")


def test_ctrl_c_ends_a_page_that_hangs(book: Path, monkeypatch):
    with pytest.raises(KeyboardInterrupt), open_document(book) as document:
        worker = document._pages._worker
        os.kill(worker.pid, signal.SIGSTOP)
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        document.page(0)
    assert worker.pid is None


def test_a_gif_that_claims_more_than_its_bytes_can_hold_is_refused():
    claims = bytearray(content(Image.new("P", (4, 4)), "GIF"))
    at = claims.index(b",") + 5
    claims[6:10] = claims[at : at + 4] = (9000).to_bytes(2, "little") * 2
    with pytest.raises(ImageError, match="9000 x 9000 pixels cannot come of"):
        open_document(bytes(claims)).page(0)


def test_pages_that_are_not_closed_leave_no_process(book: Path):
    pages = IsolatedPages(Opening("pdf", book, ReadConfig(), "book"))
    worker = pages._worker
    del pages
    assert worker.pid is None


def test_a_forked_process_does_not_talk_to_the_one_that_is_kept(book: Path):
    with open_document(book) as document:
        document.page(0)
    assert isolated._kept._worker is not None
    child = os.fork()
    if child == 0:
        os._exit(isolated._kept._worker is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("setting", [{"max_memory": 1}, {"max_seconds": 0}, {"max_seconds": float("nan")}])
def test_limits_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError):
        ReadConfig(**setting)


def test_large_pixels_do_not_depend_on_where_they_are_decoded(monkeypatch):
    pixels = np.random.default_rng(2).integers(0, 255, (50, 60, 4), np.uint8)
    source = content(Image.fromarray(pixels), "PNG")
    here = open_document(source).page(0)
    monkeypatch.setattr(pictures, "_MANY_PIXELS", 1)
    with open_document(source) as document:
        assert (document.page(0) == here).all()
