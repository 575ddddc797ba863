"""Small language models for the tests."""

from pathlib import Path

from quillread.language.build import BuildConfig, LanguageModel, build_language, read_language, write_content

ENGLISH = [
    "It was a bright cold day in April, and the clocks were striking; the people of the town went down to the river.",
    "When she came to the house the door was open, and there was nobody in the room but the old man and his dog.",
    "There is no greater pleasure than to walk with a friend in the country, he said, when the weather is fine.",
    "The children of the village were playing in the road, and the women were talking at the doors of their houses.",
] * 3
BARS = ["a bad cab. a dead bee. a bead. bad bed. cab ace add." for _ in range(10)]
"""A language of what `fakes.bar_line` can draw."""


def write_language(path: Path, paragraphs: list[str] = ENGLISH, language: str = "") -> Path:
    """Write a language model made of a few sentences."""
    config = BuildConfig(order=5, least_character=1, least_word=1, least_pair=1)
    write_content(path, build_language(paragraphs, path.stem, language, config))
    return path


def small_language(path: Path, paragraphs: list[str] = ENGLISH) -> LanguageModel:
    """The same, read back."""
    return read_language(write_language(path, paragraphs))
