"""Zips of pages: looked at before anything is unpacked, and unpacked within limits to no place beyond a folder."""

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from quillread.errors import OutputError
from quillread.files import storable_name
from quillread.images.read import is_readable_name
from quillread.serve.config import ServeLimits
from quillread.serve.faults import RequestError, TooLargeError

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_METS = "mets.xml"
_DIRECTORY_ENTRY = 1_000
"""Bytes of an entry in the list of files, with its name; most have 100."""
_MOST_RATIO = 100
"""Of large zips, unpacked to packed: images hardly shrink, blank pages and XML do."""
_LARGE = 1_000_000_000
_LONGEST_NAME = 200
"""Bytes of the name of a file or folder; file systems take 255."""
_MOST_FOLDERS = 15
"""That a file lies in; each has a name of at most `_LONGEST_NAME`, and paths end at 4,096 bytes."""
_HINT = "make the zip again, of images and their PAGE or ALTO files"


def check_zip(path: Path, limits: ServeLimits) -> None:
    """Look at what a zip says that it holds; it cannot hold more.

    Raises:
        RequestError: If it is damaged, or holds links, archives, or names that lead out of it.
        TooLargeError: If it holds too much.
    """
    with _opened(path, limits) as archive:
        _chosen(archive, path.stat().st_size, limits)


def unpack_zip(path: Path, folder: Path, limits: ServeLimits) -> list[Path]:
    """Unpack the images and XML files of a zip; what is of another kind is skipped.

    Args:
        path: The zip.
        folder: Empty; it gets the folders of the zip.
        limits: Of files and bytes.

    Returns:
        The files, in the order of the zip. Names too long for a file system are cut, those of equal beginnings alike.

    Raises:
        RequestError: See `check_zip`; or if a file in it is damaged.
        TooLargeError: If it holds too much.
        OutputError: If there is no space.
    """
    with _opened(path, limits) as archive:
        chosen = _chosen(archive, path.stat().st_size, limits)
        targets = []
        for name, info in chosen.items():
            target = folder.joinpath(*map(cut_name, name.parts))
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
            except FileExistsError as error:
                raise RequestError(f"the zip holds {str(name)!r} twice", hint=_HINT) from error
            except OSError as error:
                raise OutputError(f"the zip cannot be unpacked: {error.strerror or error}") from error
            targets.append(target)
    return targets


def cut_name(name: str) -> str:
    """A name that any file system takes; the same for equal names, and with the same suffix."""
    name = storable_name(name)
    if len(name.encode("utf-8", "surrogatepass")) <= _LONGEST_NAME:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, dot, suffix = name, "", ""
    digest = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{stem[:40]}~{digest}{dot}{suffix}"


@contextmanager
def _opened(path: Path, limits: ServeLimits) -> Iterator[zipfile.ZipFile]:
    try:
        with path.open("rb") as file:
            _check_directory(file, limits)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        raise RequestError(f"the zip is damaged: {error}", hint=_HINT, code="zip-damaged") from error


def _check_directory(file: BinaryIO, limits: ServeLimits) -> None:
    """Look at the end of a zip before `zipfile` reads the list of its files, which may be of any length.

    Specification: PKWARE's APPNOTE, 4.3.14 to 4.3.16.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557))
    end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        raise RequestError("the zip is damaged: it has no end", hint="upload it again", code="zip-damaged")
    count, length = (int.from_bytes(end[place + at : place + at + n], "little") for at, n in ((10, 2), (12, 4)))
    if end[max(0, place - 20) : place].startswith(b"PK\x06\x07"):
        file.seek(min(size, int.from_bytes(end[place - 12 : place - 4], "little")))
        wide = file.read(56)
        if not wide.startswith(b"PK\x06\x06"):
            message = "the zip is damaged: its end is not where it says"
            raise RequestError(message, hint="upload it again", code="zip-damaged")
        count, length = (int.from_bytes(wide[at : at + 8], "little") for at in (32, 40))
    if count > 2 * limits.archive_files or length > 2 * limits.archive_files * _DIRECTORY_ENTRY:
        message = f"the zip holds more than {limits.archive_files:,} files"
        raise TooLargeError(message, hint="make several of it", code="zip-too-large")


def _chosen(archive: zipfile.ZipFile, packed: int, limits: ServeLimits) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The images and XML files of a zip by their paths in it."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > limits.archive_files:
        message = f"the zip holds {len(files):,} files, and {limits.archive_files:,} are allowed"
        raise TooLargeError(message, hint="make several of it", code="zip-too-large")
    total = sum(info.file_size for info in files)
    if total > limits.archive_bytes or (total > _LARGE and total > _MOST_RATIO * packed):
        message = f"the zip of {packed:,} bytes holds {total:,}, more than is allowed"
        raise TooLargeError(message, hint="make several of it", code="zip-too-large")
    chosen = {}
    for info in files:
        name = _checked(info)
        if not any(part.startswith((".", "__MACOSX")) for part in name.parts) and _is_wanted(name):
            chosen[name] = info
    return chosen


def _is_wanted(name: PurePosixPath) -> bool:
    return is_readable_name(Path(name.name)) or (name.suffix.lower() == ".xml" and name.name.lower() != _METS)


def _checked(info: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a file within a zip; how it is stored and what it is called are looked at."""
    name = info.filename if "/" in info.filename else info.filename.replace("\\", "/")  # zips of old Windows tools
    path = PurePosixPath(name)
    shown = repr(info.filename[:200])
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise RequestError(f"the zip holds a file {shown}, whose name leads out of it", hint=_HINT)
    if len(path.parts) > _MOST_FOLDERS:
        raise RequestError(f"the zip holds a file {shown}, in more than {_MOST_FOLDERS} folders", hint=_HINT)
    if any(ord(character) < 32 for character in name):
        raise RequestError(f"the zip holds a file {shown}, whose name has control characters", hint=_HINT)
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise RequestError(f"{shown} in the zip is a link or a device, not a file", hint=_HINT)
    if info.flag_bits & 1:
        hint = "make it without a password"
        raise RequestError(f"{shown} in the zip is encrypted", hint=hint, code="zip-encrypted", name=shown)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RequestError(f"{shown} in the zip is compressed in a way that is not supported", hint="use deflate")
    if path.suffix.lower() in _ARCHIVES:
        hint = "unpack it, and upload its parts"
        raise RequestError(f"{shown} in the zip is an archive itself", hint=hint, code="zip-in-zip", name=shown)
    return path
