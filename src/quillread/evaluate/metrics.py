"""Error rates: counts first, ratios last.

Each line yields counts of edits; a rate is the sum of edits over the sum of reference lengths, so long lines
weigh more and nothing is an average of averages. `cer` and `wer` count exactly what jiwer counts by default:
white space at the ends is dropped; words are split at spaces, and at two or more white-space characters.
"""

import dataclasses
import math
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from quillread.text.align import align
from quillread.text.normalise import scoring_form, scoring_words

_MANY_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True, slots=True)
class EditCounts:
    """Edits that turn references into predictions, and the length of the references; addable."""

    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    length: int = 0
    """Characters or words in the references."""

    @property
    def edits(self) -> int:
        """All edits."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Edits over length: 0 or more, above 1 if many were inserted; nan if the references are empty.

        jiwer gives the number of insertions for empty references; a count is not a rate, so this gives nan.
        """
        return self.edits / self.length if self.length else math.nan

    def __add__(self, other: "EditCounts") -> "EditCounts":
        """Add each count to its counterpart."""
        return EditCounts(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.length + other.length,
        )


@dataclass(frozen=True, slots=True)
class LineScore:
    """The counts of one line, by metric; the field names are the names of the metrics."""

    cer: EditCounts
    """Characters as they are."""
    wer: EditCounts
    """Words as they are, split at spaces."""
    cer_spacing: EditCounts
    """Characters of the scoring form (`text.normalise.scoring_form`)."""
    wer_spacing: EditCounts
    """Words and punctuation marks of the scoring form (`text.normalise.scoring_words`)."""
    cer_caseless: EditCounts
    """Characters of the scoring form, case-folded: what remains when spacing and upper case do not count."""

    @property
    def is_exact(self) -> bool:
        """Whether the line is exactly right as it is, white space at its ends aside."""
        return self.cer.edits == 0


METRICS = tuple(field.name for field in dataclasses.fields(LineScore))
"""The names of all metrics, in the order in which they are reported."""


def edit_counts(reference: Sequence[Hashable], prediction: Sequence[Hashable]) -> EditCounts:
    """Count the edits of a shortest alignment between two strings or lists of words."""
    if reference == prediction:
        return EditCounts(length=len(reference))
    pairs = align(reference, prediction)
    insertions = sum(wanted is None for wanted, _ in pairs)
    deletions = sum(read is None for _, read in pairs)
    differing = sum(wanted != read for wanted, read in pairs)
    return EditCounts(differing - insertions - deletions, insertions, deletions, len(reference))


def score_line(reference: str, prediction: str) -> LineScore:
    """Count the edits of one line under every metric."""
    wanted, read = scoring_form(reference), scoring_form(prediction)
    return LineScore(
        cer=edit_counts(reference.strip(), prediction.strip()),
        wer=edit_counts(_words(reference), _words(prediction)),
        cer_spacing=edit_counts(wanted, read),
        wer_spacing=edit_counts(scoring_words(reference), scoring_words(prediction)),
        cer_caseless=edit_counts(wanted.casefold(), read.casefold()),
    )


def total(counts: Iterable[EditCounts]) -> EditCounts:
    """Add up counts; zero for none."""
    return sum(counts, EditCounts())


def summarise(scores: Sequence[LineScore]) -> dict[str, float]:
    """Return the corpus-level rate of every metric: summed edits over summed length, nan if that is 0."""
    return {metric: total(getattr(score, metric) for score in scores).rate for metric in METRICS}


def _words(text: str) -> list[str]:
    # jiwer's rule to the letter: a lone tab or no-break space inside a line does not part two words.
    return [word for word in _MANY_SPACES.sub(" ", text).strip().split(" ") if word]
