"""Model folders in zips: packed the same way every time, unpacked with limits, and looked at before they are kept."""

import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from quillread.errors import ModelError, OutputError, WorkerError
from quillread.models.catalog import ModelEntry, describe, is_model_file
from quillread.models.trocr.onnx_folder import is_exported
from quillread.models.trocr.settings import GenerateChanges
from quillread.models.trocr.trust import check_settings
from quillread.processes import Limits, Worker
from quillread.recognize.ensemble import LineReader
from quillread.recognize.load import load
from quillread.serve.faults import RequestError, TooLargeError

_MOST_FILES = 1_000
_MOST_DIRECTORY = 1_000_000
"""Bytes of the list of files at the end of a zip, which is read whole."""
_PICKLES = re.compile(r".*\.(bin|pt|pth|pkl|pickle|ckpt|h5|msgpack|npy|npz|joblib)", re.IGNORECASE)
_CODE = re.compile(r".*\.(py|pyc|pyd|so|dll|dylib|exe|sh|bat|ps1|jar|js)", re.IGNORECASE)
_HINT = "zip the folder of a model, as quill train writes it"
_TRIAL_MEMORY, _TRIAL_SECONDS = 4_000_000_000, 60
"""What it may take to load an ONNX model and to read an empty line with it, in bytes beside its weights."""


@contextmanager
def unpacked(file: BinaryIO | Path, beside: Path, most_bytes: int) -> Iterator[Path]:
    """Unpack a zip of a model into a folder that goes at the end, unless it is moved before.

    What no model needs is skipped; pickles and programs are refused rather than skipped, as a model that brings them
    may not work without them.

    Args:
        file: The zip; its files lie at the top, or in one folder.
        beside: Folder to make that of the model in.
        most_bytes: Of all its files together.

    Raises:
        RequestError: If it is not a zip, is damaged, or holds what a zip of a model does not.
        TooLargeError: If it holds too much.
        OutputError: If there is no space.
    """
    folder = Path(tempfile.mkdtemp(dir=beside, prefix=".new-"))
    try:
        with _opened(file) as archive:
            for name, info in _chosen(archive, most_bytes).items():
                with archive.open(info) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        yield folder
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise RequestError(f"the zip is damaged: {error}", hint=_HINT) from error
    except OSError as error:
        raise OutputError(f"the model cannot be unpacked: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def packed(folder: Path) -> Iterator[Path]:
    """Pack a model folder into a zip beside it, which goes at the end: equal folders give equal zips."""
    with tempfile.NamedTemporaryFile(dir=folder.parent, prefix=".pack-") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(path for path in folder.iterdir() if path.is_file() and is_model_file(path.name)):
                info = zipfile.ZipInfo(path.name)
                with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        file.flush()
        yield Path(file.name)


def check_model(folder: Path) -> ModelEntry:
    """Look at an unpacked model: that it is whole, names no code, and if it is an ONNX file, that it reads a line.

    Raises:
        ModelError: Saying what is wrong with it, without the path of the folder.
    """
    try:
        entry = describe(str(folder))
        if entry.info.family == "trocr" and not is_exported(folder):
            check_settings(folder)
        else:
            _try(entry)
    except ModelError as error:
        raise ModelError(_without(folder, error.message), hint=error.hint and _without(folder, error.hint)) from error
    except WorkerError as error:
        raise ModelError(f"the model cannot be loaded: {error.message}", hint="copy the folder again") from error
    return entry


def _opened(file: BinaryIO | Path) -> zipfile.ZipFile:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            _check_directory(opened)
    else:
        _check_directory(file)
    return zipfile.ZipFile(file)


def _check_directory(file: BinaryIO) -> None:
    """Look at the end of a zip before `zipfile` reads the list of its files, which may be of any length."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557))  # with the longest comment (PKWARE's APPNOTE, 4.3.16)
    end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        raise RequestError("the file is not a zip", hint=_HINT)
    length = int.from_bytes(end[place + 12 : place + 16], "little")
    if length > _MOST_DIRECTORY or b"PK\x06\x07" in end[max(0, place - 20) : place]:
        raise TooLargeError(f"a zip of a model may hold {_MOST_FILES:,} files and 4 GB", hint=_HINT)


def _chosen(archive: zipfile.ZipFile, most_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip that belong to the model, by name.

    Raises:
        RequestError: If there is anything in it that must not be there.
        TooLargeError: If they are too many or too large.
    """
    files = [info for info in archive.infolist() if not info.is_dir() and not _is_of_system(info.filename)]
    if len(files) > _MOST_FILES:
        raise TooLargeError(f"the zip holds {len(files):,} files, {_MOST_FILES:,} are allowed", hint=_HINT)
    total = sum(info.file_size for info in files)
    if total > most_bytes:
        raise TooLargeError(f"the zip holds {total:,} bytes, {most_bytes:,} are allowed")
    chosen: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in files:
        path = _checked(info)
        folders.add(path.parent)
        if path.name in chosen:
            raise RequestError(f"the zip holds two files {path.name!r}", hint=_HINT)
        if is_model_file(path.name):
            chosen[path.name] = info
    if len(folders) > 1:
        raise RequestError(f"the zip holds {len(folders)} folders of files, a model has one", hint=_HINT)
    if not chosen:
        raise RequestError("the zip holds no file of a model", hint=_HINT)
    return chosen


def _checked(info: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a file within a zip; how it is stored and what it is called are looked at."""
    name, mode = info.filename, info.external_attr >> 16
    path = PurePosixPath(name)
    if not name.isprintable() or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts:
        raise RequestError(f"the zip holds a file {name!r}, whose name leads out of it", hint=_HINT)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise RequestError(f"{name!r} in the zip is a link or a device, not a file", hint=_HINT)
    if info.flag_bits & 1:
        raise RequestError(f"{name!r} in the zip is encrypted", hint="zip the folder without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RequestError(f"{name!r} in the zip is compressed in a way that is not supported", hint="use deflate")
    if _PICKLES.fullmatch(path.name):
        hint = "turn weights into safetensors: quill models convert FOLDER DEST; drop other pickles"
        raise RequestError(f"{name!r} in the zip may be a pickle, which can run code when it is read", hint=hint)
    if _CODE.fullmatch(path.name):
        raise RequestError(f"{name!r} in the zip is a program; a model brings none", hint=_HINT)
    return path


def _is_of_system(name: str) -> bool:
    """Whether a file is one that a file manager adds to each zip."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name in (".DS_Store", "Thumbs.db", "desktop.ini")


def _without(folder: Path, message: str) -> str:
    return message.replace(f"{folder}/", "").replace(str(folder), "the model")


def _try(entry: ModelEntry) -> None:
    # A network that has not learnt to end its lines would fill all positions of one.
    shortest = GenerateChanges(max_tokens=1, draft=False) if entry.info.family == "trocr" else None
    make = partial(load, str(entry.folder), threads=1, generate=shortest)
    # The weights are in memory twice while they are loaded.
    limits = Limits(memory=_TRIAL_MEMORY + 2 * entry.size, seconds=_TRIAL_SECONDS)
    with Worker(make, _look, limits=limits, threads=1) as worker:
        worker.submit(None)
        outcome = worker.result()
    if outcome.error is not None:
        raise outcome.error


def _look(reader: LineReader, _: None) -> None:
    reader.read([np.full((64, 256, 3), 255, np.uint8)])
