import itertools
import math

import numpy as np
import pytest

from quillread.language.characters import CharacterModel, pack, to_symbols
from quillread.language.kneser_ney import log_probability, smooth

ALPHABET = " abcdefghijklmnopqrstuvwxyz.'-"
TEXT = ["the cat sat on the mat. the dog sat on the cat, and the rat ran.", "a man and a cat ran to the dog's mat."] * 3


def model(order: int = 4, keep: int | None = None) -> CharacterModel:
    symbols = to_symbols(TEXT, ALPHABET)
    return CharacterModel(ALPHABET, pack(smooth(symbols, order, len(ALPHABET) + 1, keep)))


def walk(characters: CharacterModel, text: str) -> list[float]:
    state, logs = characters.start, []
    for character in text:
        log, state = characters.step(state, character)
        logs.append(log)
    return logs


@pytest.mark.parametrize("keep", [None, 60])
def test_a_text_is_as_probable_as_in_the_smoothed_model(keep):
    symbols = to_symbols(TEXT, ALPHABET)
    grams = smooth(symbols, 4, len(ALPHABET) + 1, keep)
    text = "the rat sat by a zoo."
    placed = to_symbols([text], ALPHABET)
    wanted = []
    for i in range(1, len(placed)):
        gram = placed[max(0, i - 3) : i + 1]
        key = sum(int(s) << 8 * k for k, s in enumerate(reversed(gram.tolist())))
        wanted.append(log_probability(grams, np.array([key], np.uint64), len(gram))[0])
    # Each step adds up to four numbers, each rounded to a sixteenth.
    assert walk(model(keep=keep), text) == pytest.approx(wanted, abs=4 / 32)


def test_what_follows_adds_up_to_1_but_for_rounding():
    characters = model()
    state = characters.start
    for character in "the c":
        _, state = characters.step(state, character)
    every = [math.exp(characters.step(state, c)[0]) for c in (*ALPHABET, "§")]
    assert sum(every) == pytest.approx(1, abs=0.1)


def test_states_remember_as_far_back_as_the_model_looks():
    characters = model(order=4)

    def state(text: str) -> int:
        now = characters.start
        for character in text:
            _, now = characters.step(now, character)
        return now

    assert state("xxthe") == state("yythe")
    assert state("the") != state("she")


def test_typography_is_not_told_apart():
    characters = model()
    assert walk(characters, "dog’s") == walk(characters, "dog's")


def test_unknown_characters_are_improbable_and_do_no_harm():
    logs = walk(model(), "t本t")
    assert logs[1] < -3 and math.isfinite(logs[2])


def test_forms_of_known_letters_count_as_these():
    characters = model()
    state = characters.step(characters.start, "a")[1]
    assert characters.step(state, "\u017f") == characters.step(state, "s")
    assert characters.step(state, "\u0303") == (0.0, state)
    # Not a letter: it does not count as the space that it decomposes into.
    assert characters.step(state, "\u00a8")[0] < characters.step(state, " ")[0]


def test_states_are_forgotten_when_there_are_many(monkeypatch):
    monkeypatch.setattr("quillread.language.characters._MOST_STATES", 10)
    characters = model()
    before, start = walk(characters, TEXT[0]), characters.start
    characters.tidy()
    assert characters.start is not start
    assert walk(characters, TEXT[0]) == before


def test_a_state_in_use_stays_right_when_its_model_forgets(monkeypatch):
    monkeypatch.setattr("quillread.language.characters._MOST_STATES", 0)
    characters = model()
    expected = walk(characters, TEXT[0])
    state, logs = characters.start, []
    for character in TEXT[0]:
        characters.tidy()
        log, state = characters.step(state, character)
        logs.append(log)
    assert logs == expected


def test_white_space_becomes_single_spaces():
    placed = to_symbols(["a  b\tc ", " d"], " abcd")
    assert placed.tolist() == [1, 2, 1, 3, 1, 4, 1, 5]


@pytest.mark.parametrize("order", [2, 3, 8])
def test_models_of_any_order_are_walked(order):
    assert all(log <= 0 for log in itertools.chain(walk(model(order), TEXT[0])))


def test_a_model_does_not_say_which_digit_it_is():
    alphabet = " abc0"
    texts = ["abc 1914 b 1914 c 1914 a"] * 5
    symbols = to_symbols(texts, alphabet)
    characters = CharacterModel(alphabet, pack(smooth(symbols, 4, len(alphabet) + 1)))
    state = characters.start
    for character in "abc 19":
        _, state = characters.step(state, character)
    logs = {characters.step(state, digit)[0] for digit in "0123456789"}
    assert len(logs) == 1
    assert sum(math.exp(log) * 10 for log in logs) > 0.5
