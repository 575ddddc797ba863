"""Files that a reading needs and that only the driver has: models, languages, lexicons and line finders.

They travel with their content, so that workers need neither a common folder nor the hub. A segmentation stays where it
is: it may be as large as the pages.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from quillread.batch.cluster.scratch import Scratch
from quillread.config import dump
from quillread.files import naming
from quillread.language.catalog import AUTO, SHIPPED_LANGUAGES, split_weight
from quillread.models.catalog import SHIPPED, resolve
from quillread.models.trocr.adapter_folder import find_base, read_base
from quillread.models.trocr.files import BASE_NAME, is_adapter
from quillread.options import ReadOptions

_NONE = "none"


@dataclass(frozen=True, slots=True)
class Cargo:
    """Files by name, in folders by a digest of their content."""

    folders: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    """Of each model that is not part of the package: its folder."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Of each other file: its folder and name in it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(content) for contents in self.folders.values() for content in contents.values())


def pack(options: ReadOptions) -> Cargo:
    """Read the files that options name.

    Raises:
        ModelError: If there is no such model, or adapters do not belong to the one that they name.
    """
    folders: dict[str, dict[str, bytes]] = {}
    models, files = {}, {}
    for name in options.loaded:
        if name not in SHIPPED:
            models[name] = _add_model(folders, resolve(name))
    languages = (split_weight(written)[0] for written in options.lm or ())
    paths = [name for name in languages if name not in (AUTO, _NONE, *SHIPPED_LANGUAGES)]
    paths += map(str, options.lexicons)
    paths += [options.segmenter] if options.segmenter.endswith(".onnx") else []
    for text in paths:
        path = Path(text)
        files[text] = f"{_add(folders, {path.name: path.read_bytes()})}/{path.name}"
    return Cargo(folders, models, files)


def unpack(options: ReadOptions, cargo: Cargo) -> ReadOptions:
    """Write the files below the folder for temporary files, once on a machine; return options that name them there.

    Raises:
        OutputError: If they cannot be written, as the disk is full.
    """
    if not cargo.folders:
        return options
    user = os.getuid() if hasattr(os, "getuid") else 0  # as files of Windows have it
    root = Path(tempfile.gettempdir(), f"quillread-{user}-cargo")
    with naming(root):
        root.mkdir(mode=0o700, exist_ok=True)
        if root.stat().st_uid != user:
            root = Path(tempfile.mkdtemp(prefix="quillread-cargo-"))
        for digest, contents in cargo.folders.items():
            _write(root / digest, contents)

    def placed(name: str) -> str:
        return str(root / cargo.files[name]) if name in cargo.files else name

    lm = options.lm
    if lm is not None:
        parts = (split_weight(written)[0] for written in lm)
        lm = tuple(placed(name) + written.removeprefix(name) for name, written in zip(parts, lm, strict=True))
    return replace(
        options,
        models=tuple(str(root / cargo.models[name]) if name in cargo.models else name for name in options.models),
        lm=lm,
        lexicons=tuple(Path(placed(str(path))) for path in options.lexicons),
        segmenter=placed(options.segmenter),
    )


def _add_model(folders: dict[str, dict[str, bytes]], folder: Path) -> str:
    """Add a model; to adapters the one that they belong to, which they find beside them where they arrive."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    contents = {path.name: path.read_bytes() for path in found}
    if is_adapter(folder):
        base = replace(read_base(folder), folder=f"../{_add_model(folders, find_base(folder))}")
        contents[BASE_NAME] = json.dumps(dump(base)).encode()
    return _add(folders, contents)


def _add(folders: dict[str, dict[str, bytes]], contents: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in contents.items():
        total.update(f"{name}\n{hashlib.sha256(content).hexdigest()}\n".encode(errors="surrogateescape"))
    digest = total.hexdigest()[:32]
    folders[digest] = contents
    return digest


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder so that it is there whole or not at all; several workers of a machine may do so at a time."""
    if folder.is_dir():
        return
    with Scratch() as scratch:
        part = scratch.path / folder.name
        part.mkdir(mode=0o700)
        for name, content in contents.items():
            (part / name).write_bytes(content)
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # as it is where another one was quicker
                raise
