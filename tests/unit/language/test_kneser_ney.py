import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.language.kneser_ney import log_probability, smooth


def packed(*symbols: int) -> np.ndarray:
    return np.array([sum(s << 8 * i for i, s in enumerate(reversed(symbols)))], np.uint64)


def probability(grams, *symbols: int) -> float:
    return math.exp(log_probability(grams, packed(*symbols), len(symbols))[0])


def test_a_worked_example():
    # The ring a a b: three bigrams, each once, so all discounts are a half. Before a stand a and b, before b stands a.
    grams = smooth(np.array([0, 0, 1], np.uint8), 2, 2)
    assert probability(grams, 0) == pytest.approx((2 - 0.5) / 3 + (1 / 3) / 2)
    assert probability(grams, 1) == pytest.approx((1 - 0.5) / 3 + (1 / 3) / 2)
    assert probability(grams, 0, 0) == pytest.approx((1 - 0.5) / 2 + 0.5 * 2 / 3)
    assert probability(grams, 0, 1) == pytest.approx((1 - 0.5) / 2 + 0.5 * 1 / 3)
    assert probability(grams, 1, 0) == pytest.approx((1 - 0.5) / 1 + 0.5 * 2 / 3)
    assert probability(grams, 1, 1) == pytest.approx(0.5 * 1 / 3)


def test_the_three_discounts_are_those_of_chen_and_goodman():
    # Single symbols of a model of order 1: counts 1, 1, 2, 3, 4 of the symbols 0 to 4, so n1 to n4 are 2, 1, 1, 1.
    symbols = np.repeat(np.arange(5), [1, 1, 2, 3, 4]).astype(np.uint8)
    share = 2 / (2 + 2 * 1)
    d1, d2, d3 = 1 - 2 * share * 1 / 2, 2 - 3 * share * 1 / 1, 3 - 4 * share * 1 / 1
    taken = [d1, d1, d2, d3, d3]
    grams = smooth(symbols, 1, 5)
    wanted = [(c - d + sum(taken) / 5) / 11 for c, d in zip([1, 1, 2, 3, 4], taken, strict=True)]
    assert np.exp(grams[0].log_probs) == pytest.approx(wanted)


texts = st.lists(st.integers(0, 3), min_size=3, max_size=60).map(lambda x: np.array(x, np.uint8))


@given(texts, st.integers(1, 5), st.integers(0, 30), st.lists(st.integers(0, 4), max_size=4))
def test_what_follows_any_context_adds_up_to_1(text, order, keep, context):
    grams = smooth(text, order, 5, keep)
    context = context[-(order - 1) :] if order > 1 else []
    assert sum(probability(grams, *context, symbol) for symbol in range(5)) == pytest.approx(1)


@given(texts, st.integers(2, 5), st.integers(0, 30))
def test_pruning_keeps_what_is_asked_for_and_all_that_leads_there(text, order, keep):
    grams = smooth(text, order, 5, keep)
    assert sum(len(g.keys) for g in grams[1:]) <= keep
    for shorter, longer in itertools.pairwise(grams):
        assert np.isin(longer.keys >> np.uint64(8), shorter.keys).all()


def test_a_symbol_that_never_occurs_has_some_probability():
    assert probability(smooth(np.array([1, 1, 1], np.uint8), 2, 3), 1, 2) > 0


def test_eight_symbols_fit():
    text = np.tile(np.arange(200, 220), 3).astype(np.uint8)
    grams = smooth(text, 8, 256)
    assert probability(grams, *range(200, 208)) > 0.5
