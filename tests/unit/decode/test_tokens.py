import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from quillread.decode.tokens import Piece, emit, follow_gaze, look_up, spell


def byte_tokenizer() -> Tokenizer:
    """Byte-level BPE: all bytes, and a few merges."""
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ã", "©"), ("Ġ", "a")]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def piece_tokenizer() -> Tokenizer:
    """Sentencepiece: pieces of words, a mark in front of those that begin one."""
    pieces = ["▁", "▁the", "the", "a", "é", "🙂", "▁a", "b", "."]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces]))
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


TOKENIZERS = {"bytes": byte_tokenizer(), "pieces": piece_tokenizer()}


def prefixes(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    return [tokenizer.decode(list(tokens[: i + 1])) for i in range(len(tokens))]


def spell_text(text: str) -> list[Piece]:
    tokens = TOKENIZERS["bytes"].encode(text).ids
    return spell(prefixes(TOKENIZERS["bytes"], tokens), [-1.0] * len(tokens))


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(data=st.data())
def test_pieces_add_up_to_the_decoded_text_whatever_the_tokens(kind: str, data: st.DataObject):
    tokenizer = TOKENIZERS[kind]
    tokens = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=30))
    pieces = spell(prefixes(tokenizer, tokens), [-1.0] * len(tokens))
    assert "".join(piece.text for piece in pieces) == tokenizer.decode(tokens)


@given(st.text(max_size=30))
def test_pieces_of_an_encoded_text_add_up_to_it(text: str):
    assert "".join(piece.text for piece in spell_text(text)) == text


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(data=st.data())
def test_pieces_take_every_token_once(kind: str, data: st.DataObject):
    tokenizer = TOKENIZERS[kind]
    tokens = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=30))
    pieces = spell(prefixes(tokenizer, tokens), [-1.0] * len(tokens))
    if pieces:
        assert [n for piece in pieces for n in range(piece.start, piece.stop)] == list(range(len(tokens)))
        assert sum(piece.log_probability for piece in pieces) == pytest.approx(-len(tokens))


@pytest.mark.parametrize("character", ["ü", "€", "🙂"])
def test_a_character_of_several_tokens_is_one_piece(character: str):
    (piece,) = spell_text(character)
    assert (piece.text, piece.stop) == (character, len(character.encode()))


def test_tokens_without_text_belong_to_the_piece_after_them_or_to_the_last():
    pieces = spell(["", "a", "a", "ab", "ab"], [-1.0, -2.0, -4.0, -8.0, -16.0])
    assert pieces == [Piece("a", -3.0, 0, 2), Piece("b", -28.0, 2, 5)]


def test_tokens_without_any_text_give_no_pieces():
    assert spell(["", ""], [-1.0, -1.0]) == []


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.floats(-5, 0), st.floats(-50, 250)), min_size=1))
def test_characters_share_the_probability_of_their_piece(drawn: list[tuple[str, float, float]]):
    pieces = [Piece(text, p, i, i + 1) for i, (text, p, _) in enumerate(drawn)]
    emissions = emit(pieces, np.array([x for *_, x in drawn]), 200.0)
    at = 0
    for piece in pieces:
        own = emissions[at : at + len(piece.text)]
        assert math.prod(e.probability for e in own) == pytest.approx(math.exp(piece.log_probability))
        at += len(piece.text)


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-50, 250)), min_size=1), st.floats(1, 2000))
def test_characters_go_from_left_to_right_within_the_image_wherever_the_gaze_was(
    drawn: list[tuple[int, float]], width: float
):
    pieces = [Piece("x" * length, -1.0, i, i + 1) for i, (length, _) in enumerate(drawn)]
    emissions = emit(pieces, np.array([x for _, x in drawn]), width)
    ends = [x for e in emissions for x in (e.start, e.stop)]
    assert ends[0] >= 0 and ends[-1] <= width and ends == sorted(ends)
    assert all(e.start < e.stop for e in emissions)


def test_neighbours_meet_nearer_to_the_shorter_one():
    pieces = [Piece("a", -1.0, 0, 1), Piece("bcd", -1.0, 1, 2)]
    emissions = emit(pieces, np.array([50.0, 90.0]), 200.0)
    assert emissions[0].stop == emissions[1].start == 60.0


def test_characters_reach_out_by_their_usual_width_at_the_ends_of_the_line():
    pieces = [Piece(c, -1.0, i, i + 1) for i, c in enumerate("abc")]
    emissions = emit(pieces, np.array([50.0, 60.0, 70.0]), 200.0)
    assert [(e.start, e.stop) for e in emissions] == [(45.0, 55.0), (55.0, 65.0), (65.0, 75.0)]


def test_no_pieces_give_no_characters():
    assert emit([], np.array([]), 100.0) == ()


def look_at(places: Sequence[float], columns: int = 20, reach: float = 1.0) -> np.ndarray:
    """Attention of one head, (tokens, columns): a bump around each place, in columns."""
    spread = -(((np.arange(columns) + 0.5 - np.array(places)[:, None]) / reach) ** 2)
    weights = np.exp(spread)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_gaze_is_where_a_head_looks_that_moves_along_the_line():
    places = np.linspace(2, 18, 9)
    attention = np.stack([look_at([10.0] * 9), look_at(places), look_at(places[::-1]), np.full((9, 20), 0.05)])
    assert follow_gaze(attention.astype(np.float32)) * 20 == pytest.approx(places, abs=0.15)


def test_the_gaze_of_one_token_is_found():
    assert follow_gaze(look_at([5.0])[None])[0] * 20 == pytest.approx(5.0, abs=0.1)


def test_attention_without_places_puts_everything_in_the_middle():
    assert follow_gaze(np.ones((1, 3, 1), np.float32)).tolist() == [0.5] * 3


def test_attention_that_is_lost_is_no_place_but_no_fault_either():
    places = follow_gaze(np.zeros((4, 3, 8), np.float32))
    assert ((places >= 0) & (places <= 1)).all()


def test_a_piece_is_where_its_tokens_are_on_average():
    pieces = [Piece("a", -1.0, 0, 2), Piece("b", -1.0, 2, 3)]
    assert look_up(pieces, np.array([0.1, 0.3, 0.9])).tolist() == pytest.approx([0.2, 0.9])
