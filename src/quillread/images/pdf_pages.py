"""PDF files, rendered by PDFium."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from quillread.errors import ImageError
from quillread.images.document import DAMAGED, ReadConfig, check_size
from quillread.types import UInt8Image

_PAGES_KEPT = 16

# PDFium may be called by one thread at a time, whichever documents the calls are about.
_pdfium_lock = threading.Lock()


class PdfPages:
    """Pages of a PDF."""

    def __init__(self, source: Path | bytes, config: ReadConfig, name: str) -> None:
        """Open the file; an `ImageError` if it is broken, encrypted or without pages."""
        # Importing loads a large library that image files do not need.
        import pypdfium2

        self._source = source  # PDFium keeps a pointer into bytes
        self._config = config
        self._name = name
        self._rendered = 0
        with _pdfium_lock:
            self._pdf = pypdfium2.PdfDocument(_load_pdf(source, name))
            self._count = len(self._pdf)

    def __len__(self) -> int:
        """Count the pages."""
        return self._count

    def render(self, index: int, where: str) -> UInt8Image:
        """Render a page, as it is turned for reading."""
        with _pdfium_lock, ExitStack() as stack:
            self._forget()
            page = self._pdf[index]
            stack.callback(page.close)
            _refuse_empty(page, where)
            scale = min(self._config.pdf_dpi / 72, _scan_scale(page))
            width, height = (round(points * scale) for points in page.get_size())
            fitting = int(72 * scale * (self._config.max_pixels / max(1, width * height)) ** 0.5)
            hint = f"set read.pdf_dpi to {fitting} or less, or raise read.max_pixels"
            check_size(width, height, self._config.max_pixels, f"{where}: at {72 * scale:.0f} dpi", hint)
            bitmap = page.render(scale=scale, rev_byteorder=True)
            stack.callback(bitmap.close)
            image: UInt8Image = bitmap.to_numpy().copy()  # the bitmap's memory goes with it
            return image

    def _forget(self) -> None:
        """Open the file anew now and then: PDFium keeps the images of all pages that it has shown."""
        import pypdfium2

        self._rendered += 1
        if self._rendered % _PAGES_KEPT == 0:
            try:
                fresh = pypdfium2.PdfDocument(_load_pdf(self._source, self._name))
            except ImageError:
                return  # the file was moved: what is open still has it
            self._pdf.close()
            self._pdf = fresh

    def paper_size(self, index: int) -> tuple[float, float]:
        """Tell the size of a page."""
        with _pdfium_lock, ExitStack() as stack:
            page = self._pdf[index]
            stack.callback(page.close)
            width, height = page.get_size()
            return float(width), float(height)

    def jpeg(self, index: int) -> None:
        """No page is a file of its own."""

    def close(self) -> None:
        """Release the file."""
        with _pdfium_lock:
            self._pdf.close()


def _load_pdf(source: Path | bytes, name: str) -> Any:
    """Open a PDF by PDFium's own functions: pypdfium2's cannot tell one without pages from a broken one."""
    from pypdfium2 import raw

    if isinstance(source, bytes):
        pdf = raw.FPDF_LoadMemDocument64(source, len(source), None)
    else:
        pdf = raw.FPDF_LoadDocument(str(source).encode("utf-8", "surrogateescape"), None)
    if not pdf and raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD:
        raise ImageError(f"{name}: is encrypted", hint="save a copy without the password and read that")
    if not pdf:
        raise ImageError(f"{name}: is a broken PDF", hint=DAMAGED)
    if raw.FPDF_GetPageCount(pdf) < 1:
        raw.FPDF_CloseDocument(pdf)
        raise ImageError(f"{name}: is a PDF without pages", hint="export it again")
    return pdf


def _refuse_empty(page: Any, where: str) -> None:
    """Refuse a page whose box has no area, which PDFium would render as an empty letter sheet."""
    box = page.get_mediabox(fallback_ok=False)
    if box is not None and (box[2] <= box[0] or box[3] <= box[1]):
        raise ImageError(f"{where}: has no area, its box is {' '.join(f'{v:g}' for v in box)}", hint="export it again")


def _scan_scale(page: Any) -> float:
    """Return the pixels per point of a page that is one scan, infinity for other pages.

    Scanning apps often write pages of 72 dpi: at 300, a photo would become 17 times as large and no clearer.
    Text is allowed beside the scan, as it is usually the invisible layer of an earlier recognition.
    """
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_TEXT

    scan = None
    for item in page.get_objects(max_depth=1):
        if item.type == FPDF_PAGEOBJ_TEXT:
            continue
        if item.type != FPDF_PAGEOBJ_IMAGE or scan is not None:
            return float("inf")
        scan = item
    if scan is None:
        return float("inf")
    left, bottom, right, top = scan.get_bounds()
    area = (right - left) * (top - bottom)
    width, height = page.get_size()
    if area < 0.8 * width * height:
        return float("inf")
    columns, rows = scan.get_px_size()
    # The renderer rounds up: a rounding error here must not cost a resampling by one pixel.
    return float((columns * rows / area) ** 0.5) * (1 - 1e-6)
