"""What a reading is made with."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from quillread import config as configs
from quillread.errors import ConfigError
from quillread.formats.ground_truth import list_layouts
from quillread.images.crop import CropConfig
from quillread.images.document import ReadConfig
from quillread.images.sheet import SheetConfig
from quillread.language.catalog import AUTO, SHIPPED_LANGUAGES, LanguageConfig, resolve_language, split_weight
from quillread.models.catalog import AUTO as AUTO_MODEL
from quillread.models.catalog import CANDIDATES, SHIPPED, describe, digest, file_digest, pin, resolve
from quillread.models.model_folder import CARD_NAME
from quillread.models.trocr.adapter_folder import model_folders
from quillread.models.trocr.settings import GenerateChanges
from quillread.pages.segment import segmenter_content
from quillread.version import __version__

MOST_VARIANTS = 7
MOST_THREADS = 1024
"""No machine has more cores."""
_NONE = "none"
_SHIPPED = (*SHIPPED, AUTO_MODEL, *SHIPPED_LANGUAGES, AUTO, _NONE)
_SEVERAL = ("models", "lm", "lexicons")
_ELSEWHERE = ("models", "threads", "lm", "lexicons", "segmentation", "segmenter")
"""Options that provenance names by their content, and threads, which change nothing."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reading is made with; the same from Python, YAML, JSON and the command line.

    >>> from quillread import ReadOptions
    >>> options = ReadOptions(lm=("fr",), pages="2-5")
    >>> options.changed(threads=1, read={"pdf_dpi": 400}).read.pdf_dpi
    400
    """

    models: tuple[str, ...] = ("builtin",)
    """Names or folders of models, or `org/name@revision`; several vote. "auto" alone reads the first lines of each page
    with several shipped ones, and the page with the one that expects the fewest errors."""
    generate: GenerateChanges = field(default_factory=GenerateChanges)
    """How TrOCR generates text, where that is to differ from what is stored with the model."""
    lm: tuple[str, ...] | None = None
    """Languages to read with: "none"; "auto", which chooses line by line; shipped ones and files of `quill lm train`,
    each with `@WEIGHT` if several are mixed. If not given, auto with compact models, none with TrOCR."""
    lexicons: tuple[Path, ...] = ()
    """Files of names and other words that are to be known, one a line; others stay possible."""
    correct: bool = False
    """Correct words that are in doubt to known words near them."""
    variants: int = 1
    """Look at each line in so many ways, sheared and stretched a little, and let them vote: 1 to 7."""
    threads: int = 0
    """CPU threads of the line finder, the models and OpenCV; 0 for all cores, up to 1024. Models have no more of
    them than there are cores. They change no result."""
    pages: str | None = None
    """Pages of each document, such as "2-5,9" or "10-"; all if not given."""
    segmenter: str = "neural"
    """Name of the line finder, or an ONNX file of `quill train-segmenter`."""
    lines: bool = False
    """Take each image as one line of writing, and find none."""
    segmentation: Path | None = None
    """A PAGE or ALTO file, or a folder of them, whose lines are read instead of finding lines."""
    read: ReadConfig = field(default_factory=ReadConfig)
    sheet: SheetConfig = field(default_factory=SheetConfig)
    crop: CropConfig = field(default_factory=CropConfig)

    def __post_init__(self) -> None:
        # Given by hand in other forms, such as lists, which have no hash: readers are kept by their options.
        for name, value in configs.coerce(
            ReadOptions, {f.name: _usual(f.name, getattr(self, f.name)) for f in fields(self)}, "read options"
        ).items():
            object.__setattr__(self, name, value)
        if not self.models:
            raise ConfigError("models: name at least one")
        if AUTO_MODEL in self.models and len(self.models) > 1:
            named = ", ".join(self.models)
            raise ConfigError(f"models: {AUTO_MODEL} chooses by itself, and must stand alone, got {named}")
        if not 1 <= self.variants <= MOST_VARIANTS:
            raise ConfigError(f"variants must be 1 to {MOST_VARIANTS}, got {self.variants}")
        if self.threads < 0:
            raise ConfigError(f"threads must be at least 0, got {self.threads}")
        if self.threads > MOST_THREADS:
            raise ConfigError(f"threads must be at most {MOST_THREADS}, got {self.threads}")
        if self.lines and self.segmentation is not None:
            raise ConfigError("lines and segmentation exclude each other: images of lines need no segmentation")
        self.language()
        list(self._ranges())

    def changed(self, **changes: Any) -> "ReadOptions":
        """The same with other values; those of groups may be given in part, as `read={"pdf_dpi": 400}`.

        `model="x"` stands for `models=("x",)` and `lexicon="x"` for `lexicons=("x",)`; a single name will do for
        `models`, `lm` and `lexicons`, and a number for `pages`.

        Raises:
            ConfigError: If an option is unknown, of the wrong type or out of range.
        """
        if not changes:
            return self
        values = configs.dump(self)
        for single, several in (("model", "models"), ("lexicon", "lexicons")):
            if single in changes:
                changes[several] = changes.pop(single)
        for name, value in changes.items():
            given = _usual(name, configs.dump(value) if is_dataclass(value) else value)
            is_group = isinstance(given, dict) and isinstance(values.get(name), dict)
            values[name] = configs.merge(values[name], given) if is_group else given
        return configs.build(ReadOptions, values, "read options")

    @property
    def chooses(self) -> bool:
        """Whether a model is chosen for each page."""
        return self.models == (AUTO_MODEL,)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The models that are loaded."""
        return CANDIDATES if self.chooses else self.models

    def language(self) -> LanguageConfig | None:
        """The languages to load with a model; None for none.

        Raises:
            ConfigError: If the options contradict each other.
        """
        if self.lm is None:
            if self.lexicons:
                return LanguageConfig((AUTO,), self.lexicons, correct=self.correct)
            return LanguageConfig((AUTO,), correct=self.correct, only_compact=not self.correct)
        if _NONE not in self.lm:
            return LanguageConfig(self.lm, self.lexicons, correct=self.correct)
        if len(self.lm) > 1:
            other = next(name for name in self.lm if name != _NONE)
            raise ConfigError(f"lm: {_NONE} and {other} contradict each other")
        if self.correct:
            return LanguageConfig((AUTO,), self.lexicons, decode=False, correct=True)
        if self.lexicons:
            raise ConfigError(f"lexicons need a language model, and lm is {_NONE}")
        return None

    def selected(self, count: int) -> list[int]:
        """Indices, from 0, of the pages of a document of `count` that are to be read."""
        if self.pages is None:
            return list(range(count))
        return sorted({n - 1 for first, last in self._ranges() for n in range(first, min(last or count, count) + 1)})

    @property
    def first_page(self) -> int:
        """Number, from 1, of the first page that is read."""
        return min((first for first, _ in self._ranges()), default=1)

    def settings(self) -> dict[str, Any]:
        """What results depend on, as plain data, beside models and other files."""
        values = {name: value for name, value in configs.dump(self).items() if name not in _ELSEWHERE}
        values["generate"] = {name: value for name, value in self.generate.given.items() if name != "draft"}
        for name in ("web", "max_memory", "max_seconds"):
            del values["read"][name]
        return values

    def _ranges(self) -> Iterator[tuple[int, int | None]]:
        """First and last page of each part of `pages`, from 1; None for the last there is."""
        for part in (self.pages or "").split(",") if self.pages is not None else ():
            match = re.fullmatch(r"\s*(\d+)\s*(-\s*(\d*))?\s*", part)
            first = int(match[1]) if match else 0
            last = first if match and match[2] is None else int(match[3]) if match and match[3] else None
            if first < 1 or (last is not None and last < first):
                backwards = f", and {part.strip()!r} runs backwards" if last and last < first else ""
                raise ConfigError(f"pages: {self.pages!r} is not of the form 2-5,9: pages count from 1{backwards}")
            yield first, last


def _usual(name: str, value: Any) -> Any:
    """What an option holds for a value that programs give in its place: one name for several, a number of a page."""
    if name in _SEVERAL and isinstance(value, str | Path):
        value = (value,)
    if name in _SEVERAL and isinstance(value, list | tuple):
        return tuple(_as_name(one) if isinstance(one, Path) else one for one in value)
    return str(value) if name == "pages" and type(value) is int else value


def _as_name(path: Path) -> str:
    """A path as options name it, such that it is not taken for a model or language that ships."""
    return str(path.absolute() if str(path) in _SHIPPED else path)


class Provenance(Mapping[str, Any]):
    """What is read with, by name and content; two readings of an input with equal provenance have equal text.

    Files are looked at when it is first asked for: plain text says nothing of it.

    Args:
        options: Of the reading.

    Raises:
        ModelError: When it is asked for, if there is no such model, language model or line finder.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options = options

    @cached_property
    def _facts(self) -> dict[str, Any]:
        options = self._options
        models = [{"name": pin(name), "content": content_of(name)} for name in options.loaded]
        return {
            "software": "quillread",
            "version": __version__,
            "model": AUTO_MODEL if options.chooses else models[0]["name"],
            "models": models,
            **({"models_use": "one a page"} if options.chooses else {}),
            **_other_files(options),
            "settings": options.settings(),
        }

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def fingerprint(self) -> str:
        """The provenance in 16 characters; names are left aside where there is content."""
        text = json.dumps(_without_names(self._facts), sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def content_of(name: str) -> str:
    """Tell what a model is by its content: two names of equal content read alike.

    Returns:
        The revision of a model of the hub; SHA-256 of the files of others, cards left aside; for adapters those of the
        model that they belong to, too.

    Raises:
        ModelError: If there is no such model, or a file of it cannot be read.
    """
    folder = resolve(name)
    if folder != Path(name) and name not in SHIPPED:
        return folder.name  # the hub's cache names its folders by the revision
    first, *others = (
        digest(path for path in part.iterdir() if path.name != CARD_NAME) for part in model_folders(folder)
    )
    return hashlib.sha256("\n".join([first, *others]).encode()).hexdigest() if others else first


def _without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_names(v) for k, v in value.items() if k != ("name" if "content" in value else "model")}
    return [_without_names(item) for item in value] if isinstance(value, list) else value


def _other_files(options: ReadOptions) -> dict[str, Any]:
    """What is read with beside the models, by name and content."""
    language = options.language()
    compact = [describe(name).info.family == "compact" for name in options.loaded]
    if language and language.only_compact and not any(compact):
        language = None
    names = language.names if language else ()
    names = tuple(SHIPPED_LANGUAGES) if names == (AUTO,) else names
    finds = not options.lines and options.segmentation is None
    finder = {"name": options.segmenter, "content": segmenter_content(options.segmenter)} if finds else None
    known = options.segmentation
    return {
        "lm": _use(language, all(compact)),
        "languages": [_language(name) for name in names],
        "lexicons": [_named(str(path), path) for path in (language.lexicons if language else ())],
        "line_finder": finder,
        "segmentation": known and {"name": str(known), "content": digest(list_layouts(known))},
    }


def _use(language: LanguageConfig | None, all_compact: bool) -> str:
    """What the languages are for."""
    if language is None:
        return _NONE
    if not language.decode:
        return "correction"
    if language.only_compact and not all_compact:
        return "auto with compact models"
    return AUTO if AUTO in language.names else "mix"


def _language(written: str) -> dict[str, Any]:
    name, weight = split_weight(written)
    return {**_named(name, resolve_language(name)), "weight": weight}


def _named(name: str, path: Path) -> dict[str, str]:
    return {"name": name, "content": file_digest(path)}


def files_stamp(options: ReadOptions) -> tuple[tuple[str, int, int], ...]:
    """Path, size and time of all files that a reader loads: it is stale when they are others.

    Raises:
        ModelError: If there is no such model or language model.
    """
    files = [path for name in options.loaded for folder in model_folders(resolve(name)) for path in folder.glob("*")]
    files += [resolve_language(split_weight(n)[0]) for n in options.lm or () if n not in (AUTO, _NONE)]
    files += [*options.lexicons, *(list_layouts(options.segmentation) if options.segmentation else ())]
    files += [Path(options.segmenter)] if options.segmenter.endswith(".onnx") else []
    facts = ((str(path), path.stat()) for path in sorted(files) if path.is_file())
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in facts)
