import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quillread.decode.ctc import Hypothesis, greedy, log_likelihood
from quillread.text.charset import Charset

CHARSET = Charset("ab ")


def columns(best: str, certainty: float = 0.7) -> np.ndarray:
    """Log probabilities in which each column prefers a character; "-" is the blank."""
    classes = [0 if c == "-" else CHARSET.encode(c)[0] for c in best]
    probs = np.full((len(best), len(CHARSET)), (1 - certainty) / (len(CHARSET) - 1), np.float32)
    probs[np.arange(len(best)), classes] = certainty
    return np.log(probs)


def random_log_probs(rng: np.random.Generator, length: int, classes: int, sharpness: float = 2.0) -> np.ndarray:
    scores = rng.normal(0, sharpness, (length, classes))
    return (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))).astype(np.float32)


def collapse(path: Sequence[int]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != 0]


def summed_over_alignments(log_probs: np.ndarray, labels: Sequence[int]) -> float:
    """The definition of CTC: every path of classes that collapses to the labels."""
    length, classes = log_probs.shape
    paths = itertools.product(range(classes), repeat=length)
    total = sum(
        math.exp(sum(float(log_probs[t, c]) for t, c in enumerate(path)))
        for path in paths
        if collapse(path) == list(labels)
    )
    return math.log(total) if total else -math.inf


@given(st.integers(0, 2**32), st.integers(1, 5), st.lists(st.integers(1, 2), max_size=4))
def test_likelihood_is_the_sum_over_all_alignments(seed: int, length: int, labels: list[int]):
    log_probs = random_log_probs(np.random.default_rng(seed), length, 3)
    assert log_likelihood(log_probs, labels) == pytest.approx(summed_over_alignments(log_probs, labels), abs=1e-5)


@pytest.mark.parametrize("sharpness", [0.5, 30.0])
@pytest.mark.parametrize(("length", "count"), [(12, 5), (250, 60), (40, 0)])
def test_likelihood_is_that_of_torch(length: int, count: int, sharpness: float):
    rng = np.random.default_rng(length + count)
    log_probs = random_log_probs(rng, length, 20, sharpness)
    labels = rng.integers(1, 20, count).tolist()
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_probs)[:, None].double(),
        torch.tensor([labels], dtype=torch.long).reshape(1, count),
        torch.tensor([length]),
        torch.tensor([count]),
        reduction="none",
    )
    assert log_likelihood(log_probs, labels) == pytest.approx(-loss.item(), rel=1e-6)


@pytest.mark.parametrize("labels", [[1, 2, 1, 2], [1, 1]], ids=["too long", "no room for the blank"])
def test_labels_that_do_not_fit_have_no_likelihood(labels: list[int]):
    length = 3 if len(labels) == 4 else 2
    assert log_likelihood(random_log_probs(np.random.default_rng(0), length, 3), labels) == -math.inf


@pytest.mark.parametrize(
    ("best", "text"),
    [
        ("ab", "ab"),
        ("aabbb", "ab"),
        ("a-a", "aa"),
        ("aa--aab", "aab"),
        ("--a--b--", "ab"),
        ("a- -b", "a b"),
        (" a ", " a "),
        ("----", ""),
        ("-", ""),
        ("a", "a"),
    ],
)
def test_greedy_merges_repeats_and_drops_blanks(best: str, text: str):
    assert greedy(columns(best), CHARSET).text == text


def test_greedy_reports_the_likelihood_of_its_text_over_all_alignments():
    log_probs = columns("a-ab")
    assert greedy(log_probs, CHARSET).log_probability == pytest.approx(
        summed_over_alignments(log_probs, CHARSET.encode("aab")), abs=1e-5
    )


def test_a_character_is_as_probable_as_at_its_best_column():
    log_probs = np.log(np.array([[0.1, 0.6, 0.3, 0.0001], [0.05, 0.9, 0.05, 0.0001]], np.float32))
    assert greedy(log_probs, CHARSET).emissions[0].probability == pytest.approx(0.9)


def test_characters_meet_half_way_between_their_peaks():
    first, second = greedy(columns("---a----b---"), CHARSET).emissions
    # Peaks at columns 3 and 8, that is from 3 to 4 and 8 to 9: five columns apart.
    assert (first.start, first.stop) == (1.0, 6.0)
    assert (second.start, second.stop) == (6.0, 11.0)


def test_a_character_reaches_no_further_than_the_line():
    (only,) = greedy(columns("a-"), CHARSET).emissions
    assert (only.start, only.stop) == (0.0, 2.0)


def spans(hypothesis: Hypothesis) -> list[float]:
    return [x for e in hypothesis.emissions for x in (e.start, e.stop)]


@given(st.text("ab -", min_size=1, max_size=30))
def test_spans_are_in_order_and_within_the_line(best: str):
    hypothesis = greedy(columns(best), CHARSET)
    positions = spans(hypothesis)
    assert positions == sorted(positions)
    assert all(0 <= x <= len(best) for x in positions)
    assert "".join(e.text for e in hypothesis.emissions) == hypothesis.text


@given(st.text("ab -", min_size=1, max_size=30))
def test_every_span_holds_the_peak_of_its_character(best: str):
    runs = [(c, len(list(group))) for c, group in itertools.groupby(best)]
    stops = list(itertools.accumulate(n for _, n in runs))
    peaks = [(stop - n, stop) for (c, n), stop in zip(runs, stops, strict=True) if c != "-"]
    emissions = greedy(columns(best), CHARSET).emissions
    assert all(e.start <= a and b <= e.stop for e, (a, b) in zip(emissions, peaks, strict=True))
