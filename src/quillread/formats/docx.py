"""Word documents (DOCX, Office Open XML, ECMA-376): the text as paragraphs, in the least that the format needs.

Written without a library: five small files in a ZIP archive are enough, and pages need not wait in memory.
"""

import zipfile
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import IO, BinaryIO
from xml.sax.saxutils import escape

from quillread.errors import Fault
from quillread.formats.export import DOUBTFUL, UNSURE, words_of
from quillread.formats.xml_io import clean
from quillread.text.marks import MarkKind, find_marks
from quillread.types import DocumentInfo, Line, RegionKind, Scan

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/'
    'vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>'
    '<Override PartName="/word/styles.xml" ContentType="application/'
    'vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
_PARTS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/>'
    "</Relationships>"
)
_NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_STYLES = (
    f"<w:styles {_NAMESPACE}>"
    '<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/><w:basedOn w:val="Normal"/>'
    '<w:next w:val="Normal"/><w:qFormat/><w:pPr><w:keepNext/><w:spacing w:after="120"/><w:outlineLvl w:val="0"/>'
    '</w:pPr><w:rPr><w:b/><w:sz w:val="28"/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/><w:basedOn w:val="Normal"/>'
    '<w:next w:val="Normal"/><w:qFormat/><w:pPr><w:keepNext/><w:outlineLvl w:val="1"/></w:pPr><w:rPr><w:b/></w:rPr>'
    '</w:style><w:style w:type="paragraph" w:customStyle="1" w:styleId="Margin"><w:name w:val="Margin"/>'
    '<w:basedOn w:val="Normal"/><w:pPr><w:ind w:left="5670"/></w:pPr><w:rPr><w:sz w:val="18"/></w:rPr></w:style>'
    "</w:styles>"
)
_BODY = f"<w:document {_NAMESPACE}><w:body>"
_STYLE_OF: dict[RegionKind, str] = {"heading": "Heading2", "margin": "Margin"}
_LINE_BREAK = "<w:r><w:br/></w:r>"


class DocxWriter:
    """Regions are paragraphs whose lines stay lines; each page begins a new page, one that failed says why.

    Pages of a document have headings; headings and margins of a page have styles of their own. Words in doubt are
    marked in yellow, those more likely wrong than right in red.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._open: list[zipfile.ZipFile | IO[bytes]] = [self._archive]

    def begin(self, info: DocumentInfo) -> None:
        """Begin the archive."""
        self._archive.writestr(_file("[Content_Types].xml"), _HEAD + _TYPES)
        self._archive.writestr(_file("_rels/.rels"), _HEAD + _RELATIONS)
        self._archive.writestr(_file("word/_rels/document.xml.rels"), _HEAD + _PARTS)
        self._archive.writestr(_file("word/styles.xml"), _HEAD + _STYLES)
        self._document = self._archive.open(_file("word/document.xml"), "w", force_zip64=True)
        self._open.append(self._document)
        self._document.write((_HEAD + _BODY).encode())
        self._has_headings = info.page_count > 1
        self._is_first = True

    def add(self, scan: Scan) -> None:
        """Write a page."""
        page = scan.page
        if page.fault is not None:
            why = " ".join(str(page.fault).split())
            paragraphs = [("", _run(f"[page {page.number} could not be read: {why}]", italic=True))]
        else:
            regions = ((region.kind, [*filter(None, map(_runs, region.lines))]) for region in page.regions)
            paragraphs = [(_STYLE_OF.get(kind, ""), _LINE_BREAK.join(lines)) for kind, lines in regions if lines]
        if self._has_headings:
            paragraphs.insert(0, ("Heading1", _run(page.title)))
        for number, (style, content) in enumerate(paragraphs or [("", "")]):
            facts = f'<w:pStyle w:val="{style}"/>' if style else ""
            facts += "<w:pageBreakBefore/>" if number == 0 and not self._is_first else ""
            facts = f"<w:pPr>{facts}</w:pPr>" if facts else ""
            self._document.write(f"<w:p>{facts}{content}</w:p>".encode())
        self._is_first = False

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


def _runs(line: Line) -> str:
    """The text of a line, in as few runs as its marks allow."""
    text = line.transcript.text if line.transcript else ""
    if find_marks(text):
        return _marked_runs(text)
    words = [(_mark(word.confidence), word.text) for word in words_of(line)]
    groups = [(mark, " ".join(text for _, text in group)) for mark, group in groupby(words, key=itemgetter(0))]
    # The spaces between runs are not marked.
    return _run(" ").join(_run(text, mark=mark) for mark, text in groups)


_STYLES_OF: dict[MarkKind, str] = {
    "expanded": "<w:i/>",
    "struck": "<w:strike/>",
    "added": '<w:vertAlign w:val="superscript"/>',
}
"""In the order that the schema has for the properties of a run."""


def _marked_runs(text: str, kinds: frozenset[MarkKind] = frozenset()) -> str:
    """A text that an editor has marked: struck out, raised, letters of abbreviations in italics."""
    runs, at = [], 0
    for mark in find_marks(text):
        runs.append(_styled(text[at : mark.start], kinds))
        inner = text[mark.start : mark.stop]
        is_inner = mark.kind != "illegible"
        runs.append(_marked_runs(inner[1:-1], kinds | {mark.kind}) if is_inner else _styled(inner, kinds))
        at = mark.stop
    return "".join([*runs, _styled(text[at:], kinds)])


def _styled(text: str, kinds: frozenset[MarkKind]) -> str:
    style = "".join(properties for kind, properties in _STYLES_OF.items() if kind in kinds)
    style = f"<w:rPr>{style}</w:rPr>" if style else ""
    return f'<w:r>{style}<w:t xml:space="preserve">{escape(clean(text))}</w:t></w:r>' if text else ""


def _mark(confidence: float) -> str:
    return "red" if confidence < DOUBTFUL else "yellow" if confidence < UNSURE else ""


def _run(text: str, italic: bool = False, mark: str = "") -> str:
    style = ("<w:i/>" if italic else "") + (f'<w:highlight w:val="{mark}"/>' if mark else "")
    style = f"<w:rPr>{style}</w:rPr>" if style else ""
    return f'<w:r>{style}<w:t xml:space="preserve">{escape(clean(text))}</w:t></w:r>'
