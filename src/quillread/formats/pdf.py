"""Searchable PDF (PDF 1.7, ISO 32000-1): the page image, and over it the text, invisible, words where they stand.

The objects are written by hand, as they come: a few dozen lines are enough, pages need not wait in memory, and no
library that we may depend on has a text layer for any script. As in the PDFs of Tesseract and OCRmyPDF, all characters
share one blank glyph of an embedded font (`assets/glyphless.ttf`: 1000 units, glyph 1 is blank, 500 wide and 1600
high, nothing else); a table to Unicode says what they are. Characters are numbered as they first occur, so there are
no limits of script or plane.
"""

import io
import zlib
from importlib import resources
from typing import BinaryIO

import numpy as np
from PIL import Image

from quillread.errors import Fault
from quillread.formats.export import words_of
from quillread.formats.pdf_words import ASCENT, DESCENT, GLYPH, place_words
from quillread.images.quiet import quiet_pillow
from quillread.types import DocumentInfo, Page, Scan, UInt8Image
from quillread.version import __version__

_A4 = (595.28, 841.89)
_LONGEST = 14400.0
"""Points; readers refuse larger pages (ISO 32000-1, annex C)."""
_CATALOG, _PAGES, _INFO, _FONT, _CID_FONT, _DESCRIPTOR, _FONT_FILE, _TO_UNICODE, _GLYPH_MAP, _PLAIN_FONT = range(1, 11)
_QUALITY = 85
_LONGEST_JPEG = 65_500
"""Pixels of a side that libjpeg encodes."""


class PdfWriter:
    """Pages have the size they have on paper in the source; else the longer side is that of A4.

    A page that failed has its image without text; if that cannot be decoded either, a note. A page that was read, and
    whose image cannot be had, has its text, and a note.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._objects = _Objects(file)
        self._codes: dict[str, int] = {}
        self._kids: list[int] = []

    def begin(self, info: DocumentInfo) -> None:
        """Write the head."""
        self._title = info.source
        self._objects.raw(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")

    def add(self, scan: Scan) -> None:
        """Write a page."""
        objects, size = self._objects, _paper_size(scan)
        number, content = objects.reserve(), objects.reserve()
        needs = f"/Font << /F {_FONT} 0 R /H {_PLAIN_FONT} 0 R >>"
        if scan.image is None and scan.page.fault is not None:
            drawing = _note(f"Page {scan.page.number} could not be read.", size)
        elif scan.image is None:
            note = _note(f"The image of page {scan.page.number} is not available.", size)
            drawing = f"{note}\n{self._text_layer(scan.page, size)}"
        else:
            image = objects.reserve()
            objects.stream(image, *_encode_image(scan.image, scan.jpeg()))
            needs += f" /XObject << /I {image} 0 R >>"
            drawing = f"q {size[0]:.4f} 0 0 {size[1]:.4f} 0 0 cm /I Do Q\n" + self._text_layer(scan.page, size)
        objects.stream(content, "/Filter /FlateDecode", zlib.compress(drawing.encode()))
        box = f"/MediaBox [0 0 {size[0]:.4f} {size[1]:.4f}]"
        entries = f"/Parent {_PAGES} 0 R {box} /Contents {content} 0 R /Resources << {needs} >>"
        objects.dictionary(number, f"/Type /Page {entries}")
        self._kids.append(number)

    def close(self, fault: Fault | None) -> None:
        """Write what all pages share, and the table of objects."""
        objects = self._objects
        kids = " ".join(f"{kid} 0 R" for kid in self._kids)
        objects.dictionary(_CATALOG, f"/Type /Catalog /Pages {_PAGES} 0 R")
        objects.dictionary(_PAGES, f"/Type /Pages /Count {len(self._kids)} /Kids [{kids}]")
        objects.dictionary(_INFO, f"/Producer {_text('quillread ' + __version__)} /Title {_text(self._title)}")
        objects.dictionary(_PLAIN_FONT, "/Type /Font /Subtype /Type1 /BaseFont /Helvetica")
        _write_font(objects, self._codes)
        objects.finish()

    def abort(self) -> None:
        """Nothing is open."""

    def _text_layer(self, page: Page, size: tuple[float, float]) -> str:
        """Operators that write the words of a page, in text rendering mode 3: invisible."""
        scale = (size[0] / page.width, size[1] / page.height)
        placed: list[tuple[str, str]] = []
        for region in page.regions:
            placed += place_words([words_of(line) for line in region.lines], scale, size[1])
        rows = ["BT 3 Tr"]
        for number, (placement, word) in enumerate(placed, start=1):
            # The space belongs to the word, so that a selection has it too; without one at its end, a line is joined to
            # the next in pypdf.
            text = word + (" " if number < len(placed) else "")
            rows.append(f"{placement} <{''.join(f'{self._code(character):04X}' for character in text)}> Tj")
        return "\n".join([*rows, "ET"])

    def _code(self, character: str) -> int:
        known = self._codes.get(character)
        if known is not None:
            return known
        if len(self._codes) >= 0xFFFE or 0xD800 <= ord(character) <= 0xDFFF:
            return self._code("\ufffd")
        return self._codes.setdefault(character, len(self._codes) + 1)


class _Objects:
    """Numbered objects of a file, in the order in which they come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._offsets: dict[int, int] = {}
        self._last = _PLAIN_FONT

    def reserve(self) -> int:
        self._last += 1
        return self._last

    def raw(self, content: bytes) -> None:
        self._file.write(content)
        self._at += len(content)

    def dictionary(self, number: int, entries: str) -> None:
        self._offsets[number] = self._at
        self.raw(f"{number} 0 obj\n<< {entries} >>\nendobj\n".encode("ascii"))

    def stream(self, number: int, entries: str, content: bytes) -> None:
        self._offsets[number] = self._at
        self.raw(f"{number} 0 obj\n<< {entries} /Length {len(content)} >>\nstream\n".encode("ascii"))
        self.raw(content)
        self.raw(b"\nendstream\nendobj\n")

    def finish(self) -> None:
        start = self._at
        rows = [f"{self._offsets[number]:010} 00000 n \n" for number in range(1, self._last + 1)]
        self.raw(f"xref\n0 {self._last + 1}\n0000000000 65535 f \n{''.join(rows)}".encode("ascii"))
        trailer = f"/Size {self._last + 1} /Root {_CATALOG} 0 R /Info {_INFO} 0 R"
        self.raw(f"trailer\n<< {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode("ascii"))


def _paper_size(scan: Scan) -> tuple[float, float]:
    """Width and height in points."""
    page = scan.page
    if scan.points is not None and min(scan.points) > 0:
        width, height = scan.points
    elif min(page.width, page.height) > 0:
        scale = _A4[1] / max(page.width, page.height)
        width, height = page.width * scale, page.height * scale
    else:
        width, height = _A4
    shrink = min(1.0, _LONGEST / max(width, height))
    return max(width * shrink, 1.0), max(height * shrink, 1.0)


def _encode_image(image: UInt8Image, jpeg: bytes | None) -> tuple[str, bytes]:
    """Entries and content of an image: a JPEG file or black and white as it is, other images as JPEG."""
    height, width = image.shape[:2]
    head = f"/Type /XObject /Subtype /Image /Width {width} /Height {height}"
    if jpeg is not None:
        with quiet_pillow, Image.open(io.BytesIO(jpeg)) as source:  # how large it may be was decided on reading
            space = "DeviceGray" if source.mode == "L" else "DeviceRGB"
        return f"{head} /ColorSpace /{space} /BitsPerComponent 8 /Filter /DCTDecode", jpeg
    grey = image[:, :, 0]
    is_grey = bool((grey == image[:, :, 1]).all() and (grey == image[:, :, 2]).all())
    if is_grey and bool(((grey == 0) | (grey == 255)).all()):
        entries = f"{head} /ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /FlateDecode"
        return entries, zlib.compress(np.packbits(grey > 0, axis=1).tobytes())
    buffer = io.BytesIO()
    picture = Image.fromarray(grey if is_grey else image)
    if max(picture.size) > _LONGEST_JPEG:
        picture.thumbnail((_LONGEST_JPEG, _LONGEST_JPEG))
        head = f"/Type /XObject /Subtype /Image /Width {picture.width} /Height {picture.height}"
    picture.save(buffer, "JPEG", quality=_QUALITY)
    space = "DeviceGray" if is_grey else "DeviceRGB"
    return f"{head} /ColorSpace /{space} /BitsPerComponent 8 /Filter /DCTDecode", buffer.getvalue()


def _note(text: str, size: tuple[float, float]) -> str:
    """Operators that write a visible line of ASCII."""
    height = min(12.0, size[0] / len(text))
    return f"BT /H {height:.2f} Tf {size[0] * 0.1:.2f} {size[1] * 0.5:.2f} Td <{text.encode('ascii').hex()}> Tj ET"


def _text(text: str) -> str:
    """A text string: UTF-16 with its mark."""
    return f"<FEFF{text.encode('utf-16-be', 'replace').hex().upper()}>"


def _write_font(objects: _Objects, codes: dict[str, int]) -> None:
    font = resources.files(__package__).joinpath("assets", "glyphless.ttf").read_bytes()
    name = "/BaseFont /QuillreadGlyphless"
    objects.dictionary(
        _FONT,
        f"/Type /Font /Subtype /Type0 {name} /Encoding /Identity-H /DescendantFonts [{_CID_FONT} 0 R] "
        f"/ToUnicode {_TO_UNICODE} 0 R",
    )
    system = "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >>"
    objects.dictionary(
        _CID_FONT,
        f"/Type /Font /Subtype /CIDFontType2 {name} {system} /FontDescriptor {_DESCRIPTOR} 0 R "
        f"/DW {1000 * GLYPH:.0f} /CIDToGIDMap {_GLYPH_MAP} 0 R",
    )
    ascent, descent = 1000 * ASCENT, 1000 * DESCENT
    objects.dictionary(
        _DESCRIPTOR,
        f"/Type /FontDescriptor /FontName /QuillreadGlyphless /Flags 5 /FontBBox [0 {-descent:.0f} {1000 * GLYPH:.0f} "
        f"{ascent:.0f}] /ItalicAngle 0 /Ascent {ascent:.0f} /Descent {-descent:.0f} /CapHeight {ascent:.0f} "
        f"/StemV 80 /FontFile2 {_FONT_FILE} 0 R",
    )
    compressed = "/Filter /FlateDecode"
    objects.stream(_FONT_FILE, f"{compressed} /Length1 {len(font)}", zlib.compress(font))
    objects.stream(_TO_UNICODE, compressed, zlib.compress(_to_unicode(codes).encode("ascii")))
    # Every character is glyph 1, two bytes each.
    objects.stream(_GLYPH_MAP, compressed, zlib.compress(b"\0\1" * (len(codes) + 1)))


def _to_unicode(codes: dict[str, int]) -> str:
    """The table from codes to characters (ISO 32000-1, 9.10.3); sections hold 100 rows at most."""
    rows = [f"<{code:04X}> <{character.encode('utf-16-be').hex().upper()}>" for character, code in codes.items()]
    sections = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    body = "\n".join("\n".join([f"{len(section)} beginbfchar", *section, "endbfchar"]) for section in sections)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        "1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
        f"{body}\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    )
