"""The files of Imgur5K, laid out as in its own repository: lists and annotations, photographs, hashes.

`dataset_info/imgur5k_annotations_{train,val,test}.json` (or one `imgur5k_annotations.json`) name images and words,
`dataset_info/{train,val,test}_index_ids.lst` the images of a split, `dataset_info/imgur5k_hashes.lst` their MD5.
The photographs are `images/ID.jpg`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quillread.errors import DataError

REPOSITORY = "https://github.com/facebookresearch/IMGUR5K-Handwriting-Dataset"
SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our names of the splits -> those in the file names."""

_TAKE_ANEW = f"take dataset_info anew from the official repository, {REPOSITORY}"


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A photograph as the lists name it."""

    id: str
    url: str
    md5: str
    """Of the file, in lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """The images of a split and what is written on them, as in the file; ids are keys throughout."""

    path: Path
    images: Mapping[str, Mapping[str, Any]]
    """Image -> `image_url`, `image_path`, `image_hash`."""
    words_by_image: Mapping[str, Sequence[str]]
    words: Mapping[str, Mapping[str, Any]]
    """Word -> `word`, `bounding_box`."""

    def words_of(self, image_id: str) -> dict[str, Mapping[str, Any]]:
        """Look up the words of one image.

        Raises:
            DataError: If it or one of its words is not in the file.
        """
        try:
            return {word_id: self.words[word_id] for word_id in self.words_by_image[image_id]}
        except KeyError as error:
            raise DataError(f"{self.path}: has no entry {error} for image {image_id}", hint=_TAKE_ANEW) from error


def read_annotations(folder: Path, split: str) -> Annotations:
    """Read the annotations of a split, from its own file or that of all splits.

    Args:
        folder: Holds `dataset_info`.
        split: "train", "validation" or "test".

    Raises:
        DataError: If they are missing or malformed.
    """
    lists = _lists(folder)
    path = lists / f"imgur5k_annotations_{_name_in_files(folder, split)}.json"
    of_all = lists / "imgur5k_annotations.json"
    if path.is_file() or not of_all.is_file():
        return _parse(path)
    every = _parse(of_all)
    images = {image_id: every.images[image_id] for image_id in _read_ids(folder, split) if image_id in every.images}
    return Annotations(of_all, images, every.words_by_image, every.words)


def read_hashes(folder: Path) -> dict[str, str]:
    """Read the MD5 of each image by its id; empty without the list, as the annotations have them, too.

    Raises:
        DataError: If a line is malformed.
    """
    path = _lists(folder) / "imgur5k_hashes.lst"
    hashes = {}
    for number, line in enumerate(_read_text(path).splitlines() if path.is_file() else (), 1):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r"[0-9a-fA-F]{32}", parts[1]):
            raise DataError(f"{path}, line {number}: expected an image's id and its MD5, got {line!r}", hint=_TAKE_ANEW)
        hashes[parts[0]] = parts[1].lower()
    return hashes


def list_images(folder: Path, splits: Sequence[str]) -> list[ListedImage]:
    """List the photographs of some splits, in the order of the lists, each once.

    The annotations may lack images of the other lists: the repository's own script skips what it could not
    download.

    Raises:
        DataError: If a list is missing or malformed, or an image has no hash.
    """
    hashes = read_hashes(folder)
    images: dict[str, ListedImage] = {}
    for split in splits:
        entries = read_annotations(folder, split).images
        for image_id in (*_read_ids(folder, split, optional=True), *entries):
            if image_id not in images:
                images[image_id] = list_image(image_id, entries.get(image_id, {}), hashes)
    return list(images.values())


def list_image(image_id: str, entry: Mapping[str, Any], hashes: Mapping[str, str]) -> ListedImage:
    """Put together what the lists say of one photograph.

    Args:
        image_id: As in the lists.
        entry: Its entry in the annotations; empty if it has none.
        hashes: From `read_hashes`; the entry's own hash counts if it is not in there.

    Raises:
        DataError: If it has no hash, or its id or address is none.
    """
    # The id becomes a file name, and the address is asked for: neither may lead elsewhere.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", image_id):
        raise DataError(f"{image_id!r} is not the id of an image on imgur.com", hint=_TAKE_ANEW)
    url = str(entry.get("image_url") or f"https://i.imgur.com/{image_id}.jpg")
    if not url.startswith(("https://", "http://")):
        raise DataError(f"image {image_id}: {url!r} is not a web address", hint=_TAKE_ANEW)
    md5 = hashes.get(image_id) or str(entry.get("image_hash") or "").lower()
    if not md5:
        raise DataError(f"image {image_id}: the lists give no hash", hint=_TAKE_ANEW)
    return ListedImage(image_id, url, md5)


def find_images(folder: Path) -> dict[str, Path]:
    """Find the photographs that are there, by id."""
    images = folder / "images"
    paths = [p for p in images.iterdir() if p.suffix in (".jpg", ".png")] if images.is_dir() else []
    return {path.stem: path for path in sorted(paths, reverse=True)}  # of two, .jpg comes last and stays


def hash_file(path: Path) -> str:
    """MD5 of a file, in lower-case hexadecimal, as the lists give it.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _lists(folder: Path) -> Path:
    lists = folder / "dataset_info"
    if not lists.is_dir():
        raise DataError(
            f"{folder}: holds no folder dataset_info with the lists of Imgur5K",
            hint=f"take them from the official repository: git clone {REPOSITORY} {folder}",
        )
    return lists


def _name_in_files(folder: Path, split: str) -> str:
    if split not in SPLITS:
        raise DataError(f"{folder}: has no split {split!r}", hint=f"its splits are: {', '.join(SPLITS)}")
    return SPLITS[split]


def _read_ids(folder: Path, split: str, *, optional: bool = False) -> list[str]:
    path = _lists(folder) / f"{_name_in_files(folder, split)}_index_ids.lst"
    return [] if optional and not path.is_file() else _read_text(path).split()


def _parse(path: Path) -> Annotations:
    try:
        document = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: is not JSON: {error}", hint=_TAKE_ANEW) from error
    tables = []
    for key, kind in (("index_id", dict), ("index_to_ann_map", list), ("ann_id", dict)):
        table = document.get(key) if isinstance(document, dict) else None
        if not isinstance(table, dict) or not all(isinstance(entry, kind) for entry in table.values()):
            raise DataError(f"{path}: has no table {key!r} of the form expected", hint=_TAKE_ANEW)
        tables.append(table)
    return Annotations(path, *tables)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: is missing", hint=_TAKE_ANEW) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
