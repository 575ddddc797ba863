import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from languages import ENGLISH, small_language

from quillread.language.scoring import MixedCharacters, MixedWords

PARISH = ["baptised Okonkwo the son of Umuofia, parish of Mbanta, the 3 of June. Okonkwo of Umuofia, yeoman."] * 5


@pytest.fixture
def models(tmp_path: Path):
    return small_language(tmp_path / "a.lm", ENGLISH), small_language(tmp_path / "b.lm", PARISH)


def test_probabilities_are_averaged_by_weight(models):
    a, b = (m.characters for m in models)
    mixed = MixedCharacters([a, b], [0.75, 0.25])
    (p, after_a), (q, after_b) = a.step(a.start, "O"), b.step(b.start, "O")
    r, after = mixed.step(mixed.start, "O")
    assert math.exp(r) == pytest.approx(0.75 * math.exp(p) + 0.25 * math.exp(q))
    r2, _ = mixed.step(after, "k")
    wanted = 0.75 * math.exp(a.step(after_a, "k")[0]) + 0.25 * math.exp(b.step(after_b, "k")[0])
    assert math.exp(r2) == pytest.approx(wanted)
    assert math.exp(mixed.alone("O")) == pytest.approx(0.75 * math.exp(a.alone("O")) + 0.25 * math.exp(b.alone("O")))


def test_words_of_either_model_are_known(models):
    mixed = MixedWords([m.words for m in models], [0.5, 0.5])
    for word in ("house", "okonkwo"):
        p, number = mixed.score(0, word, -30.0)
        assert number > 0 and p > -8
    p, number = mixed.score(0, "qxz", -30.0)
    assert number == 0 and p < -20


def test_the_word_before_counts_in_a_mixture(models):
    mixed = MixedWords([m.words for m in models], [0.5, 0.5])
    _, son = mixed.score(0, "son", -9.0)
    assert mixed.score(son, "of", -6.0)[0] > mixed.score(0, "of", -6.0)[0]


def test_a_mixture_outlives_the_states_of_its_models(models, monkeypatch):
    mixed = MixedCharacters([m.characters for m in models], [0.5, 0.5])

    def walk() -> list[float]:
        state, logs = mixed.start, []
        for character in "the house of Okonkwo":
            log, state = mixed.step(state, character)
            logs.append(log)
        return logs

    before, start = walk(), mixed.start
    monkeypatch.setattr("quillread.language.characters._MOST_STATES", 5)
    monkeypatch.setattr("quillread.language.scoring._MOST_STATES", 5)
    mixed.tidy()
    assert mixed.start is not start
    assert walk() == before


def test_a_mixture_stays_right_when_another_tidied_its_model(models, monkeypatch):
    a, b = (m.characters for m in models)
    first, second = MixedCharacters([a, b], [0.5, 0.5]), MixedCharacters([b, a], [0.5, 0.5])
    monkeypatch.setattr("quillread.language.characters._MOST_STATES", 0)
    state, other = second.start, MixedCharacters([b, a], [0.5, 0.5]).start
    for character in "the house of Okonkwo":
        first.tidy()
        log, state = second.step(state, character)
        expected, other = second.step(other, character)
        assert log == expected


def test_threads_number_the_words_of_a_mixture_alike(models):
    words = [w for w in ("the", "house", "son", "of", "man", "and", "in", "was") if w]
    mixed = MixedWords([m.words for m in models], [0.5, 0.5])
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda word: mixed.score(0, word, -6.0)[1], words * 50))
    assert numbers == numbers[: len(words)] * 50
