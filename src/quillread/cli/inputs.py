"""Which files a command line names."""

import glob
from dataclasses import dataclass
from pathlib import Path

from quillread.images.read import is_readable_name

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """One input, or the reason why there is none."""

    name: str
    """As the user named it, or as found in the folder named."""
    stem: Path
    """Path of its results below the output folder, without a suffix."""
    error: str | None = None


def find_inputs(arguments: list[str]) -> list[Input]:
    """Expand folders (recursively, readable files only) and patterns, in order; every argument gives at least one.

    No two inputs have the same `stem`: where names collide, the suffix is kept (`a.jpg`, `a.png`), and then a number
    is added.
    """
    found: list[Input] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            found.append(Input(STDIN, Path("stdin")))
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and is_readable_name(p))
            found.extend(Input(str(p), p.relative_to(path)) for p in files)
            if not files:
                found.append(Input(argument, Path(path.name or "folder"), f"{argument}: holds no images or PDFs"))
        elif not path.exists() and glob.has_magic(argument):
            # pathlib cannot expand a pattern that starts at the root.
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
            found.extend(Input(m, Path(Path(m).name)) for m in matches if Path(m).is_file())
            if not matches:
                found.append(Input(argument, Path("pattern"), f"{argument}: matches no file"))
        else:
            found.append(Input(argument, Path(path.name)))
    return _with_own_stems(found)


def _with_own_stems(found: list[Input]) -> list[Input]:
    short = [entry.stem.with_suffix("") for entry in found]
    taken: set[Path] = set()
    result = []
    for entry, stem in zip(found, short, strict=True):
        stem = stem if short.count(stem) == 1 else entry.stem
        unique, number = stem, 2
        while unique in taken:
            unique, number = stem.with_name(f"{stem.name}-{number}"), number + 1
        taken.add(unique)
        result.append(Input(entry.name, unique, entry.error))
    return result
