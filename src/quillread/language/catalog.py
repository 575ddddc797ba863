"""Language models by name, those that ship with the package and files; and what a reader makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from quillread.config import suggest
from quillread.errors import ConfigError, ModelError
from quillread.language.build import LanguageModel, read_language
from quillread.language.choice import LanguageChoice, LanguageSettings, Tongue
from quillread.language.scoring import (
    Characters,
    Language,
    MixedCharacters,
    MixedWords,
    Words,
    evidence,
    mean_log_probability,
)
from quillread.language.spelling import Lexicon, SpellingCorrector, Vocabulary, read_lexicon

SHIPPED_LANGUAGES = {
    "en": "English prose of the 19th and early 20th century, modern American prose and speech",
    "fr": "French prose of the 18th and 19th century, letters and notaries' registers of the 17th to 20th",
}
"""Name -> what it was made from, of the language models in `language/assets`."""

AUTO = "auto"
"""Chooses among the shipped languages line by line."""

_ENOUGH = 20_000
"""Characters that show which language a text is in."""

_CLEAR = 1.2
"""Evidence, in nats a character, from which a text counts as one in the language."""

_LEAST_SHARED = 0.5
"""Share of a language's letters, by how often they are used, that a model must be able to write."""


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """Which languages to read with."""

    names: tuple[str, ...]
    """Shipped names and files, each with `@WEIGHT` if several are mixed; or "auto" alone."""
    lexicons: tuple[Path, ...] = ()
    """Lists of names and other words that are to be known."""
    decode: bool = True
    """Read with the languages; else only words are corrected with them, if `correct` is set."""
    correct: bool = False
    """Correct words that are in doubt, after reading."""
    only_compact: bool = False
    """Read without a language where the model is not a compact one: TrOCR has learnt a language of its own, and plain
    folders are read as transformers reads them."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError("no language model is named")
        if AUTO in self.names and len(self.names) > 1:
            raise ConfigError(f"{AUTO} chooses by itself, and cannot be mixed with others: {', '.join(self.names)}")


def resolve_language(name: str) -> Path:
    """Find the file of a language model.

    Raises:
        ModelError: If there is none of that name.
    """
    if name in SHIPPED_LANGUAGES:
        return Path(str(files("quillread.language") / "assets" / f"{name}.lm"))
    path = Path(name)
    if not path.is_file():
        if name in (AUTO, "none"):
            raise ModelError(f"{name!r} is not a language model here", hint="name en, fr, or a file of quill lm train")
        known = [*SHIPPED_LANGUAGES, AUTO, "none"]
        raise ModelError(
            f"unknown language model {name!r}{suggest(name, known)}", hint="or name a file of quill lm train"
        )
    return path


class LanguageOpener:
    """Opens language models, for readers with whatever settings.

    Args:
        config: Which ones.
        charset: Characters that the reader can write; None for all.

    Raises:
        ModelError: If a model is missing or damaged, or of another writing system than the reader.
        DataError: If a lexicon cannot be read.
        ConfigError: If a weight is not a positive number.
    """

    def __init__(self, config: LanguageConfig, charset: str | None) -> None:
        self._lexicon: Lexicon | tuple[()] = read_lexicon(config.lexicons) if config.lexicons else ()
        if config.names == (AUTO,):
            models = [read_language(resolve_language(name)) for name in SHIPPED_LANGUAGES]
            self._groups = [([model], [1.0]) for model in models]
            self._rivals: list[Characters] = []
            return
        named = [split_weight(name) for name in config.names]
        models = [read_language(resolve_language(name)) for name, _ in named]
        for model in models:
            _check_charset(model, charset)
        total = sum(weight for _, weight in named)
        self._groups = [(models, [weight / total for _, weight in named])]
        self._rivals = _rivals(models)

    def choice(self, settings: LanguageSettings) -> LanguageChoice:
        """The languages, as the settings use them."""
        tongues = [_tongue(models, weights, settings, self._lexicon) for models, weights in self._groups]
        return LanguageChoice(tongues, self._rivals, settings.least_evidence)

    def corrector(self, settings: LanguageSettings) -> SpellingCorrector:
        """What corrects words in these languages."""
        tongues = [_tongue(models, weights, settings, self._lexicon) for models, weights in self._groups]
        choice = LanguageChoice(tongues, self._rivals, settings.least_evidence)
        vocabularies = []
        for tongue, (models, _) in zip(tongues, self._groups, strict=True):
            letters = {c.lower() for model in models for c in model.characters.alphabet if c.isalpha()}
            accepts = partial(_is_in, choice, tongue)
            vocabularies.append(Vocabulary(tongue.words, "".join(sorted(letters)), accepts))
        return SpellingCorrector(vocabularies, settings.spelling, self._lexicon)


def _is_in(choice: LanguageChoice, tongue: Tongue, text: str) -> bool:
    return choice.choose(text) is tongue and choice.accepts(tongue, text)


def split_weight(name: str) -> tuple[str, float]:
    """Split `NAME@WEIGHT`; the weight is 1 if it is not given.

    Raises:
        ConfigError: If the weight is not a positive number.
    """
    stem, at, weight = name.rpartition("@")
    if not at or Path(name).is_file():
        return name, 1.0
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name}: the weight behind @ must be a number above 0, got {weight!r}")
    return stem, value


def _tongue(
    models: Sequence[LanguageModel], weights: Sequence[float], settings: LanguageSettings, lexicon: Lexicon | tuple[()]
) -> Tongue:
    characters: Characters = models[0].characters
    words: Words = models[0].words
    if len(models) > 1:
        characters = MixedCharacters([model.characters for model in models], weights)
        words = MixedWords([model.words for model in models], weights)
    name = "+".join(model.name for model in models)
    return Tongue(name, characters, words, Language(characters, words, settings.weights, lexicon))


def _rivals(models: Sequence[LanguageModel]) -> list[Characters]:
    """The shipped languages that a line might be in instead; none if it is not known which languages are asked for."""
    asked = {model.language for model in models}
    if "" in asked:
        return []
    others = [name for name in SHIPPED_LANGUAGES if name not in asked]
    return [read_language(resolve_language(name)).characters for name in others]


def _check_charset(model: LanguageModel, charset: str | None) -> None:
    if charset is None:
        return
    # The more frequent a character, the further ahead it stands.
    letters = [c for c in model.characters.alphabet if c.isalpha()][:40]
    shared = sum(c in charset for c in letters)
    if not letters or shared < _LEAST_SHARED * len(letters):
        raise ModelError(
            f"language model {model.name!r} is of another writing system: of its letters {''.join(letters[:20])} "
            f"the recogniser can write {shared} of {len(letters)}",
            hint="choose a language model of what is written, or a recogniser that was trained on it",
        )


def guess_language(paragraphs: Sequence[str]) -> str:
    """Code of the shipped language that a text is in; empty if it seems to be in none."""
    text = " ".join(paragraphs)[:_ENOUGH]
    models = {name: read_language(resolve_language(name)).characters for name in SHIPPED_LANGUAGES}
    best = max(models, key=lambda name: mean_log_probability(models[name], text))
    return best if evidence(models[best], text) >= _CLEAR else ""
