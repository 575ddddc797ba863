"""The inputs of a batch, listed as a stream: folders, patterns, tables, archives and IIIF collections on any store."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from quillread.batch.cluster.archives import ARCHIVES, members, refuse_packed
from quillread.batch.cluster.collections import lies_beside, list_manifests, parse_collection
from quillread.batch.cluster.ledger import LEDGER, SETTINGS
from quillread.batch.cluster.store import is_local, open_files, patiently, reason_of
from quillread.batch.cluster.tables import TABLES, Table, raise_first
from quillread.batch.cluster.tasks import FILES, ROOM, Item
from quillread.batch.inputs import Input, address_stem, file_stem, with_own_stems
from quillread.batch.records import LOG_NAME, written_files
from quillread.errors import DataError, Fault, ImageError
from quillread.files import real_path
from quillread.formats.ground_truth import by_number
from quillread.images.exchange import fetch
from quillread.images.iiif import names_manifest
from quillread.images.read import is_readable_name
from quillread.images.web import WebConfig, WebPolicy, is_address, parse_address

log = logging.getLogger(__name__)

_MAGIC = re.compile(r"[*?\[]")
_WRITTEN = (LEDGER, ROOM, FILES)
"""Folders of the target of a batch: what it has written is not read, not even if the target is a folder of pages."""
_KEYS = 1000
"""Files of a bucket that a request lists."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is read.

    Attributes:
        types: Of the columns that tables have beside the addresses, by name.
    """

    arguments: tuple[str, ...]
    """As the user gave them."""
    column: str | None = None
    """Of tables: which column holds the addresses."""
    web: WebConfig = field(default_factory=WebConfig)
    hidden: str = ""
    """A folder that is written into, and so is not read."""

    def types(self) -> dict[str, str]:
        """The types of the columns that tables bring along; a column of several types becomes text.

        Raises:
            DataError: If a table cannot be read.
            UsageError: If it has no column of addresses.
        """
        found: dict[str, str] = {}
        for argument in self.arguments:
            if _ending(argument) in TABLES:
                for name, kind in Table(argument, self.column).types.items():
                    found[name] = kind if found.get(name, kind) == kind else "string"
        return found

    def items(self) -> Iterator[Item]:
        """List the inputs, in order, as they are found. Doubles are not noticed here.

        Raises:
            DataError: At the end, if an argument holds nothing to read, or a part of it cannot be listed.
        """
        errors: list[DataError] = []
        for argument in self.arguments:
            found = 0
            try:
                for item in self._of(argument):
                    found += 1
                    yield item
                if not found:
                    hint = "name another folder, pattern or table"
                    raise DataError(f"{argument}: holds no images or PDFs", hint=hint)
            except DataError as error:
                errors.append(error)
        raise_first(errors)

    def _of(self, argument: str) -> Iterator[Item]:
        refuse_packed(argument)
        if _ending(argument) in TABLES:
            return self._table(argument)
        if _ending(argument) in ARCHIVES:
            return _archive(argument)
        if is_address(argument) and not _MAGIC.search(argument) and not argument.endswith("/"):
            return self._address(argument)
        return self._files(argument)

    def _table(self, argument: str) -> Iterator[Item]:
        table = Table(argument, self.column)
        types, folder = self.types(), argument.rpartition("/")[0]
        for number, (address, values) in enumerate(table.rows(), 1):
            columns = {
                name: value if value is None or types[name] == table.types[name] else str(value)
                for name, value in values.items()
            }
            if address is None:
                name = f"{argument}, row {number}"
                fault = Fault("input", f"{name}: names no address", "fill the cell or drop the row")
                yield Item(name, f"{_absolute(argument)}#{number}", f"row-{number}", columns, fault=fault)
            else:
                place = address if "://" in address or not folder else f"{folder}/{address}"
                place = address if address.startswith("/") else place
                stem = address_stem(address) if "://" in address else file_stem(Path(address))
                yield Item(address, _absolute(place), str(stem.with_suffix("")), columns)

    def _address(self, address: str) -> Iterator[Item]:
        stem = str(address_stem(address).with_suffix(""))
        if is_readable_name(Path(PurePosixPath(address).name)):
            yield Item(address, address, stem)
            return
        given = parse_address(address)
        policy = WebPolicy(self.web.allow or "named", given)
        try:
            collection = parse_collection(fetch(address, self.web, policy))
        except ImageError as error:
            raise DataError(error.message, hint=error.hint) from error
        if collection is None:
            yield Item(address, address, stem)
            return
        yield from self._manifests(collection, address, address)

    def _manifests(self, collection: dict[str, Any], name: str, given: str | None) -> Iterator[Item]:
        for manifest in list_manifests(collection, name, self.web, given):
            stem = str(address_stem(manifest).with_suffix(""))
            yield Item(manifest, manifest, stem, is_named=lies_beside(manifest, given))

    def _files(self, argument: str) -> Iterator[Item]:
        files, path = open_files(argument)
        local = is_local(files)
        if not argument:
            raise DataError("'' is not the name of a folder", hint="check the variables in the command")

        def name_of(found: str) -> str:
            """How the user would have named a file that was found."""
            if argument.startswith(path) or not local:
                return found if local else str(files.unstrip_protocol(found))
            given = argument if not _MAGIC.search(argument) else _root_of(argument)
            rest = found.removeprefix(_root_of(path)).lstrip("/")
            return f"{given.rstrip('/')}/{rest}" if "://" in given else str(Path(given, rest))

        try:
            kind = "directory" if _is_listing(argument) else _kind_of(files, path)
            if _MAGIC.search(path) and kind is None:
                matches = re.compile(fsspec.utils.glob_translate(path))
                chosen = (
                    [found for found in group if matches.fullmatch(found)]
                    for group in self._walk(files, _root_of(path) or "/", local, _depth_of(path))
                )
                yield from _with_stems(chosen, name_of, files, lambda found: file_stem(Path(found)))
            elif kind == "directory":
                groups = self._walk(files, path, local)
                chosen = ([found for found in group if _is_page(found, local)] for group in groups)
                root = path.rstrip("/") + "/"
                yield from _with_stems(chosen, name_of, files, lambda found: Path(found.removeprefix(root)))
            elif kind is not None:
                yield from self._file(argument, path, local, files)
            else:
                raise DataError(f"{argument}: no such file or folder", hint="check the path")
        except DataError:
            raise
        except Exception as error:  # stores raise the errors of their clients, which have no base in common
            raise _unlisted(argument, error) from error

    def _file(self, argument: str, path: str, local: bool, files: Any) -> Iterator[Item]:
        if local and names_manifest(Path(path)):
            collection = parse_collection(Path(path).read_bytes())
            if collection is not None:
                yield from self._manifests(collection, argument, None)
                return
        place = argument if "::" in argument else _place(files, path)
        yield Item(argument, place, str(file_stem(Path(path)).with_suffix("")))

    def _walk(self, files: Any, root: str, local: bool, depth: int | None = None) -> Iterator[list[str]]:
        """The files below a folder: those of one folder after another, or of a bucket as many as a request lists.

        Args:
            files: Where they are.
            root: The folder.
            local: Whether it is on this machine.
            depth: Slashes in the longest path that is of interest; None if all are.

        Raises:
            DataError: At the end, if a folder below the first cannot be listed.
        """
        if hasattr(files, "call_s3"):
            yield from _keys(files, root, self.hidden)
            return
        # Of a web server a folder is an address that ends with a slash; elsewhere that is left aside.
        end = "/" if is_address(root) else ""
        first = f"{root.rstrip('/')}{end}" or "/"
        waiting, errors = [first], list[DataError]()
        while waiting:
            folder = waiting.pop()
            list_folder = partial(files.ls, folder, detail=True)
            try:
                entries = list_folder() if local else patiently(list_folder)
            except Exception as error:  # of the store's client
                if folder == first:
                    raise
                errors.append(_unlisted(folder, error))
                continue
            is_target = any(str(entry["name"]).rstrip("/").endswith(f"/{LEDGER}") for entry in entries)
            is_target = is_target and files.exists(f"{folder.rstrip('/')}/{SETTINGS}")
            found, folders = [], []
            for entry in entries:
                name = str(entry["name"]).rstrip("/")
                last = name.rsplit("/", 1)[-1]
                if last.startswith(".") or name == self.hidden or (is_target and last in _WRITTEN):
                    continue
                if end and (not name.startswith(folder) or ".." in name.split("/")):
                    continue  # pages of the web link to whatever they like
                if entry["type"] == "directory":
                    if entry.get("islink"):
                        log.warning("%s: is a link to a folder, and not followed", name)
                    elif depth is None or name.count("/") < depth:
                        folders.append(name + end)
                elif name != folder.rstrip("/"):
                    found.append(name)
            if local and Path(folder, LOG_NAME).is_file():
                earlier = written_files(Path(folder))
                found = [name for name in found if real_path(name) not in earlier]
            yield sorted(found, key=lambda name: by_number(Path(name)))
            waiting += sorted(folders, key=lambda name: by_number(Path(name)), reverse=True)
        raise_first(errors)


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


def _with_stems(
    groups: Iterator[list[str]], name_of: Callable[[str], str], files: Any, stem_of: Callable[[str], Path]
) -> Iterator[Item]:
    for group in groups:
        entries = with_own_stems([Input(found, stem_of(found)) for found in group])
        yield from (Item(name_of(e.name), _place(files, e.name), e.stem.as_posix()) for e in entries)


def _archive(argument: str) -> Iterator[Item]:
    place = _absolute(argument)
    for member in members(argument):
        path = PurePosixPath(member.name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not hidden and is_readable_name(Path(path.name)):
            # Named as fsspec names a file in an archive.
            name = f"{_ending(argument)[1:]}://{member.name}::{argument}"
            stem = PurePosixPath(*[part for part in path.parts if part not in ("/", "..")]).with_suffix("")
            yield Item(name, place, str(stem), {}, "" if member.span else member.name, member.span)


def _is_listing(argument: str) -> bool:
    """Whether an address is that of a folder of a web server: it looks like a file to fsspec."""
    return is_address(argument) and argument.endswith("/") and not _MAGIC.search(argument)


def _kind_of(files: Any, path: str) -> str | None:
    """What a path is: a "file", a "directory" or nothing. Not by `isdir`, which lists all of a bucket's folder."""
    try:
        return str(patiently(partial(files.info, path))["type"])
    except FileNotFoundError:
        return None


def _ending(argument: str) -> str:
    return PurePosixPath(argument.partition("?")[0] if is_address(argument) else argument).suffix.lower()


def _absolute(address: str) -> str:
    if "://" not in address:
        return os.path.abspath(address)  # noqa: PTH100  a list may have millions, and this is quick
    # One in an archive, as fsspec writes it, names two places: zip://page.png::/scans/pages.zip.
    is_local_address = address.startswith(("file://", "local://"))
    return _place(*open_files(address)) if is_local_address else address


def _place(files: Any, path: str) -> str:
    return path if is_local(files) else str(files.unstrip_protocol(path))


def _root_of(pattern: str) -> str:
    """The part of a pattern before the first folder or name that has signs of patterns."""
    found = _MAGIC.search(pattern)
    return pattern[: found.start()].rpartition("/")[0] if found else pattern


def _depth_of(pattern: str) -> int | None:
    """Slashes in the paths that match a pattern; None if there may be any number."""
    return None if "**" in pattern else pattern.count("/")


def _unlisted(where: str, error: Exception) -> DataError:
    hint = "check the address, the permissions and the credentials"
    return DataError(f"{where}: cannot be listed: {reason_of(error)}", hint=hint)


def _is_page(name: str, local: bool) -> bool:
    path = Path(name)
    return is_readable_name(path) or (local and path.suffix.lower() == ".json" and names_manifest(path))


def absolute_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments as a ledger holds them: paths of this machine made absolute."""
    return tuple(map(_absolute, arguments))
