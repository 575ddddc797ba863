"""Zips and tars of pages: what is in them, and the content of one file, without unpacking them."""

import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from quillread.batch.cluster.store import ending_of, open_files, open_patiently, reason_of, without_query
from quillread.errors import DataError, ImageError

ARCHIVES = (".zip", ".tar")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, EOFError, ValueError, RuntimeError, OSError)
_AHEAD = 65_536
"""Bytes read at a time while an archive is listed."""


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    span: tuple[int, int] | None
    """First byte and number of bytes, in a tar."""


def refuse_packed(address: str) -> None:
    """Refuse kinds of archives whose files cannot be read one by one.

    Raises:
        DataError: If an address names such.
    """
    if without_query(address).lower().endswith(_PACKED):
        hint = "unpack it, or pack the pages as a zip or an uncompressed tar"
        raise DataError(f"{address}: a page in it cannot be read without unpacking all before it", hint=hint)


def members(address: str) -> Iterator[Member]:
    """List the files of a zip or tar, in its order.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        # Without much read ahead: of a tar on a store, headers are a small part.
        with open_patiently(address, _AHEAD) as file:
            if ending_of(address) == ".zip":
                with zipfile.ZipFile(file) as archive:
                    yield from (Member(info.filename, None) for info in archive.infolist() if not info.is_dir())
                return
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it keeps all that it has seen
                    if info.isreg() and not info.issparse():
                        yield Member(info.name, (info.offset_data, info.size))
                _check_end(file, tar.offset)
    except _DAMAGED as error:
        raise DataError(f"{address}: cannot be read: {reason_of(error)}", hint="make the archive again") from error


def _check_end(file: IO[bytes], offset: int) -> None:
    """Tell an end from damage: tarfile ends at both without a word, unless they are where it begins."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise EOFError("it is cut off")
    if any(block):
        raise EOFError(f"it is damaged at byte {offset:,}")


class OpenZip:
    """A zip whose files are read one after another."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._file = open_patiently(address)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def read(self, name: str, most: int) -> bytes:
        """Content of a file.

        Raises:
            ImageError: If it is damaged, or larger than `most` bytes.
        """
        where = f"{self.address}, {name}"
        try:
            info = self._zip.getinfo(name)
            if info.file_size > most:
                raise ImageError(f"{where}: is larger than {most:,} bytes", hint="unpack the zip")
            return self._zip.read(info)
        except (KeyError, *_DAMAGED) as error:
            raise ImageError(f"{where}: cannot be read: {reason_of(error)}", hint="make the zip again") from error

    def close(self) -> None:
        """Close it."""
        self._zip.close()
        self._file.close()


def read_span(address: str, span: tuple[int, int]) -> bytes:
    """Content of a file in a tar."""
    files, path = open_files(address)
    first, size = span
    content: Any = files.cat_file(path, start=first, end=first + size)
    if len(content) != size:
        raise ImageError(f"{address}: ends within a file", hint="copy the archive again")
    return bytes(content)
