"""Which files a command line names."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from quillread.batch.records import LOG_NAME, written_files
from quillread.errors import DataError, Fault
from quillread.files import real_path
from quillread.formats.ground_truth import GroundTruth, by_number
from quillread.images.iiif import names_manifest
from quillread.images.read import is_readable_name
from quillread.images.web import is_address

STDIN = "-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Input:
    """One input, or the reason why there is none."""

    name: str
    """As the user named it, or as found in the folder named."""
    stem: Path
    """Path of its results below the output folder, without a suffix."""
    fault: Fault | None = None
    content: bytes | None = field(default=None, repr=False)
    """What came from stdin."""
    has_results: bool = True
    """Whether files may be written for it: not if they would take the places of others."""

    @property
    def is_address(self) -> bool:
        """Whether it is in the web."""
        return is_address(self.name)

    @property
    def source(self) -> Path | str | bytes:
        """What a reader opens: its content, address or path."""
        if self.content is not None:
            return self.content
        return self.name if self.is_address else Path(self.name)

    def refused(self, why: str, hint: str = "write into another folder") -> "Input":
        """The same, which cannot be read since its results would take the places of others."""
        return replace(self, fault=Fault("output", f"{self.name}: {why}", hint), has_results=False)


def find_inputs(arguments: list[str], results: Collection[Path] = ()) -> list[Input]:
    """Expand folders (recursively, readable files only) and patterns, in order; every argument gives at least one.

    A JSON file of a folder is an input if it is a IIIF manifest. A folder that may not be opened is an input that
    failed.

    Files found are sorted with their numbers as numbers: `page-2` comes before `page-10`. No two inputs of an argument
    have the same `stem`, upper and lower case taken as equal: where names collide, the suffix is kept (`a.jpg`,
    `a.png`), and then a number is added. The stem of an input does not depend on other arguments; see `part_results`.

    Args:
        arguments: Of the command line.
        results: Real paths of folders that are written into, and of files written before: a folder or pattern does not
            stand for them, unless it is that folder. Nor does it for files that a log in a folder searched says were
            written there.
    """
    return [entry for argument in arguments for entry in with_own_stems(_expand(argument, results))]


def find_segmented(where: Path) -> list[Input]:
    """Find the images of PAGE and ALTO files: of one file, or of all in a folder, in the order of their names.

    A file whose image is missing, or that is damaged, is an input that failed. An image that several files are about
    is one input.

    Raises:
        DataError: If there is no such file or folder, or no PAGE or ALTO file in it.
    """
    found = []
    seen: set[Path] = set()
    for pair in GroundTruth(where).pairs():
        if pair.image in seen:
            continue  # another page of it
        stem = Path(pair.xml.name) if pair.xml == where else pair.xml.relative_to(where)
        if pair.image is None:
            found.append(Input(str(pair.xml), stem, pair.fault))
        else:
            seen.add(pair.image)
            found.append(Input(str(pair.image), stem.with_name(pair.image.name)))
    if not found:
        raise DataError(f"{where}: holds no PAGE or ALTO file", hint="name the folder of the segmentation")
    return with_own_stems(found)


def part_results(inputs: Iterable[Input]) -> list[Input]:
    """See to it that no input has the results of another one: of several with equal stems, the first has them.

    The others are inputs that failed. One that is named twice is read once.
    """
    owners: dict[str, Input] = {}
    result = []
    for entry in inputs:
        owner = owners.setdefault(_folded(entry.stem), entry)
        if owner is entry:
            result.append(entry)
        elif real_path(owner.name) != real_path(entry.name):
            result.append(entry.refused(f"its results would have the names of those of {owner.name}"))
        else:
            log.warning("%s: is named twice, and read once", entry.name)
    return result


def _expand(argument: str, results: Collection[Path]) -> list[Input]:
    if argument == STDIN:
        return [Input(STDIN, Path("stdin"))]
    if not argument:
        # As a path it would stand for the current folder: hardly what an unset variable in a script means.
        return [_fault("''", "is not the name of a file", "check the variables in the command")]
    if is_address(argument):
        try:
            return [Input(argument, address_stem(argument))]
        except ValueError as error:
            return [_fault(argument, f"is not a valid address: {error}", "check it")]
    path = Path(argument)
    try:
        if path.is_dir():
            return _expand_folder(path, results)
        if glob.has_magic(argument) and not path.exists():
            # pathlib cannot expand a pattern that starts at the root.
            matches = (Path(m) for m in glob.glob(argument, recursive=True))  # noqa: PTH207
            root = _root_of(path)
            pages = [p for p in matches if p.is_file() and not _is_result(p, root, results)]
            earlier = _written_below(root, pages)
            files = sorted((p for p in pages if real_path(p) not in earlier), key=by_number)
            return [_file(p, file_stem(p)) for p in files] or [_fault(argument, "matches no file", "check it")]
    except OSError as error:  # no permission to look, or a name that the file system cannot hold
        return [_fault(argument, f"cannot be looked up: {error.strerror}", "check the path and its permissions")]
    return [_file(path, file_stem(path), argument)]


def _expand_folder(folder: Path, results: Collection[Path]) -> list[Input]:
    found: list[Path] = []
    earlier: set[Path] = set()
    closed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=closed.append):
        here, real = Path(place), real_path(place)
        for name in folders:
            if (here / name).is_symlink() and not name.startswith("."):
                log.warning("%s: is a link to a folder, and not followed", here / name)
        folders[:] = [name for name in folders if name[0] != "." and real / name not in results]
        if LOG_NAME in files:
            earlier |= written_files(here)
        named = (name for name in files if real / name not in results and real / name not in earlier)
        found += [here / name for name in named if _is_page(here / name)]
    # One that cannot be opened is as good an input as any: it must not be missing without a word.
    bad = [_fault(str(e.filename), f"cannot be opened: {e.strerror}", "check its permissions") for e in closed]
    inputs = [*(_file(p, p.relative_to(folder)) for p in sorted(found, key=by_number)), *bad]
    what = f"holds no images or PDFs{' but results of an earlier run' if earlier else ''}"
    return inputs or [_fault(str(folder), what, "name another folder, or the files themselves")]


def _root_of(pattern: Path) -> Path:
    """The folder that a pattern names: its real path."""
    return real_path(next(p for p in (pattern, *pattern.parents) if not glob.has_magic(str(p))))


def _is_result(path: Path, root: Path, results: Collection[Path]) -> bool:
    """Tell whether a file is a result of an earlier run, or in a folder below `root` that holds such."""
    real = real_path(path)
    return real in results or any(place in results and root in place.parents for place in real.parents)


def _written_below(root: Path, files: Iterable[Path]) -> set[Path]:
    """The files that logs say were written, of the folders from `root` to some files."""
    folders = {place for path in files for place in real_path(path).parents}
    return {path for place in folders if place.is_relative_to(root) for path in written_files(place)}


def _file(path: Path, stem: Path, name: str | None = None) -> Input:
    """A file as an input; of a link that leads nowhere, the reader would say that there is no such file."""
    name = name or str(path)
    try:
        leads = str(path.readlink()) if path.is_symlink() and not path.exists() else None
    except OSError:  # links in a circle, or a name that no file system takes: the reader says so
        leads = None
    if leads is None:
        return Input(name, stem)
    return Input(name, stem, Fault("input", f"{name}: is a link to {leads}, which is not there", "mend the link"))


def _fault(argument: str, what: str, hint: str) -> Input:
    stem = re.sub(r"[^\w.\-]+", "_", argument).strip("._")
    return Input(argument, Path(stem or "input"), Fault("input", f"{argument}: {what}", hint))


def _is_page(path: Path) -> bool:
    """Tell whether a file of a folder is to be read; a link that leads nowhere is, so that it is reported."""
    if path.name.startswith("."):
        return False
    return is_readable_name(path) or (path.suffix.lower() == ".json" and path.is_file() and names_manifest(path))


def file_stem(path: Path) -> Path:
    """The name of a file; that of its folder for a manifest, as all of them have the same name."""
    if path.name.lower() != "manifest.json":
        return Path(path.name)
    # Of `../manifest.json` too; the name that was given to a link stays.
    return Path(Path(os.path.abspath(path)).parent.name or path.name)  # noqa: PTH100


def address_stem(address: str) -> Path:
    """The last part of an address that tells it from others: manifests are mostly `.../NUMBER/manifest.json`.

    Raises:
        ValueError: If it is malformed.
    """
    parts = [part for part in urlsplit(address).path.split("/") if part]
    while len(parts) > 1 and parts[-1].lower() in ("manifest", "manifest.json", "default.jpg"):
        parts.pop()
    name = re.sub(r"[^\w.\-]+", "_", unquote(parts[-1])).strip(".") if parts else ""
    return Path(name or "address")


def with_own_stems(found: list[Input]) -> list[Input]:
    """The inputs with stems that are all different: where names collide, suffixes are kept, then numbers added."""
    short = [entry.stem.with_suffix("") for entry in found]
    users = Counter(_folded(stem) for stem in short)
    taken: set[str] = set()
    numbers: Counter[Path] = Counter()
    result = []
    for entry, bare in zip(found, short, strict=True):
        stem = bare if users[_folded(bare)] == 1 else entry.stem
        unique = stem
        while _folded(unique) in taken:
            numbers[stem] += 1
            unique = stem.with_name(f"{stem.name}-{numbers[stem] + 1}")
        taken.add(_folded(unique))
        result.append(replace(entry, stem=unique))
    return result


def _folded(stem: Path) -> str:
    # Many file systems take A.txt and a.txt for the same file.
    return str(stem).casefold()
