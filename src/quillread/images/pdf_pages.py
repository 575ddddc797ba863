"""PDF files, rendered by PDFium."""

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from quillread.errors import ImageError
from quillread.images.document import DAMAGED, ReadConfig, check_size
from quillread.images.pdf_units import user_units
from quillread.types import UInt8Image

_PAGES_KEPT = 16
_A4 = 11.69
"""Inches of its longer side."""
_USUAL_DPI = 300
_MUCH = 0.25
"""Share of a page that a picture covers without which it is not the page any more."""
_WHITE_SHARE = 0.2
"""Share of white pixels below which no picture can be missing that covers much of the page."""
_FAR = 1e6
"""Beyond the edges of any page, in its units."""

# PDFium may be called by one thread at a time, whichever documents the calls are about.
_pdfium_lock = threading.Lock()


class PdfPages:
    """Pages of a PDF."""

    def __init__(self, source: Path | bytes, config: ReadConfig, name: str) -> None:
        """Open the file; an `ImageError` if it is broken, encrypted or without pages."""
        self._source = source  # PDFium keeps a pointer into bytes
        self._config = config
        self._name = name
        self._rendered = 0
        with _pdfium_lock:
            self._pdf = self._load()
            self._count = len(self._pdf)
        self._units = user_units(source, self._count)

    def __len__(self) -> int:
        """Count the pages."""
        return self._count

    def render(self, index: int, where: str) -> UInt8Image:
        """Render a page, as it is turned for reading."""
        with _pdfium_lock, ExitStack() as stack:
            self._forget()
            page = stack.enter_context(self._page(index))
            _refuse_empty(page, where)
            unit = self._units[index]
            scan_scale = _scan_scale(page)
            least = self._least_scale(page) if scan_scale < float("inf") else 0.0
            scale = min(max(self._config.pdf_dpi * unit / 72, least), scan_scale)
            width, height = (round(units * scale) for units in page.get_size())
            dpi = 72 * scale / unit
            fitting = int(dpi * (self._config.max_pixels / max(1, width * height)) ** 0.5)
            hint = f"set read.pdf_dpi to {fitting} or less"
            memory = 3 * width * height
            check_size(width, height, memory, self._config, f"{where}: at {dpi:.0f} dpi", hint)
            bitmap = page.render(scale=scale, rev_byteorder=True)
            stack.callback(bitmap.close)
            image: UInt8Image = bitmap.to_numpy()  # its memory is Python's, and stays with the array
            # PDFium leaves out a picture that it cannot decode: a damaged scan must not pass for a blank page, nor for
            # one that has but a stamp.
            if (lost := _lost_share(page, image)) > 0 and (lost >= _MUCH or image.min() == image.max()):
                raise ImageError(f"{where}: its picture cannot be decoded", hint=DAMAGED)
            return image

    def _least_scale(self, page: Any) -> float:
        """Return the pixels per unit with which a scan is as long as A4 within the limits: frames of a film are small.

        Who asks for a low resolution gets it.
        """
        if self._config.pdf_dpi < _USUAL_DPI:
            return 0.0
        width, height = page.get_size()
        most = 0.999 * min(self._config.max_pixels, self._config.max_memory / 3)
        return float(min(self._config.pdf_dpi * _A4 / max(width, height), (most / (width * height)) ** 0.5))

    def paper_size(self, index: int) -> tuple[float, float]:
        """Tell the size of a page."""
        with _pdfium_lock, self._page(index) as page:
            width, height = page.get_size()
            return width * self._units[index], height * self._units[index]

    @contextmanager
    def _page(self, index: int) -> Iterator[Any]:
        page = self._pdf[index]
        try:
            if min(page.get_size()) <= 0:  # the part to show lies outside the page: all of the page is shown
                page.set_cropbox(-_FAR, -_FAR, _FAR, _FAR)
            yield page
        finally:
            page.close()

    def _load(self) -> Any:
        # Importing loads a large library that image files do not need.
        import pypdfium2

        pdf = pypdfium2.PdfDocument(_load_pdf(self._source, self._name))
        pdf.init_forms()  # without it, what was filled in and signed is not drawn
        return pdf

    def _forget(self) -> None:
        """Open the file anew now and then: PDFium keeps the images of all pages that it has shown."""
        self._rendered += 1
        if self._rendered % _PAGES_KEPT == 0:
            try:
                fresh = self._load()
            except ImageError:
                return  # the file was moved: what is open still has it
            self._pdf.close()
            self._pdf = fresh

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
    box, crop = page.get_mediabox(fallback_ok=False), page.get_cropbox(fallback_ok=False)
    if box is not None and _has_no_area(box) and (crop is None or _has_no_area(crop)):
        raise ImageError(f"{where}: has no area, its box is {' '.join(f'{v:g}' for v in box)}", hint="export it again")


def _has_no_area(box: tuple[float, float, float, float]) -> bool:
    return box[0] == box[2] or box[1] == box[3]  # corners may come in any order


def _lost_share(page: Any, image: UInt8Image) -> float:
    """Share of a page that pictures cover which cannot be decoded; 0 where the page as it was rendered has them all."""
    from pypdfium2 import PdfiumError, raw

    if image.min() < image.max() and (image[::4, ::4] == 255).all(axis=2).mean() < _WHITE_SHARE:
        return 0.0  # to decode a picture takes its time
    lost = 0.0
    for picture in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE]):
        try:
            picture.get_bitmap()  # it goes at once; to close it by hand makes pypdfium2 warn
        except PdfiumError:
            left, bottom, right, top = picture.get_bounds()
            lost += max((right - left) * (top - bottom), 1e-6)
    width, height = page.get_size()
    return float(lost / (width * height))


def _scan_scale(page: Any) -> float:
    """Return the pixels per unit of a page that is one scan, infinity for other pages.

    Scanning apps often write pages of 72 dpi: at 300, a photo would become 17 times as large and no clearer.
    Text that is not seen is allowed beside the scan: it is the layer of an earlier recognition. What is seen on top of
    a picture is sharper than the picture, which may be no more than the texture of paper.
    """
    from pypdfium2 import raw

    scan = None
    for item in page.get_objects(max_depth=1):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE and scan is None:
            scan = item
        elif item.type != raw.FPDF_PAGEOBJ_TEXT or (scan is not None and _is_seen(item)):
            return float("inf")
    if scan is None or _has_drawings(page):
        return float("inf")
    left, bottom, right, top = scan.get_bounds()
    area = (right - left) * (top - bottom)
    width, height = page.get_size()
    if area < 0.8 * width * height:
        return float("inf")
    columns, rows = scan.get_px_size()
    a, b, c, d, _, _ = scan.get_matrix().get()
    across, down = columns / max(math.hypot(a, b), 1e-6), rows / max(math.hypot(c, d), 1e-6)
    # A fax has half as many rows as columns: the finer direction counts.
    is_even = max(across, down) < 1.02 * min(across, down)
    scale = (columns * rows / area) ** 0.5 if is_even else max(across, down)
    # The renderer rounds up: a rounding error here must not cost a resampling by one pixel.
    return float(scale) * (1 - 1e-6)


def _is_seen(text: Any) -> bool:
    """Tell whether a piece of text is drawn; one that comes before the scan is covered by it."""
    from pypdfium2 import raw

    unseen = (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
    return raw.FPDFTextObj_GetTextRenderMode(text.raw) not in unseen


def _has_drawings(page: Any) -> bool:
    """Tell whether annotations are drawn on a page: ink, stamps, form fields; all but links and what pops up."""
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, number)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind not in (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP):
            return True
    return False
