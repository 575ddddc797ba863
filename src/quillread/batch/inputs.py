"""Which files a command line names."""

import glob
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from quillread.errors import DataError, Fault
from quillread.formats.ground_truth import GroundTruth, by_number
from quillread.images.iiif import names_manifest
from quillread.images.read import is_readable_name
from quillread.images.web import is_address

STDIN = "-"


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


def find_inputs(arguments: list[str]) -> list[Input]:
    """Expand folders (recursively, readable files only) and patterns, in order; every argument gives at least one.

    A JSON file of a folder is an input if it is a IIIF manifest.

    Files found are sorted with their numbers as numbers: `page-2` comes before `page-10`. No two inputs have the same
    `stem`, upper and lower case taken as equal: where names collide, the suffix is kept (`a.jpg`, `a.png`), and then a
    number is added.
    """
    return _with_own_stems([entry for argument in arguments for entry in _expand(argument)])


def find_segmented(where: Path) -> list[Input]:
    """Find the images of PAGE and ALTO files: of one file, or of all in a folder, in the order of their names.

    A file whose image is missing, or that is damaged, is an input that failed. An image that several files are about
    is one input.

    Raises:
        DataError: If there is no such file or folder, or no PAGE or ALTO file in it.
    """
    found = []
    for pair in GroundTruth(where).pairs():
        stem = Path(pair.xml.name) if pair.xml == where else pair.xml.relative_to(where)
        if pair.image is None:
            found.append(Input(str(pair.xml), stem, pair.fault))
        else:
            found.append(Input(str(pair.image), stem.with_name(pair.image.name)))
    if not found:
        raise DataError(f"{where}: holds no PAGE or ALTO file", hint="name the folder of the segmentation")
    return _with_own_stems(found)


def _expand(argument: str) -> list[Input]:
    if argument == STDIN:
        return [Input(STDIN, Path("stdin"))]
    if not argument:
        # As a path it would stand for the current folder: hardly what an unset variable in a script means.
        return [_fault("''", "is not the name of a file", "check the variables in the command")]
    if is_address(argument):
        return [Input(argument, _address_stem(argument))]
    path = Path(argument)
    try:
        if path.is_dir():
            files = sorted((p for p in path.rglob("*") if _is_page(p, path)), key=by_number)
            nothing = _fault(argument, "holds no images or PDFs", "name another folder, or the files themselves")
            return [Input(str(p), p.relative_to(path)) for p in files] or [nothing]
        if glob.has_magic(argument) and not path.exists():
            # pathlib cannot expand a pattern that starts at the root.
            matches = (Path(m) for m in glob.glob(argument, recursive=True))  # noqa: PTH207
            files = sorted((p for p in matches if p.is_file()), key=by_number)
            return [Input(str(p), Path(p.name)) for p in files] or [_fault(argument, "matches no file", "check it")]
    except OSError as error:  # no permission to look, or a name that the file system cannot hold
        return [_fault(argument, f"cannot be looked up: {error.strerror}", "check the path and its permissions")]
    return [Input(argument, Path(path.name))]


def _fault(argument: str, what: str, hint: str) -> Input:
    return Input(argument, Path("input"), Fault("input", f"{argument}: {what}", hint))


def _is_page(path: Path, folder: Path) -> bool:
    """Tell whether a file of a folder is to be read; a link that leads nowhere is, so that it is reported."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or path.is_dir():
        return False
    return is_readable_name(path) or (path.suffix.lower() == ".json" and names_manifest(path))


def _address_stem(address: str) -> Path:
    """The last part of an address that tells it from others: manifests are mostly `.../NUMBER/manifest.json`."""
    parts = [part for part in urlsplit(address).path.split("/") if part]
    while len(parts) > 1 and parts[-1].lower() in ("manifest", "manifest.json", "default.jpg"):
        parts.pop()
    name = re.sub(r"[^\w.\-]+", "_", unquote(parts[-1])).strip(".") if parts else ""
    return Path(name or "address")


def _with_own_stems(found: list[Input]) -> list[Input]:
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
