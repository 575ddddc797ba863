"""The files of a folder and those below it, on any store: those of one folder are in memory at a time, as names."""

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from quillread.batch.cluster.ledger import LEDGER, SETTINGS
from quillread.batch.cluster.store import is_local, patiently, reason_of
from quillread.batch.cluster.tables import raise_first
from quillread.batch.cluster.tasks import FILES, ROOM
from quillread.batch.records import LOG_NAME, written_files
from quillread.errors import DataError
from quillread.files import real_path
from quillread.formats.ground_truth import by_number
from quillread.images.web import is_address

log = logging.getLogger(__name__)

_WRITTEN = (LEDGER, ROOM, FILES)
"""Folders of the target of a batch: what it has written is not read, not even if the target is a folder of pages."""
_KEYS = 1000
"""Files of a bucket that a request lists."""


def walk(files: Any, root: str, hidden: str, depth: int | None = None) -> Iterator[list[str]]:
    """The files below a folder: those of one folder after another, or of a bucket as many as a request lists.

    Args:
        files: Where they are.
        root: The folder.
        hidden: A folder that is not read; empty if there is none.
        depth: Slashes in the longest path that is of interest; None if all are.

    Raises:
        DataError: At the end, if a folder below the first cannot be listed.
    """
    if hasattr(files, "call_s3"):
        yield from _keys(files, root, hidden)
        return
    local = is_local(files)
    # Of a web server a folder is an address that ends with a slash; elsewhere that is left aside.
    end = "/" if is_address(root) else ""
    first = f"{root.rstrip('/')}{end}" or "/"
    waiting, errors = [first], list[DataError]()
    while waiting:
        folder = waiting.pop()
        try:
            found, folders = _look_into(files, folder, end)
        except Exception as error:  # of the store's client
            if folder == first:
                raise
            errors.append(unlisted(folder, error))
            continue
        here = folder.rstrip("/")
        is_target = f"{here}/{LEDGER}" in folders and files.exists(f"{here}/{SETTINGS}")
        skipped = {hidden, *(f"{here}/{name}" for name in _WRITTEN if is_target)}
        if local and Path(folder, LOG_NAME).is_file():
            earlier = written_files(Path(folder))
            found = [name for name in found if real_path(name) not in earlier]
        yield sorted((name for name in found if name not in skipped), key=_by_number)
        if depth is None or here.count("/") + 1 < depth:
            below = (name for name in folders if name not in skipped)
            waiting += (name + end for name in sorted(below, key=_by_number, reverse=True))
    raise_first(errors)


def unlisted(where: str, error: Exception) -> DataError:
    """The error for what a store does not list."""
    hint = "check the address, the permissions and the credentials"
    return DataError(f"{where}: cannot be listed: {reason_of(error)}", hint=hint)


def _by_number(name: str) -> list[str | int]:
    return by_number(Path(name.rpartition("/")[2]))


def _look_into(files: Any, folder: str, end: str) -> tuple[list[str], list[str]]:
    """The files of a folder, and the folders in it; without what is hidden."""
    found, folders = list[str](), list[str]()
    entries = _local_entries(folder) if is_local(files) else _entries(files, folder)
    for name, is_folder in entries:
        if name.rpartition("/")[2].startswith(".") or name == folder.rstrip("/"):
            continue
        if end and (not name.startswith(folder) or ".." in name.split("/")):
            continue  # pages of the web link to whatever they like
        (folders if is_folder else found).append(name)
    return found, folders


def _local_entries(folder: str) -> Iterator[tuple[str, bool]]:
    """Names, and whether they are folders; by scandir, as all that `ls` tells of a million files takes a gigabyte."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{folder.rstrip('/')}/{entry.name}"
            if entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112  a link in a circle is no error here
                if not entry.name.startswith("."):
                    log.warning("%s: is a link to a folder, and not followed", name)
                continue
            yield name, entry.is_dir(follow_symlinks=False)


def _entries(files: Any, folder: str) -> Iterator[tuple[str, bool]]:
    for entry in patiently(partial(files.ls, folder, detail=True)):
        yield str(entry["name"]).rstrip("/"), entry["type"] == "directory"


def _keys(files: Any, root: str, hidden: str) -> Iterator[list[str]]:
    """The keys of a bucket below a prefix: s3fs itself would hold all of them in memory."""
    bucket, prefix, _ = files.split_path(root)
    is_inside = f"{root.rstrip('/')}/".startswith(f"{hidden}/")
    skipped = {f"{hidden}/"} if hidden and not is_inside else set[str]()
    further: dict[str, str] = {}
    while True:
        where = {"Bucket": bucket, "Prefix": f"{prefix.rstrip('/')}/" if prefix else "", "MaxKeys": _KEYS}
        answer = patiently(partial(files.call_s3, "list_objects_v2", **where, **further))
        names = [f"{bucket}/{entry['Key']}" for entry in answer.get("Contents", ())]
        for name in names:  # keys come in order, and that of a ledger before what its batch has written
            if name.endswith(f"/{SETTINGS}"):
                skipped |= {f"{name.removesuffix(SETTINGS)}{folder}/" for folder in _WRITTEN}
        seen = (name for name in names if not any(part.startswith(".") for part in name.split("/")))
        yield [name for name in seen if not name.endswith("/") and not name.startswith(tuple(skipped))]
        if not answer.get("IsTruncated"):
            return
        further = {"ContinuationToken": answer["NextContinuationToken"]}
