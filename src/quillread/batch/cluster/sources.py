"""The inputs of a batch, listed as a stream: folders, patterns, tables, archives and IIIF collections on any store."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np

from quillread.batch.cluster.archives import ARCHIVES, members, refuse_packed
from quillread.batch.cluster.collections import lies_beside, list_manifests, parse_collection
from quillread.batch.cluster.store import ending_of, is_local, open_files, patiently, without_query
from quillread.batch.cluster.tables import TABLES, Table, raise_first
from quillread.batch.cluster.tasks import Item
from quillread.batch.cluster.walking import unlisted, walk
from quillread.batch.inputs import address_stem, file_stem
from quillread.errors import DataError, Fault, ImageError, UsageError
from quillread.images.exchange import fetch
from quillread.images.iiif import names_manifest
from quillread.images.read import is_readable_name
from quillread.images.web import WebConfig, WebPolicy, is_address, parse_address

_MAGIC = re.compile(r"[*?\[]")


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
            UsageError: If it has no column of addresses, or there is no table where one of its columns is named.
        """
        found: dict[str, str] = {}
        tables = [argument for argument in self.arguments if ending_of(argument) in TABLES]
        if self.column is not None and not tables:
            message = f"--column {self.column}: SOURCE names no table ({', '.join(TABLES)})"
            raise UsageError(message, hint="drop --column, or name the table")
        for argument in tables:
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
        if ending_of(argument) in TABLES:
            return self._table(argument)
        if ending_of(argument) in ARCHIVES:
            return _archive(argument)
        if is_address(argument) and not _is_pattern(argument) and not argument.endswith("/"):
            return self._address(argument)
        return self._files(argument)

    def _table(self, argument: str) -> Iterator[Item]:
        table = Table(argument, self.column)
        types, folder = self.types(), without_query(argument).rpartition("/")[0]
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
                yield _row_item(address, folder, columns, argument, number)

    def _address(self, address: str) -> Iterator[Item]:
        collection = None
        try:
            given = parse_address(address)
            if not is_readable_name(Path(PurePosixPath(without_query(address)).name)):
                policy = WebPolicy(self.web.allow or "named", given)
                collection = parse_collection(fetch(address, self.web, policy))
        except ImageError as error:
            raise DataError(error.message, hint=error.hint) from error
        if collection is None:
            yield Item(address, address, str(address_stem(address).with_suffix("")))
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
            given = _root_of(argument) if _is_pattern(argument) else argument
            rest = found.removeprefix(_root_of(path)).lstrip("/")
            return f"{given.rstrip('/')}/{rest}" if "://" in given else str(Path(given, rest))

        try:
            kind = "directory" if _is_listing(argument) else _kind_of(files, path)
            if _is_pattern(path) and kind is None:
                matches = re.compile(fsspec.utils.glob_translate(path))
                chosen = (
                    [found for found in group if matches.fullmatch(found)]
                    for group in walk(files, _root_of(path) or "/", self.hidden, _depth_of(path))
                )
                yield from _with_stems(chosen, name_of, files, lambda found: file_stem(Path(found)))
            elif kind == "directory":
                groups = walk(files, path, self.hidden)
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
            raise unlisted(argument, error) from error

    def _file(self, argument: str, path: str, local: bool, files: Any) -> Iterator[Item]:
        if local and names_manifest(Path(path)):
            collection = parse_collection(Path(path).read_bytes())
            if collection is not None:
                yield from self._manifests(collection, argument, None)
                return
        place = argument if "::" in argument else _place(files, path)
        yield Item(argument, place, str(file_stem(Path(path)).with_suffix("")))


def _row_item(address: str, folder: str, columns: Mapping[str, Any], table: str, number: int) -> Item:
    """The input that a row of a table names; one that cannot be read if no file can have such an address."""
    place, path = _place_of(address, folder), address
    if "\\" in address and "://" not in place and not os.path.lexists(place):  # written on Windows
        path = address.replace("\\", "/")
        place = _place_of(path, folder)
    try:
        stem = (address_stem(address) if "://" in address else file_stem(Path(path))).with_suffix("")
    except ValueError:  # of a path without a name, or brackets in an address
        message = f"{table}, row {number}: {address!r} is not the address of a file"
        fault = Fault("input", message, "correct the cell or drop the row")
        return Item(address, _absolute(place), f"row-{number}", columns, fault=fault)
    return Item(address, _absolute(place), str(stem), columns)


def _place_of(address: str, folder: str) -> str:
    """Where an address of a table leads; relative ones start from the folder of the table."""
    return address if "://" in address or address.startswith("/") or not folder else f"{folder}/{address}"


def _with_stems(
    groups: Iterator[list[str]], name_of: Callable[[str], str], files: Any, stem_of: Callable[[str], Path]
) -> Iterator[Item]:
    """The inputs of files, whose stems have the suffix where several of a group would be the same without it."""
    for group in groups:
        shared = _shared(stem_of(found) for found in group)
        for found in group:
            stem = stem_of(found)
            own = stem if _folded(stem) in shared else stem.with_suffix("")
            yield Item(name_of(found), _place(files, found), own.as_posix())


def _shared(stems: Iterable[Path]) -> frozenset[int]:
    """Of the stems that several files have without their suffixes: numbers of 8 bytes, as there may be millions."""
    numbers, counts = np.unique(np.fromiter(map(_folded, stems), np.int64), return_counts=True)
    return frozenset(numbers[counts > 1].tolist())


def _folded(stem: Path) -> int:
    return hash(str(stem.with_suffix("")).casefold())


def _archive(argument: str) -> Iterator[Item]:
    place = _absolute(argument)
    for member in members(argument):
        path = PurePosixPath(member.name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not hidden and is_readable_name(Path(path.name)):
            # Named as fsspec names a file in an archive.
            name = f"{ending_of(argument)[1:]}://{member.name}::{argument}"
            stem = PurePosixPath(*[part for part in path.parts if part not in ("/", "..")]).with_suffix("")
            yield Item(name, place, str(stem), {}, "" if member.span else member.name, member.span)


def _is_listing(argument: str) -> bool:
    """Whether an address is that of a folder of a web server: it looks like a file to fsspec."""
    return is_address(argument) and argument.endswith("/") and not _is_pattern(argument)


def _is_pattern(argument: str) -> bool:
    return _magic_at(argument) is not None


def _magic_at(argument: str) -> int | None:
    """Where a name has its first sign of a pattern: of an address of the web in its path, not its host or query."""
    place = without_query(argument)
    host = sum(len(part) + 1 for part in place.split("/", 3)[:3]) if is_address(place) else 0
    found = _MAGIC.search(place, host)
    return None if found is None else found.start()


def _kind_of(files: Any, path: str) -> str | None:
    """What a path is: a "file", a "directory" or nothing. Not by `isdir`, which lists all of a bucket's folder."""
    try:
        return str(patiently(partial(files.info, path))["type"])
    except FileNotFoundError:
        return None


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
    place = _magic_at(pattern)
    return pattern if place is None else pattern[:place].rpartition("/")[0]


def _depth_of(pattern: str) -> int | None:
    """Slashes in the paths that match a pattern; None if there may be any number."""
    return None if "**" in pattern else pattern.count("/")


def _is_page(name: str, local: bool) -> bool:
    path = Path(name)
    return is_readable_name(path) or (local and path.suffix.lower() == ".json" and names_manifest(path))


def absolute_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments as a ledger holds them: paths of this machine made absolute."""
    return tuple(map(_absolute, arguments))
