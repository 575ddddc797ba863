"""Opens a data source of any kind."""

from importlib import import_module
from pathlib import Path

from quillread.data.cuts import read_cuts
from quillread.data.fonts import FontLineConfig, FontSource
from quillread.data.recombined import RecombinedSource
from quillread.data.source import Source
from quillread.data.spec import SYNTHETIC_KINDS, DataSpec, parse_spec
from quillread.data.strokes import StrokeSource
from quillread.errors import DataError

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
    "recombined": "quillread.data.sources:_open_recombined",
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


def _open_recombined(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown(("cuts", "lines"))
    lines = parse_spec(spec.where)
    if lines.kind in SYNTHETIC_KINDS:
        raise DataError(f"{spec}: {lines.kind} lines are made anew at each look and cannot be cut")
    cuts = spec.options.get("cuts", ())
    if not cuts:
        raise DataError(f"{spec}: does not say where the lines can be cut", hint="add ?cuts=FILE of `quill data cuts`")
    found = [cut for path in cuts for cut in read_cuts(Path(path))]
    return RecombinedSource(open_source(lines, split), found, spec.count("lines", 20_000))
