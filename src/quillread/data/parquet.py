"""Lines written as parquet files, in the layout of the Hugging Face hub."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import cv2
import numpy as np

from quillread.data.source import RowSource, Source
from quillread.errors import DataError, OutputError
from quillread.extras import require
from quillread.images.fit import scale_to_height
from quillread.types import Progress, UInt8Image

_GROUP_ROWS = 100
_GROUP_BYTES = 32_000_000
"""Images of one row group at most, roughly: what has to be read for one line of a file that is streamed."""
_SHARD_BYTES = 256_000_000
_KEPT = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
"""How files begin that every reader of images opens: PNG, JPEG, GIF, WebP, BMP, TIFF. A PDF is none of them."""
_WEBP_PIXELS = 16_383
"""More the format has no room for, in either direction."""
_STRINGS = ("text", "id", "group")


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written of one split."""

    files: tuple[Path, ...]
    lines: int
    unreadable: tuple[str, ...]
    """A message for each line that was skipped because its image cannot be read; names source and row."""


def write_parquet(
    source: Source,
    indices: Sequence[int],
    folder: Path,
    split: str,
    *,
    height: int | None = None,
    quality: int | None = None,
    shard_bytes: int = _SHARD_BYTES,
    progress: Progress | None = None,
) -> WriteReport:
    """Write lines as `SPLIT-00000-of-0000N.parquet`, which `hub:`, `datasets` and the hub's viewer read.

    Columns are `image` (bytes of an image file, and its name), `text`, `id` and `group`. An image that a source has
    as a file is copied as it is; any other becomes a PNG. All files appear at the end, in place of those of the
    same split; if that is not reached, nothing has changed.

    Args:
        source: The lines; those of a synthetic source are made with one look each.
        indices: Which of its lines, and in which order.
        folder: Where the files go; made if it is not there.
        split: Name of the split.
        height: Images higher than so many pixels are scaled down to it; None leaves all as they are.
        quality: All images become WebP of this quality, 1 to 100, which loses something; None keeps every pixel.
        shard_bytes: Size of the images in one file, roughly.
        progress: Called after each line.

    Raises:
        DataError: If not one image can be read.
        OutputError: If the files cannot be written.
    """
    unreadable = []
    try:
        with _Shards(folder, split, shard_bytes) as shards:
            for done, index in enumerate(indices, 1):
                try:
                    shards.add(_row(source, index, height, quality))
                except DataError as error:
                    unreadable.append(error.message)
                if progress:
                    progress(done, len(indices))
            if len(unreadable) == len(indices):
                raise DataError(f"{source.name}: no line can be read: {'; '.join(unreadable[:3]) or 'there are none'}")
            return WriteReport(shards.publish(), len(indices) - len(unreadable), tuple(unreadable))
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="check the path, the free space and the permissions",
        ) from error


def write_rows(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> int:
    """Write lines into one file, as they come; few of them are kept in memory.

    Args:
        rows: Each with the columns of `write_parquet`; `image` has `bytes` and `path`.
        file: Open for writing.

    Returns:
        How many there were.
    """
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    schema, waiting, size, count = _schema(arrow), list[Mapping[str, Any]](), 0, 0
    with parquet.ParquetWriter(file, schema, use_dictionary=["group"]) as writer:
        for row in rows:
            waiting.append(row)
            size += len(row["image"]["bytes"])
            count += 1
            if len(waiting) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(arrow.Table.from_pylist(waiting, schema))
                waiting, size = [], 0
        if waiting:
            writer.write_table(arrow.Table.from_pylist(waiting, schema))
    return count


def find_shards(folder: Path, split: str) -> list[Path]:
    """List the parquet files of a split that lie in a folder itself, not in folders of it."""
    return sorted(path for path in folder.glob("*.parquet") if path.stem.partition("-")[0] == split)


class _Shards:
    """The files of one split, under draft names until it is known how many they are."""

    def __init__(self, folder: Path, split: str, shard_bytes: int) -> None:
        self._arrow, self._parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
        self._folder = folder
        self._split = split
        self._shard_bytes = shard_bytes
        self._drafts: list[Path] = []
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []
        self._waiting = 0
        self._written = 0
        """Bytes of the images in `_rows`, and of those in the file that is being written."""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not published."""
        try:
            self._close()
        finally:
            for draft in self._drafts:
                draft.unlink(missing_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Add a line, in the form of the columns."""
        self._rows.append(row)
        self._waiting += len(row["image"]["bytes"])
        is_full = self._written + self._waiting >= self._shard_bytes
        if is_full or len(self._rows) >= _GROUP_ROWS or self._waiting >= _GROUP_BYTES:
            self._write_group()
        if is_full:
            self._close()

    def publish(self) -> tuple[Path, ...]:
        """Put the files in place of those of the same split."""
        self._write_group()
        self._close()
        # Before the new ones appear: files of both together would be read as one data set.
        for old in find_shards(self._folder, self._split):
            old.unlink()
        count = len(self._drafts)
        files = [self._folder / f"{self._split}-{i:05}-of-{count:05}.parquet" for i in range(count)]
        for draft, file in zip(self._drafts, files, strict=True):
            draft.replace(file)
        return tuple(files)

    def _write_group(self) -> None:
        if not self._rows:
            return
        schema = _schema(self._arrow)
        if self._writer is None:
            self._drafts.append(self._folder / f".{os.getpid()}.{self._split}-{len(self._drafts):05}.part")
            # Images are compressed already, and hardly one of them, or of ids and texts, occurs twice.
            self._writer = self._parquet.ParquetWriter(str(self._drafts[-1]), schema, use_dictionary=["group"])
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema))
        self._written += self._waiting
        self._rows, self._waiting = [], 0

    def _close(self) -> None:
        writer, self._writer, self._written = self._writer, None, 0
        if writer is not None:
            writer.close()


def _schema(arrow: Any) -> Any:
    """The columns, with the metadata that tells `datasets` and the hub's viewer that `image` holds images."""
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    features = {"image": {"_type": "Image"}} | {name: {"dtype": "string", "_type": "Value"} for name in _STRINGS}
    return arrow.schema(
        [("image", image), *((name, arrow.string()) for name in _STRINGS)],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def _row(source: Source, index: int, height: int | None, quality: int | None) -> dict[str, Any]:
    # Decoded even where the file is copied: this is when a damaged one is found.
    sample = source.sample(index, np.random.default_rng(index))
    content, name = source.stored(index) if isinstance(source, RowSource) else (b"", None)
    image = sample.image
    if height is not None and image.shape[0] > height:
        image = scale_to_height(image, height, image.shape[1])
    if image is not sample.image or quality is not None or not content.startswith(_KEPT):
        content = _encode(image, quality)
    row = {"text": sample.text, "id": sample.id, "group": sample.group}
    try:
        "".join((*row.values(), name or "")).encode()
    except UnicodeEncodeError as error:  # a file name in another encoding, half of a JSON escape
        raise DataError(f"{source.name}, row {index}: its text or one of its names is not valid Unicode") from error
    return {"image": {"bytes": content, "path": name}, **row}


def _encode(image: UInt8Image, quality: int | None) -> bytes:
    """Make a PNG, a grey one where nothing is lost by it, or a WebP if a quality is given and it is not too wide."""
    is_grey = bool((image == image[:, :, :1]).all())
    pixels = image[:, :, 0] if is_grey else image[:, :, ::-1]
    if quality is not None and max(image.shape) <= _WEBP_PIXELS:
        return cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    return cv2.imencode(".png", pixels)[1].tobytes()
