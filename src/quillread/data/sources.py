"""Opens a data source of any kind."""

from importlib import import_module
from pathlib import Path

from quillread.data.fonts import FontLineConfig, FontSource
from quillread.data.source import Source
from quillread.data.spec import DataSpec
from quillread.data.strokes import StrokeSource

_KINDS = {
    "hub": "quillread.data.hub:open_hub",
    "folder": "quillread.data.tables:open_folder",
    "csv": "quillread.data.tables:open_csv",
    "jsonl": "quillread.data.tables:open_jsonl",
    "iam": "quillread.data.iam:open_iam",
    "imgur5k": "quillread.data.imgur5k:open_imgur5k",
    "page": "quillread.data.page_lines:open_page_lines",
    "fonts": "quillread.data.sources:_open_fonts",
    "strokes": "quillread.data.sources:_open_strokes",
}
"""Kind -> function (spec, split) -> Source, imported when it is needed."""


def open_source(spec: DataSpec, split: str) -> Source:
    """Open a data source.

    Args:
        spec: Where and what.
        split: "train", "validation" or "test"; sources that know no splits give all their lines.

    Raises:
        DataError: If it is missing, malformed or empty.
    """
    module, _, name = _KINDS[spec.kind].partition(":")
    source: Source = getattr(import_module(module), name)(spec, split)
    return source


def _open_strokes(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown(())
    return StrokeSource(Path(spec.where))


def _open_fonts(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown(("text", "lines"))
    config = FontLineConfig(lines=spec.count("lines", FontLineConfig().lines))
    return FontSource(Path(spec.where), [Path(p) for p in spec.options.get("text", ())], config)
