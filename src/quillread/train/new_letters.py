"""New letters: the charset of a compact run grows by the characters of its data, and the last layer with it."""

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from quillread.data.source import Source
from quillread.text.charset import BLANK, Charset
from quillread.text.normalise import letter_of
from quillread.train.config import TrainConfig
from quillread.train.family_settings import CompactPart

log = logging.getLogger(__name__)

_NO_LETTERS = ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp", "Zs")
"""Categories of Unicode that nobody writes: controls, what is not assigned, other spaces than the plain one. The
private ones are letters: medievalists keep abbreviations there (MUFI)."""
_REPLACEMENT = "\ufffd"
"""Stands for what could not be decoded."""
_LISTED = 20
_FEW = 5
"""Lines below which a letter is hardly learnt."""
_RARER = 0.7
"""A new letter starts this many nats less likely than the old one that it is a form of, half as likely: few steps can
tell them apart, and until then the old one is read."""


def grow_charset(config: TrainConfig, sources: Iterable[Source]) -> TrainConfig:
    """Add the characters of the training texts that the charset lacks, in the order of Unicode.

    Combining marks that do not compose with their letter are characters, too. A run with a teacher keeps its charset,
    which is that of the teacher.

    Args:
        config: Settings of a run.
        sources: Where its lines come from, held-out ones included, so that all folds have the same charset.
    """
    part = config.part
    if not isinstance(part, CompactPart) or not part.grow_charset or part.teacher:
        return config
    charset, lines = Charset(part.charset), Counter[str]()
    for source in sources:
        for i in range(len(source)):
            lines.update(charset.unknown(source.text(i)).keys())
    new = sorted(filter(_is_letter, lines))
    if not new:
        return config
    listed = ", ".join(f"{_shown(c)} ({lines[c]})" for c in new[:_LISTED])
    more = f" and {len(new) - _LISTED} more" if len(new) > _LISTED else ""
    log.info("new letters, with the number of lines that have them: %s%s", listed, more)
    if few := [c for c in new if lines[c] < _FEW]:
        log.info("%d of them in fewer than %d lines, too few to be learnt well", len(few), _FEW)
    return replace(config, part=replace(part, charset=part.charset + "".join(new)))


def _is_letter(character: str) -> bool:
    return unicodedata.category(character) not in _NO_LETTERS and character != _REPLACEMENT


def _shown(character: str) -> str:
    """A character as people can see it, a mark on a circle."""
    shown = f"\u25cc{character}" if unicodedata.combining(character) else character
    return shown if unicodedata.category(character) != "Co" else f"U+{ord(character):04X}"


def grow_head(state: Mapping[str, Tensor], known: str, charset: str, seed: int) -> dict[str, Tensor]:
    """Weights of a network for a longer charset.

    A letter that is a form of a known one, as ſ of s or ā of a, starts as that one, less likely; others start at
    random, as unlikely as the least likely known one.

    Args:
        state: Weights by name; the head is `head.weight` (classes, width) and `head.bias` (classes,).
        known: Its charset.
        charset: The longer one, which begins with `known`.
        seed: Of the random values.
    """
    weight, bias = state["head.weight"], state["head.bias"]
    generator = torch.Generator().manual_seed(seed)
    classes = {character: number for number, character in enumerate(known, BLANK + 1)}
    rows, biases = [weight], [bias]
    for character in charset[len(known) :]:
        row = torch.empty_like(weight[:1])
        nn.init.normal_(row, std=float(weight.std()) / 10, generator=generator)
        form_of = classes.get(letter_of(character)) if character.isalpha() else None
        if form_of is not None:
            rows.append(weight[form_of : form_of + 1] + row)
            biases.append(bias[form_of : form_of + 1] - _RARER)
        else:
            rows.append(row)
            biases.append(bias.min().reshape(1))
    return {**state, "head.weight": torch.cat(rows), "head.bias": torch.cat(biases)}
