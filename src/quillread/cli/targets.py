"""Files and folders that commands write: what may stand there before, and what must not be lost."""

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quillread.errors import OutputError
from quillread.files import real_path

if TYPE_CHECKING:
    from quillread.data.spec import DataSpec

TargetKind = Literal["JSON file", "PNG file", "language model", "report"]

_JSON = (b"{", b"[")
_PNG = (b"\x89PNG\r\n\x1a\n",)
_LONGEST_HEAD = 1000
"""Bytes of a file that say what it is."""
_SPECS = ("data", "spec", "specs")
_PATHS = ("page_folder", "baseline", "candidate", "text", "segmentation", "config", "lexicons", "models", "model")
"""Arguments of commands that name what is read."""
_TABLES = ("metadata.csv", "metadata.jsonl")
_READ_SUFFIXES = (".txt", ".xml", ".csv", ".parquet")


def target_path(text: str) -> Path:
    """Read the name of what is to be written, for `type=` of an argument."""
    return Path(target_name(text))


def target_name(text: str) -> str:
    """The same of a place that may lie elsewhere than on this machine."""
    if not text:
        # As a path it would stand for the current folder: hardly what an unset variable in a script means.
        raise argparse.ArgumentTypeError("is empty: check the variables in the command")
    return text


def check_targets(args: argparse.Namespace, targets: Mapping[str, TargetKind]) -> None:
    """Refuse to write over what the same command reads, and over files of another kind.

    Args:
        args: Of the command.
        targets: Names of the arguments that say what is written, each with the kind of file.

    Raises:
        OutputError: If something would be lost.
        DataError: If a data set that is named has no such form.
    """
    for name, kind in targets.items():
        path: Path | None = getattr(args, name)
        if path and kind == "report":
            for suffix in (".json", ".md", ".html"):
                _check(path / f"report{suffix}", kind, args)
        elif path:
            _check(path, kind, args)


def _check(path: Path, kind: TargetKind, args: argparse.Namespace) -> None:
    if not path.is_file() or not path.stat().st_size:  # pipes and devices keep nothing
        return
    hint = "name another file" if kind != "report" else "name another folder"
    if _is_read(path, _inputs(args)):
        raise OutputError(f"{path}: is one of the inputs, and would be overwritten", hint=hint)
    if not _is_ours(path, kind):
        raise OutputError(f"{path}: is there already, and is not a {kind} of quillread", hint=hint)


def _is_ours(path: Path, kind: TargetKind) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEAD)
    except OSError:
        return False
    if kind == "language model":
        from quillread.language.build import MAGIC

        return head.startswith(MAGIC)
    if kind == "report" and path.suffix != ".json":
        from quillread.evaluate.report_html import GENERATOR

        return head.startswith(b"| metric ") if path.suffix == ".md" else GENERATOR.encode() in head
    return head.startswith(_PNG if kind == "PNG file" else _JSON)


def _inputs(args: argparse.Namespace) -> Iterator[Path]:
    """The files and folders that a command reads."""
    given = vars(args)
    for name in _SPECS:
        for spec in _listed(given.get(name)):
            yield from _places(str(spec))
    for name in _PATHS:
        yield from map(Path, map(str, _listed(given.get(name))))


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


def _places(text: str) -> Iterator[Path]:
    from quillread.data.spec import parse_spec

    spec: DataSpec = parse_spec(text)
    yield from (Path(value) for values in spec.options.values() for value in values)
    if spec.kind == "recombined":
        yield from _places(spec.where)
    else:
        yield Path(spec.where)


def _is_read(path: Path, inputs: Iterable[Path]) -> bool:
    real = real_path(path)
    for place in map(real_path, inputs):
        if place == real or (os.path.isdir(place) and place in real.parents and _is_read_in(place, real)):  # noqa: PTH112
            return True
    return False


def _is_read_in(folder: Path, path: Path) -> bool:
    """Whether a file of a folder is a part of what is read there; results of earlier commands may lie beside it."""
    from quillread.images.read import is_readable_name
    from quillread.models.model_folder import INFO_NAME

    if (folder / INFO_NAME).is_file() or (folder / "config.json").is_file():
        return True  # a model
    return is_readable_name(path) or path.suffix.lower() in _READ_SUFFIXES or path.name in _TABLES
