"""How a document is opened: here, or in a process of its own."""

import os
from pathlib import Path
from typing import Literal, NamedTuple

from quillread.images.document import Pages, ReadConfig
from quillread.images.pdf_pages import PdfPages
from quillread.images.pictures import PicturePages

_HAS_WORKERS = os.name == "posix"


class Opening(NamedTuple):
    """What a document is opened with."""

    kind: Literal["pdf", "heif", "picture"]
    source: Path | bytes
    config: ReadConfig
    name: str

    def pages(self) -> Pages:
        """Open it in this process; raises any of `FAULTS`, and an ImageError."""
        if self.kind == "pdf":
            return PdfPages(self.source, self.config, self.name)
        return PicturePages(self.source, self.config, heif=self.kind == "heif")


def open_pages(opening: Opening) -> Pages:
    """Open a document here if its header shows that it is easily decoded, else in a process of its own.

    Raises:
        ImageError: If it cannot be opened, and any of `FAULTS`.
    """
    if opening.kind == "picture" or not _HAS_WORKERS:
        pages = opening.pages()
        if not (isinstance(pages, PicturePages) and pages.is_heavy and _HAS_WORKERS):
            return pages
    from quillread.images.isolated import IsolatedPages  # ordinary pictures need no processes

    return IsolatedPages(opening)
