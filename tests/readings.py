"""What the tests of `quill read` share: its call, its results, documents and segmentations made up of bars."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from documents import export
from fakes import bar_line

from quillread.cli.main import main
from quillread.formats.pdf import PdfWriter
from quillread.images.read import open_document
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan


def read(*arguments: str | Path) -> int:
    """Read images of lines."""
    return main(["read", "--lines", *map(str, arguments)])


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents on stdout."""
    return [json.loads(line) for line in text.splitlines()]


def written(folder: Path) -> dict[str, str]:
    """The text of all files of a folder that are not hidden, by their path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def write_document(path: Path, texts: list[str | None]) -> Path:
    """Write a PDF with a line a page; pages without text are damaged."""
    file = io.BytesIO()
    writer = PdfWriter(file)
    writer.begin(DocumentInfo(path.name, len(texts)))
    for number, text in enumerate(texts, 1):
        image = bar_line(text or "dead")
        points = (image.shape[1] * 0.72, image.shape[0] * 0.72) if text else (1.0, 1.0)
        writer.add(Scan(Page("", number, image.shape[1], image.shape[0]), image, points))
    writer.close(None)
    # The writer makes no page without an area.
    path.write_bytes(file.getvalue().replace(b"/MediaBox [0 0 1.0000 1.0000]", b"/MediaBox [0 0 0.0000 0.0000]"))
    return path


def write_segmentation(path: Path, image: str, size: tuple[int, int], name: str = "page") -> None:
    """Write a PAGE or ALTO file of one line, the whole image, with names as eScriptorium gives them."""
    outline = Polygon(((0.0, 0.0), (size[0], 0.0), (size[0], size[1]), (0.0, size[1])))
    line = Line(((0.0, size[1] * 0.9), (size[0], size[1] * 0.9)), outline, None, "eSc_line_1")
    page = Page(image, 1, *size, (Region(outline, (line,), "eSc_block_1"),))
    path.write_bytes(export(name, Scan(page), info=DocumentInfo(image)))


def size_of(text: str) -> tuple[int, int]:
    """Width and height of a line image."""
    height, width, _ = bar_line(text).shape
    return width, height


def sources_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the files that are opened for reading."""
    opened: list[str] = []

    def note(source: Path, *args: Any, **options: Any) -> Any:
        opened.append(str(source))
        return open_document(source, *args, **options)

    monkeypatch.setattr("quillread.reader.open_document", note)
    return opened


def lines_read(monkeypatch: pytest.MonkeyPatch, *, stop_at: int = -1) -> list[int]:
    """Note the widths of the lines that are read; the one after `stop_at` of them meets Ctrl-C."""
    seen: list[int] = []
    read_lines = LineRecognizer.read

    def note(recognizer: LineRecognizer, images: Any) -> Any:
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.extend(image.shape[1] for image in images)
        return read_lines(recognizer, images)

    monkeypatch.setattr(LineRecognizer, "read", note)
    return seen
