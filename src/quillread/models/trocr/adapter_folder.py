"""The folder of low-rank adapters: which model they are read beside, and where that is; knows no torch.

Adapters are a few megabytes that are added to the weights of a model. Beside PEFT's own two files the folder holds
`base.json`: the name of that model, and a digest of its weights, as adapters added to others read nonsense.
"""

from dataclasses import dataclass
from pathlib import Path

from quillread import config
from quillread.errors import ModelError
from quillread.files import write_json
from quillread.models.catalog import digest, fetch_model
from quillread.models.model_folder import build_record
from quillread.models.trocr.files import BASE_NAME, find_weights, is_adapter, read_json, refuse_adapter


@dataclass(frozen=True, slots=True)
class Base:
    """What `base.json` says of the model that adapters belong to."""

    name: str
    """`org/name@revision` of the hub, or the name of a folder."""
    weights: str
    """SHA-256 of its weights, as `digest_weights` gives it."""
    folder: str | None = None
    """Its folder, seen from that of the adapters; None for a model of the hub."""


def digest_weights(folder: Path) -> str:
    """SHA-256 of the weights of a whole model.

    Raises:
        ModelError: If it has none, or they cannot be read.
    """
    refuse_adapter(folder)
    return digest(find_weights(folder))


def read_base(folder: Path) -> Base:
    """Read `base.json`.

    Raises:
        ModelError: If it is missing or damaged.
    """
    path = folder / BASE_NAME
    if not path.is_file():
        raise ModelError(
            f"{folder}: holds adapters, and lacks {BASE_NAME}, which says what they belong to",
            hint=f"make a folder with it: quill models adapter {folder} DEST --base MODEL",
        )
    return build_record(Base, read_json(path), path)


def write_base(base: Base, folder: Path) -> None:
    """Write `base.json`.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / BASE_NAME, config.dump(base))


def find_base(folder: Path) -> Path:
    """Find the folder of the model that adapters belong to, and look whether it is that one.

    One of the hub is downloaded unless it is in the cache. A folder is looked for where it was, seen from that of the
    adapters, then beside them.

    Args:
        folder: Of the adapters.

    Raises:
        ModelError: If it is not there, or has other weights.
        MissingExtraError: If it is on the hub, whose client is not installed.
    """
    base = read_base(folder)
    place = locate_base(folder)
    if digest_weights(place) != base.weights:
        raise ModelError(
            f"{place}: has other weights than {base.name}, the model that the adapters in {folder} were trained with",
            hint=f"bring that model back, or name its folder: quill models adapter {folder} DEST --base MODEL",
        )
    return place


def locate_base(folder: Path) -> Path:
    """Find the folder of the model that adapters belong to, whatever it holds now; see `find_base`.

    Raises:
        ModelError: If it is not there.
        MissingExtraError: If it is on the hub, whose client is not installed.
    """
    base = read_base(folder)
    if base.folder is None:
        return fetch_model(base.name)
    places = (folder / base.folder, folder.absolute().parent / Path(base.folder).name)
    for place in places:
        if place.is_dir():
            return place.resolve()
    raise ModelError(
        f"{folder}: holds adapters of the model {base.name}, which is not at {places[0]}",
        hint=f"copy it there, or name its folder: quill models adapter {folder} DEST --base MODEL",
    )


def model_folders(folder: Path) -> list[Path]:
    """The folders that a model is read from: its own, and for adapters that of the model that they belong to.

    One of the hub is not among them: `base.json` names its revision, whose files never change.

    Raises:
        ModelError: If the folder of that model is not there.
    """
    if is_adapter(folder) and read_base(folder).folder is not None:
        return [folder, locate_base(folder)]
    return [folder]


def whole_folder(folder: Path) -> Path:
    """The folder that has tokenizer and shape of a model: its own, or that of the model that adapters belong to.

    Raises:
        ModelError: If that is not there, or has other weights.
        MissingExtraError: If it is on the hub, whose client is not installed.
    """
    return find_base(folder) if is_adapter(folder) else folder
