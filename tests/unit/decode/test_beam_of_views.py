import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quillread.decode.beam import BeamConfig, best_columns, log_likelihoods, search_jointly
from quillread.decode.ctc import log_likelihood

CHARACTERS = ["", "a", "b", "c"]


class Nothing:
    def start(self) -> None:
        return None

    def extend(self, state: None, character: str) -> tuple[float, None]:
        return 0.0, None

    def finish(self, state: None) -> float:
        return 0.0


def random_log_probs(seed: int, length: int, sharpness: float = 2.0) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(0, sharpness, (length, len(CHARACTERS)))
    return (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))).astype(np.float32)


labellings = st.lists(st.lists(st.integers(1, 3), max_size=6), min_size=1, max_size=5)


@given(st.integers(0, 2**32), st.integers(1, 12), labellings)
@settings(max_examples=60)
def test_several_likelihoods_at_once_are_those_one_by_one(seed, length, labels):
    log_probs = random_log_probs(seed, length)
    wanted = [max(log_likelihood(log_probs, one), -1e30) for one in labels]
    assert log_likelihoods(log_probs, labels) == pytest.approx(wanted, abs=1e-4)


def columns(text: str, share: float = 0.9) -> np.ndarray:
    probs = np.full((len(text), 4), (1 - share) / 3, np.float32)
    probs[np.arange(len(text)), ["-abc".index(c) for c in text]] = share
    return np.log(probs)


def test_each_class_stands_at_its_best_column():
    log_probs = columns("--aa-b--bc")
    log_probs[3, 1] += 0.05
    assert best_columns(log_probs, [1, 2, 2, 3]) == (3, 5, 8, 9)
    assert best_columns(log_probs, []) == ()


def test_classes_that_do_not_fit_are_spread():
    assert best_columns(columns("ab"), [1, 1, 1]) == (0, 0, 1)


def test_views_outvote_one():
    views = [columns("-a-b-", 0.55), columns("-a-c-", 0.9), columns("-a-c--", 0.8)]
    views[0][3] = np.log([0.02, 0.02, 0.55, 0.41])
    alone, together = (search_jointly(some, CHARACTERS, Nothing(), BeamConfig())[0] for some in (views[:1], views))
    assert (alone.labels, together.labels) == ((1, 2), (1, 3))
    assert together.columns == (1, 3)


@given(st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=20)
def test_readings_are_in_order_and_distinct(seed, length):
    views = [random_log_probs(seed + i, length + i) for i in range(3)]
    found = search_jointly(views, CHARACTERS, Nothing(), BeamConfig())
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert len({f.labels for f in found}) == len(found)
    assert all(list(f.columns) == sorted(f.columns) for f in found)
