import gc
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quillread.decode import beam
from quillread.decode.beam import BeamConfig, search
from quillread.decode.ctc import log_likelihood
from quillread.errors import ConfigError

CHARACTERS = ["", "a", "b", " "]
WIDE = BeamConfig(width=500, least=1e-12, behind=1e-12)


class Nothing:
    """A scorer to which all texts are alike."""

    def start(self) -> None:
        return None

    def extend(self, state: None, character: str) -> tuple[float, None]:
        return 0.0, None

    def finish(self, state: None) -> float:
        return 0.0


class Likes(Nothing):
    """A scorer that adds a number for each character, and one at the end."""

    def __init__(self, values: dict[str, float], end: float = 0.0) -> None:
        self.values, self.end = values, end

    def extend(self, state: None, character: str) -> tuple[float, None]:
        return self.values.get(character, 0.0), None

    def finish(self, state: None) -> float:
        return self.end


def random_log_probs(seed: int, length: int) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(0, 2, (length, len(CHARACTERS)))
    return (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))).astype(np.float32)


def every_text(length: int) -> list[tuple[int, ...]]:
    return [labels for n in range(length + 1) for labels in itertools.product(range(1, len(CHARACTERS)), repeat=n)]


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=30)
def test_a_wide_search_finds_the_likeliest_text_with_its_likelihood(seed, length):
    log_probs = random_log_probs(seed, length)
    likeliest = max(every_text(length), key=lambda labels: log_likelihood(log_probs, labels))
    best = search(log_probs, CHARACTERS, Nothing(), WIDE)[0]
    assert best.log_probability == pytest.approx(log_likelihood(log_probs, likeliest), abs=1e-4)


@given(st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=30)
def test_scores_of_a_language_are_added_to_the_likelihood(seed, length):
    log_probs = random_log_probs(seed, length)
    liked = {"a": 0.7, "b": -1.1, " ": 0.2}

    def worth(labels: tuple[int, ...]) -> float:
        return log_likelihood(log_probs, labels) + sum(liked[CHARACTERS[i]] for i in labels) + 0.5

    best = search(log_probs, CHARACTERS, Likes(liked, 0.5), WIDE)[0]
    assert best.score == pytest.approx(max(map(worth, every_text(length))), abs=1e-4)
    assert best.log_probability == pytest.approx(log_likelihood(log_probs, best.labels), abs=1e-4)


def columns(best: str, other: str, share: float) -> np.ndarray:
    """Columns that prefer one text, with some probability of another; "-" is the blank."""
    classes = {"-": 0, "a": 1, "b": 2, " ": 3}
    probs = np.full((len(best), 4), 1e-6, np.float32)
    for i, (x, y) in enumerate(zip(best, other, strict=True)):
        probs[i, classes[y]] += share
        probs[i, classes[x]] += 1 - share
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def text_of(labels: tuple[int, ...]) -> str:
    return "".join(CHARACTERS[i] for i in labels)


def test_a_language_turns_what_is_in_doubt():
    log_probs = columns("-a-b-", "-a-a-", 0.3)
    assert text_of(search(log_probs, CHARACTERS, Nothing(), BeamConfig())[0].labels) == "ab"
    assert text_of(search(log_probs, CHARACTERS, Likes({"a": 1.0}), BeamConfig())[0].labels) == "aa"


def test_a_language_leaves_what_is_certain():
    log_probs = columns("-a-b-", "-a-a-", 1e-5)
    assert text_of(search(log_probs, CHARACTERS, Likes({"a": 3.0}), BeamConfig())[0].labels) == "ab"


def test_characters_are_placed_where_they_were_seen():
    found = search(columns("--a---a-b-", "--a---a-b-", 0.1), CHARACTERS, Nothing(), BeamConfig())[0]
    assert (text_of(found.labels), found.columns) == ("aab", (2, 6, 8))


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=30)
def test_places_never_fall_and_readings_are_in_order(seed, length):
    found = search(random_log_probs(seed, length), CHARACTERS, Nothing(), BeamConfig())
    assert all(list(f.columns) == sorted(f.columns) and len(f.columns) == len(f.labels) for f in found)
    scores = [f.score for f in found]
    assert scores == sorted(scores, reverse=True)
    assert len({f.labels for f in found}) == len(found) <= BeamConfig().width


def test_nothing_but_blanks_is_an_empty_line():
    (only,) = search(columns("----", "----", 0.1), CHARACTERS, Nothing(), BeamConfig())
    assert only.labels == ()
    assert only.log_probability == pytest.approx(0, abs=1e-3)


def test_a_very_long_line_does_not_run_out_of_numbers():
    log_probs = columns("a-b-" * 1500, "b-a-" * 1500, 0.4)
    best = search(log_probs, CHARACTERS, Likes({"a": -3.0, "b": -3.0}), BeamConfig())[0]
    assert len(best.labels) == 3000 and math.isfinite(best.score)


def test_of_readings_alike_as_many_are_followed_as_the_beam_is_wide():
    log_probs = np.log(np.full((3, len(CHARACTERS)), 0.25, np.float32))
    for width in (1, 2, 3):
        assert 1 <= len(search(log_probs, CHARACTERS, Nothing(), BeamConfig(width=width))) <= width


def test_a_search_leaves_no_reading_to_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        search(random_log_probs(7, 60), CHARACTERS, Likes({"a": 0.5}), BeamConfig())
        assert not any(type(left) is beam._Prefix for left in gc.get_objects())
    finally:
        gc.enable()


@pytest.mark.parametrize("values", [{"width": 0}, {"least": 0.0}, {"behind": 1.0}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ConfigError):
        BeamConfig(**values)
