"""Small data sets that benchmarks train on: a choice of lines, written as a folder that `hub:` reads."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from quillread.data.source import Source
from quillread.types import UInt8Image


def write_lines(
    parts: Sequence[tuple[Source, Sequence[int]]],
    folder: Path,
    split: str,
    change: Callable[[UInt8Image], UInt8Image] | None = None,
) -> None:
    """Write the named lines of some sources as `SPLIT-00000.parquet`, images as PNG; changed, if that is asked for."""
    rows = []
    for source, indices in parts:
        for i in indices:
            sample = source.sample(int(i), np.random.default_rng((0, int(i))))
            content = io.BytesIO()
            Image.fromarray(change(sample.image) if change else sample.image).save(content, "PNG", compress_level=1)
            row_id = f"{source.name}/{sample.id}"
            rows.append(
                {"image": {"bytes": content.getvalue()}, "text": sample.text, "id": row_id, "group": sample.group}
            )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000.parquet")
