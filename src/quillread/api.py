"""The Python face of the commands."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from quillread.data.spec import open_source, parse_spec
from quillread.errors import ImageError
from quillread.evaluate.report import evaluation_summary, run_evaluation
from quillread.images.web import is_address
from quillread.language.catalog import AUTO, LanguageConfig
from quillread.pages.given import GivenLayouts
from quillread.pages.transcribe import PageConfig, PageReader
from quillread.recognize.ensemble import LineReader
from quillread.recognize.load import load
from quillread.types import Page, Reading, UInt8Image

_BY_DEFAULT = LanguageConfig((AUTO,), only_compact=True)
"""As `quill read` does: compact models choose a language for each line."""


def read(
    source: str | Path | bytes,
    model: str = "builtin",
    *,
    config: PageConfig | None = None,
    segmentation: str | Path | None = None,
) -> Reading:
    """Read the handwriting in an image file, PDF or IIIF manifest, as `quill read` does.

    Args:
        source: A path, the content of a file, or an address of the web.
        model: Name or folder of a model; loaded once and kept.
        config: How pages are read; `PageConfig(lines=True)` for images that are single lines.
        segmentation: A PAGE or ALTO file, or a folder of them, whose lines are read instead of finding lines.

    Returns:
        All pages with their lines and words. A page that could not be read carries its `error`.

    Raises:
        ImageError: If nothing of the input can be read.
        DataError: If there is no such segmentation.
        ModelError: If there is no such model.
    """
    layouts = GivenLayouts(Path(segmentation)) if segmentation is not None else None
    if isinstance(source, str) and not is_address(source):
        source = Path(source)
    reading = PageReader(_load(model, _BY_DEFAULT), model, config, layouts).read(source)
    if reading.error is not None:
        raise ImageError(reading.error)
    return reading


def read_page(image: UInt8Image, model: str = "builtin", *, config: PageConfig | None = None) -> Page:
    """Read one page image in memory, uint8 RGB (H, W, 3).

    Raises:
        ImageError: If the image is empty or of another form.
        ModelError: If there is no such model.
    """
    return PageReader(_load(model, _BY_DEFAULT), model, config).read_page(image)


def measure(data: str, model: str = "builtin", *, split: str = "validation") -> dict[str, Any]:
    """Measure a model on lines with known text, as `quill evaluate` does.

    Args:
        data: A data source, `kind:where`.
        model: Name or folder of a model.
        split: Split of the data.

    Returns:
        The figures, as `quill evaluate --json` writes them.

    Raises:
        DataError: If the data is missing, malformed or empty.
        ModelError: If there is no such model.
    """
    result = run_evaluation(_load(model, None), open_source(parse_spec(data), split))
    return evaluation_summary(
        result.rows,
        model=model,
        data=data,
        split=split,
        seconds_per_line=result.seconds_per_line,
        rng=np.random.default_rng(0),
        unreadable=len(result.faults),
    )


@lru_cache(maxsize=4)
def _load(model: str, language: LanguageConfig | None) -> LineReader:
    return load(model, language=language)
