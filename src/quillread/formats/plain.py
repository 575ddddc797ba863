"""Plain text."""

from typing import BinaryIO

from quillread.formats.export import ExportInfo, Scan


class TextWriter:
    """Each line of writing is a line, with an empty line between regions and between pages.

    A page that could not be read leaves one line in square brackets, which says so: without it the page would seem
    to be blank. Bytes of a file name that are no text are written as escapes.
    """

    def __init__(self, file: BinaryIO, info: ExportInfo) -> None:
        self._file = file
        self._gap = ""

    def add(self, scan: Scan) -> None:
        """Write the text of a page."""
        page = scan.page
        text = page.text if page.error is None else f"[page {page.number} could not be read]"
        if text:
            self._file.write(f"{self._gap}{text}\n".encode(errors="backslashreplace"))
            self._gap = "\n"

    def close(self, error: str | None = None) -> None:
        """Nothing follows the last page."""
