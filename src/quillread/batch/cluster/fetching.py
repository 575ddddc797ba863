"""How a worker gets the content of inputs from where they lie."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from quillread.batch.cluster.archives import OpenZip, read_span
from quillread.batch.cluster.store import is_local, open_files, patiently
from quillread.batch.cluster.tasks import Item
from quillread.errors import ImageError
from quillread.images.web import is_address

_MOST_BYTES = 2_000_000_000
"""Of a file of a store."""
_IN_MEMORY = 64_000_000
"""Bytes of a file beyond which it is fetched to the disk."""


class Sources:
    """Gets the content of inputs, and keeps that of the last one, whose pages may be in several tasks.

    Args:
        folder: For large files; that for temporary files if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._key: bytes | None = None
        self._found: Path | str | bytes = b""
        self._zip: OpenZip | None = None
        self._fetched = ExitStack()

    def open(self, item: Item) -> Path | str | bytes:
        """What an input is read from: a path, an address of the web, or content.

        Raises:
            ImageError: If it cannot be had.
        """
        if self._key != item.key:
            self._key = None
            self._fetched.close()
            self._found = self._get(item)
            self._key = item.key
        return self._found

    def close(self) -> None:
        """Let go of files."""
        self._fetched.close()
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def _get(self, item: Item) -> Path | str | bytes:
        if item.span is not None:
            span = item.span
            if span[1] > _MOST_BYTES:
                raise ImageError(f"{item.name}: is larger than {_MOST_BYTES:,} bytes", hint="unpack the archive")
            return patiently(lambda: read_span(item.place, span))
        if item.member:
            return self._unzipped(item)
        if is_address(item.place):
            return item.place
        files, path = open_files(item.place)
        if is_local(files):
            return Path(path)
        size = patiently(lambda: files.size(path))
        if size > _MOST_BYTES:
            raise ImageError(f"{item.name}: is larger than {_MOST_BYTES:,} bytes", hint="split it")
        if size <= _IN_MEMORY:
            content: bytes = patiently(lambda: files.cat_file(path))
            return content
        fetched = tempfile.TemporaryDirectory(prefix="quillread-fetched-", dir=self._folder)
        place = Path(self._fetched.enter_context(fetched), "file")
        patiently(lambda: files.get_file(path, str(place)))
        return place

    def _unzipped(self, item: Item) -> bytes:
        if self._zip is None or self._zip.address != item.place:
            if self._zip is not None:
                self._zip.close()
                self._zip = None
            self._zip = OpenZip(item.place)
        return self._zip.read(item.member, _MOST_BYTES)
