"""Documents on stdout."""

import io
import sys
from typing import BinaryIO

from quillread.formats.export import ExportInfo, Format, Scan


class StdoutSink:
    """Writes a document to stdout, page by page."""

    def __init__(self, stdout: "Stdout", output: Format, info: ExportInfo) -> None:
        stdout.begin()
        self._stdout = stdout
        self._says_errors = output.on_error
        self._writer = output.make(stdout.file, info)

    def add(self, scan: Scan) -> None:
        """Write a page."""
        self._writer.add(scan)
        self._stdout.flush()

    def close(self, error: str | None) -> None:
        """End the document."""
        if error is None or self._says_errors:
            self._writer.close(error)
        self._stdout.flush()

    def abort(self) -> None:
        """What was written cannot be taken back."""


class Stdout:
    """The stdout of a command that writes several documents.

    Args:
        gap: What stands between two of them: texts have an empty line, as between the pages of one.
    """

    def __init__(self, gap: bytes) -> None:
        self.file: BinaryIO = _Gapped(gap)

    def begin(self) -> None:
        """Begin a document."""
        if isinstance(self.file, _Gapped):
            self.file.is_new = True

    def flush(self) -> None:
        """Let it be seen."""
        sys.stdout.flush()


class _Gapped(io.BytesIO):
    """Writes through to stdout, with a gap before the first bytes of each document but the first."""

    def __init__(self, gap: bytes) -> None:
        super().__init__()
        self.is_new = True
        self._gap = gap
        self._is_first = True

    def write(self, content: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        if content and self.is_new:
            if not self._is_first:
                sys.stdout.buffer.write(self._gap)
            self.is_new = self._is_first = False
        return sys.stdout.buffer.write(content)
