"""Word documents (DOCX, Office Open XML, ECMA-376): the text as paragraphs, in the least that the format needs.

Written without a library: three small files in a ZIP archive are enough, and pages need not wait in memory.
"""

import zipfile
from contextlib import suppress
from typing import IO, BinaryIO
from xml.sax.saxutils import escape

from quillread.errors import Fault
from quillread.formats.xml_io import clean
from quillread.types import DocumentInfo, Scan

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/'
    'vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
_BODY = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
_PAGE_BREAK = '<w:br w:type="page"/>'


class DocxWriter:
    """Regions are paragraphs whose lines stay lines; each page begins a new page, one that failed says why."""

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._open: list[zipfile.ZipFile | IO[bytes]] = [self._archive]

    def begin(self, info: DocumentInfo) -> None:
        """Begin the archive."""
        self._archive.writestr(_file("[Content_Types].xml"), _HEAD + _TYPES)
        self._archive.writestr(_file("_rels/.rels"), _HEAD + _RELATIONS)
        self._document = self._archive.open(_file("word/document.xml"), "w", force_zip64=True)
        self._open.append(self._document)
        self._document.write((_HEAD + _BODY).encode())
        self._page_break = ""

    def add(self, scan: Scan) -> None:
        """Write a page."""
        page = scan.page
        if page.fault is not None:
            why = " ".join(str(page.fault).split())
            paragraphs = [_run(f"[page {page.number} could not be read: {why}]", italic=True)]
        else:
            texts = ([t.transcript.text for t in r.lines if t.transcript and t.transcript.text] for r in page.regions)
            paragraphs = ["<w:r><w:br/></w:r>".join(map(_run, lines)) for lines in texts if lines]
        first, *others = paragraphs or [""]
        if self._page_break:
            first = f"<w:r>{self._page_break}</w:r>{first}"
        self._document.write("".join(f"<w:p>{content}</w:p>" for content in (first, *others)).encode())
        self._page_break = _PAGE_BREAK

    def close(self, fault: Fault | None) -> None:
        """End the archive."""
        self._document.write(b"</w:body></w:document>")
        self._document.close()
        self._archive.close()

    def abort(self) -> None:
        """Close the archive while its file is open: it writes when it goes."""
        while self._open:
            with suppress(OSError, ValueError, KeyError):
                self._open.pop().close()


def _file(name: str) -> zipfile.ZipInfo:
    """A file of the archive, without the time: the same reading gives the same document."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _run(text: str, italic: bool = False) -> str:
    style = "<w:rPr><w:i/></w:rPr>" if italic else ""
    return f'<w:r>{style}<w:t xml:space="preserve">{escape(clean(text))}</w:t></w:r>'
