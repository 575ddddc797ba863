"""Data SPECs, `kind:where?options@weight`, and the sources that they name; parsing one imports no source."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.config import suggest
from quillread.errors import DataError, SplitError

if TYPE_CHECKING:
    from quillread.data.source import Source

KINDS = ("hub", "folder", "csv", "jsonl", "iam", "imgur5k", "page", "fonts", "strokes", "recombined")
"""The kinds of sources that can be opened."""

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Each split with the names that data sets give it, the usual one first."""

SYNTHETIC_KINDS = ("fonts", "strokes", "recombined")
"""Kinds whose images are made, anew at each look."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """One source of lines."""

    kind: str
    where: str
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weight: float | None = None
    """Share of this source in a mix, relative to the others; None for its number of lines."""

    def option(self, name: str, default: str) -> str:
        """The last value given for an option."""
        return self.options.get(name, (default,))[-1]

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        """The value given for an option, or the first one of `values`.

        Raises:
            DataError: If it is none of `values`.
        """
        value = self.option(name, values[0])
        if value not in values:
            raise DataError(f"{self.kind}:{self.where}: {name} must be {' or '.join(values)}, got {value!r}")
        return value

    def count(self, name: str, default: int) -> int:
        """The whole number above 0 given for an option.

        Raises:
            DataError: If it is none.
        """
        value = self.option(name, str(default))
        if name in self.options and not (value.isdecimal() and int(value) > 0):
            raise DataError(f"{self.kind}:{self.where}: {name} must be a whole number above 0, got {value!r}")
        return int(value)

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        """Check the option names.

        Raises:
            DataError: Naming the first unknown option and the nearest known one.
        """
        for name in self.options:
            if name not in known:
                raise DataError(f"{self.kind}:{self.where}: unknown option {name!r}{suggest(name, known)}")

    @classmethod
    def parse(cls, text: str) -> "DataSpec":
        """Read what `str` writes; see `parse_spec`."""
        return parse_spec(text)

    @property
    def needs_root(self) -> bool:
        """Whether its place is given relative to a folder that is named later, as `{root}`."""
        return "{root}" in str(self)

    def under(self, root: Path) -> "DataSpec":
        """The same with `{root}` filled in, in its place and in those that its options name."""
        options = {name: tuple(_fill(value, root) for value in values) for name, values in self.options.items()}
        return replace(self, where=_fill(self.where, root), options=options)

    def placed(self) -> "DataSpec":
        """The same with an absolute path, if it names a file or folder that is there."""
        if self.kind == "recombined":
            options = {name: tuple(_absolute(value) for value in values) for name, values in self.options.items()}
            return replace(self, where=str(parse_spec(self.where).placed()), options=options)
        return replace(self, where=_absolute(self.where))

    def public(self) -> "DataSpec":
        """The same without the folders that its file or folder lies in, and those of its options."""
        options = {name: tuple(_last(value) for value in values) for name, values in self.options.items()}
        where = str(parse_spec(self.where).public()) if self.kind == "recombined" else _last(self.where)
        return replace(self, where=where, options=options)

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, values in self.options.items() for value in values)
        weight = "" if self.weight is None else f"@{self.weight!r}".removesuffix(".0")
        return f"{self.kind}:{self.where}" + (f"?{query}" if query else "") + weight


def _fill(value: str, root: Path) -> str:
    return value.replace("{root}", str(root))


def _absolute(value: str) -> str:
    path = Path(value)
    return str(path.absolute()) if path.exists() else value


def _last(value: str) -> str:
    path = Path(value)
    return path.name if path.exists() and path.name else value


def find_split(split: str, found: Collection[str]) -> str | None:
    """The name under which a data set with the splits `found` has a split; None if it has it not."""
    return next((name for name in SPLITS.get(split, (split,)) if name in found), None)


def parse_spec(text: str) -> DataSpec:
    """Read a source as written on the command line; a bare folder stands for `folder:`.

    Raises:
        DataError: If the kind is unknown or nothing follows it.
    """
    rest, weight = _split_weight(text)
    place, _, query = rest.partition("?")
    kind, colon, where = place.partition(":")
    if not colon or len(kind) == 1:  # one letter before the colon is a Windows drive
        if not Path(place).is_dir() and "{root}" not in place:
            raise DataError(
                f"{text!r} is neither a folder nor of the form kind:where",
                hint=f"name a folder of lines, or one of {', '.join(k + ':' for k in KINDS)}",
            )
        kind, where = "folder", place
    if kind not in KINDS:
        raise DataError(f"unknown kind of data {kind!r} in {text!r}{suggest(kind, KINDS)}")
    if not where:
        raise DataError(f"{text!r} does not say where the data is")
    options: dict[str, tuple[str, ...]] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not equals:
            raise DataError(f"option {part!r} of {text!r} is not of the form name=value")
        options[name] = (*options.get(name, ()), value)
    return DataSpec(kind, where, options, weight)


def _split_weight(text: str) -> tuple[str, float | None]:
    rest, at, number = text.rpartition("@")
    if not at:
        return text, None
    try:
        weight = float(number)
    except ValueError:
        return text, None  # an "@" within a file name or a revision
    if not 0 < weight < math.inf:
        raise DataError(f"weight {number} of {rest!r} must be above 0")
    return rest, weight


_REPLACE = "replace"
_KINDS = {
    "hub": "quillread.data.hub:open_hub",
    "folder": "quillread.data.tables:open_folder",
    "csv": "quillread.data.tables:open_csv",
    "jsonl": "quillread.data.tables:open_jsonl",
    "iam": "quillread.data.iam:open_iam",
    "imgur5k": "quillread.data.imgur5k:open_imgur5k",
    "page": "quillread.data.page_lines:open_page_lines",
    "fonts": "quillread.data.spec:_open_fonts",
    "strokes": "quillread.data.spec:_open_strokes",
    "recombined": "quillread.data.spec:_open_recombined",
}
"""Kind -> function (spec, split) -> Source, imported when it is needed."""


def open_source(spec: DataSpec, split: str) -> "Source":
    """Open a data source.

    All kinds but synthetic ones take the option `replace`, as `FROM:TO`, which may be repeated: characters of texts,
    and what stands in their place, such as `ſ:s`, or nothing, as in `^:`.

    Args:
        spec: Where and what.
        split: "train", "validation" or "test"; sources that know no splits give all their lines.

    Raises:
        DataError: If it is missing, malformed or empty.
    """
    from quillread.data.source import RewrittenSource

    changes = [_change(spec, value) for value in spec.options.get(_REPLACE, ())]
    if changes and spec.kind in SYNTHETIC_KINDS:
        raise DataError(f"{spec}: {_REPLACE} is for texts that others have written", hint="change the text itself")
    options = {name: values for name, values in spec.options.items() if name != _REPLACE}
    module, _, name = _KINDS[spec.kind].partition(":")
    source: Source = getattr(import_module(module), name)(replace(spec, options=options), split)
    return RewrittenSource(source, changes) if changes else source


def open_splits(spec: DataSpec) -> "dict[str, Source]":
    """Open all splits that a data source has; one that knows none as "train".

    Raises:
        DataError: If it is missing, malformed or empty, or has no split of a usual name.
    """
    if not _has_splits(spec):
        return {"train": open_source(spec, "train")}
    found: dict[str, Source] = {}
    missing: SplitError | None = None
    for split in SPLITS:
        try:
            found[split] = open_source(spec, split)
        except SplitError as error:
            missing = missing or error
    if missing and not found:
        raise missing
    return found


_ALWAYS_SPLIT = ("hub", "iam", "imgur5k")


def _has_splits(spec: DataSpec) -> bool:
    """Whether there is another answer to another split; data that knows none gives all its lines for each."""
    if spec.kind in _ALWAYS_SPLIT or spec.kind in SYNTHETIC_KINDS:
        return spec.kind in _ALWAYS_SPLIT
    try:
        open_source(spec, "none of them")
    except SplitError:
        return True
    except DataError:  # that it has no splits, or is told when it is opened
        return False
    return False


def _change(spec: DataSpec, value: str) -> tuple[str, str]:
    before, colon, after = value.rpartition(":")
    if not colon or not before:
        raise DataError(f"{spec}: {_REPLACE} must be of the form FROM:TO, got {value!r}")
    return before, after


def _open_strokes(spec: DataSpec, split: str) -> "Source":
    from quillread.data.strokes import StrokeSource

    spec.refuse_unknown(())
    return StrokeSource(Path(spec.where))


def _open_fonts(spec: DataSpec, split: str) -> "Source":
    from quillread.data.fonts import FontLineConfig, FontSource

    spec.refuse_unknown(("text", "lines"))
    config = FontLineConfig(lines=spec.count("lines", FontLineConfig().lines))
    return FontSource(Path(spec.where), [Path(p) for p in spec.options.get("text", ())], config)


def _open_recombined(spec: DataSpec, split: str) -> "Source":
    from quillread.data.recombined import RecombinedSource, read_cuts

    spec.refuse_unknown(("cuts", "lines"))
    lines = parse_spec(spec.where)
    if lines.kind in SYNTHETIC_KINDS:
        raise DataError(f"{spec}: {lines.kind} lines are made anew at each look and cannot be cut")
    cuts = spec.options.get("cuts", ())
    if not cuts:
        raise DataError(f"{spec}: does not say where the lines can be cut", hint="add ?cuts=FILE of `quill data cuts`")
    found = [cut for path in cuts for cut in read_cuts(Path(path))]
    return RecombinedSource(open_source(lines, split), found, spec.count("lines", 20_000))
