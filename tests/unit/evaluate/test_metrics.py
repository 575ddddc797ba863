import math

import jiwer
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quillread.evaluate.metrics import EditCounts, edit_counts, score_line, summarise, total

TEXT = st.one_of(st.text(max_size=30), st.text(alphabet="ab \t\u00a0é’.", max_size=30))
CORPUS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


@given(CORPUS)
def test_cer_is_that_of_jiwer(corpus):
    references, predictions = map(list, zip(*corpus, strict=True))
    assume(any(reference.strip() for reference in references))
    rates = summarise([score_line(*pair) for pair in corpus])
    assert rates["cer"] == pytest.approx(jiwer.cer(references, predictions))


@given(CORPUS)
def test_wer_is_that_of_jiwer(corpus):
    references, predictions = map(list, zip(*corpus, strict=True))
    assume(any(reference.strip() for reference in references))
    rates = summarise([score_line(*pair) for pair in corpus])
    assert rates["wer"] == pytest.approx(jiwer.wer(references, predictions))


@given(TEXT)
def test_a_line_read_as_written_has_no_edits(text):
    score = score_line(text, text)
    assert not any((score.cer.edits, score.wer.edits, score.cer_spacing.edits, score.wer_spacing.edits))


def test_edit_counts_tell_the_kinds_apart():
    counts = edit_counts("abcdefgh", "aXcdfgh!?")
    assert counts == EditCounts(substitutions=1, insertions=2, deletions=1, length=8)


def test_corpus_rate_is_summed_edits_over_summed_length():
    rates = summarise([score_line("a", "b"), score_line("abcdefghi", "abcdefghi")])
    assert rates["cer"] == 0.1


def test_text_read_where_nothing_is_written_counts_as_insertions():
    rates = summarise([score_line("", "ab"), score_line("abcd", "abcd")])
    assert rates["cer"] == 0.5


def test_rate_over_empty_references_is_nan():
    assert math.isnan(total([EditCounts(insertions=2)]).rate)


def test_spacing_metrics_forgive_spaces_beside_punctuation():
    score = score_line("Yes , he said .", "Yes, he said.")
    assert (score.cer.edits, score.cer_spacing.edits, score.wer_spacing.edits) == (2, 0, 0)


@pytest.mark.parametrize(("written", "read"), [("½", "1/2"), ("2½", "2 1/2"), ("wa\u200bter", "water")])
def test_spacing_metrics_forgive_other_ways_to_write_the_same(written, read):
    score = score_line(written, read)
    assert (score.cer_spacing.edits, score.wer_spacing.edits) == (0, 0)


def test_an_accent_for_an_apostrophe_is_no_worse_when_spacing_is_ignored():
    score = score_line("l´eau", "l'eau")
    assert (score.cer.edits, score.cer_spacing.edits) == (1, 1)


def test_caseless_metric_forgives_upper_case_too():
    score = score_line("YES , Straße", "yes, strasse")
    assert (score.cer_spacing.edits > 0, score.cer_caseless.edits) == (True, 0)


def test_a_line_is_exact_only_as_it_is():
    assert score_line("a.", "a. ").is_exact
    assert not score_line("a.", "a .").is_exact
