from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from quillread.text.align import align

# Few letters, so that long common parts and ties are frequent; lengths past 64 cross a machine word.
STRINGS = st.text(alphabet="abé ", max_size=90)


@given(STRINGS, STRINGS)
def test_alignment_has_the_fewest_edits(reference, prediction):
    edits = sum(wanted != read for wanted, read in align(reference, prediction))
    assert edits == Levenshtein.distance(reference, prediction)


@given(STRINGS, STRINGS)
def test_alignment_spells_out_both_strings(reference, prediction):
    pairs = align(reference, prediction)
    assert "".join(wanted for wanted, _ in pairs if wanted is not None) == reference
    assert "".join(read for _, read in pairs if read is not None) == prediction


def test_alignment_names_hit_substitution_deletion_and_insertion():
    edits = [(wanted, read) for wanted, read in align("abcdefgh", "aXcdfgh!") if wanted != read]
    assert edits == [("b", "X"), ("e", None), (None, "!")]


def test_alignment_takes_words():
    assert align(["the", "cat"], ["the", "old", "cat"]) == [("the", "the"), (None, "old"), ("cat", "cat")]
