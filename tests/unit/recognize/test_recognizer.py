import dataclasses
import math
import unicodedata
from typing import Any

import numpy as np
import pytest
from fakes import BAR_CHARSET, BarBackend, bar_info, draw_bars
from hypothesis import given, settings
from hypothesis import strategies as st

from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.errors import ImageError
from quillread.language.choice import LanguageSettings
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import Calibration, Transcript


def recognizer(backend: BarBackend | None = None) -> LineRecognizer:
    return LineRecognizer(CtcEngine(backend or BarBackend(), bar_info()), bar_info())


def write(text: str, scale: int = 1) -> np.ndarray:
    """A line image with a blank column between the characters, and some paper around them."""
    return draw_bars({2 + 3 * i: c for i, c in enumerate(text)}, 3 * len(text) + 4, scale)


def read_one(image: np.ndarray) -> Transcript:
    (transcript,) = recognizer().read([image])
    return transcript


@given(st.lists(st.text(BAR_CHARSET.strip(), max_size=8), max_size=6))
@settings(max_examples=30)
def test_every_image_has_its_transcript_in_order(texts: list[str]):
    transcripts = recognizer().read([write(text) for text in texts])
    assert [t.text for t in transcripts] == texts


def test_no_images_give_no_transcripts():
    assert recognizer().read([]) == []


def test_a_transcript_does_not_depend_on_the_lines_beside_it():
    images = [write(text) for text in ("a", "bad cab", "", "dead", "cab bed a dad", "e")]
    together = recognizer().read(images)
    assert together == [read_one(image) for image in images]
    assert together == recognizer().read(images[::-1])[::-1]


def test_words_are_split_at_spaces():
    transcript = read_one(write("ab c  d"))
    assert transcript.text == "ab c  d"
    assert [w.text for w in transcript.words] == ["ab", "c", "d"]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_words_lie_where_they_are_in_the_image(scale: int):
    # A column is 4 pixels of the model; "ab" has its bars at columns 5 and 7, "cd" at 20 and 22 of 40.
    image = draw_bars({5: "a", 7: "b", 14: " ", 20: "c", 22: "d"}, 40, scale)
    first, second = (word.polygon.bounds for word in read_one(image).words)
    column = 4 * scale
    assert first.x0 <= 5 * column and 8 * column <= first.x1 < 14 * column
    assert 15 * column < second.x0 <= 20 * column and 23 * column <= second.x1 <= 26 * column
    assert (first.y0, first.y1) == (0.0, 48.0 * scale)


def test_positions_follow_an_image_that_was_narrowed():
    info = bar_info(ink=dataclasses.replace(bar_info().ink, max_width=160))
    image = draw_bars({20: "b"}, 80)
    # The image is twice as wide as the model takes: the bar becomes half a column, which is read as an "a".
    (transcript,) = LineRecognizer(CtcEngine(BarBackend(), info), info).read([image])
    (only,) = transcript.characters
    assert only.text == "a"
    assert 64 <= only.x0 <= 80 and 84 <= only.x1 <= 104


def test_characters_cover_the_text_in_order_within_the_image():
    image = write("bad cab")
    transcript = read_one(image)
    assert "".join(c.text for c in transcript.characters) == transcript.text
    ends = [x for c in transcript.characters for x in (c.x0, c.x1)]
    assert ends == sorted(ends)
    assert ends[0] >= 0 and ends[-1] <= image.shape[1]


def test_spaces_at_the_ends_are_stripped():
    transcript = read_one(write("  ab "))
    assert transcript.text == "ab"
    assert [c.text for c in transcript.characters] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "   "], ids=["blank paper", "spaces alone"])
def test_a_line_without_writing_is_empty(text: str):
    transcript = read_one(write(text))
    assert (transcript.text, transcript.words, transcript.characters) == ("", (), ())


def test_a_word_is_as_probable_as_all_its_characters():
    (transcript,) = recognizer(BarBackend(certainty=0.8)).read([write("abc")])
    assert transcript.words[0].confidence == pytest.approx(0.8**3)


def test_a_more_certain_network_gives_more_confidence():
    low, high = (recognizer(BarBackend(c)).read([write("abc")])[0].confidence for c in (0.8, 0.99))
    assert 0 < low < high < 1


def test_the_line_confidence_is_calibrated():
    info = bar_info(line_calibration=Calibration(0.0, 0.0))
    assert LineRecognizer(CtcEngine(BarBackend(), info), info).read([write("abc")])[0].confidence == 0.5


def test_a_narrow_image_is_read():
    assert read_one(np.full((48, 1, 3), 255, np.uint8)).text == ""


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 10, 4)])
def test_an_image_of_another_form_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ImageError):
        read_one(np.zeros(shape, np.uint8))


def read_as(
    text: str, probability: float = 0.9, alternatives: tuple[tuple[str, float], ...] = (), **changes: Any
) -> Transcript:
    """What becomes of a text that a network wrote, a pixel for each of its characters."""
    emissions = tuple(Emission(c, probability, float(i), i + 1.0) for i, c in enumerate(text))
    hypothesis = dataclasses.replace(Hypothesis(text, emissions, -1.0, alternatives), **changes)
    image = np.full((48, max(len(text), 1), 3), 255, np.uint8)
    info = bar_info(language=LanguageSettings(line_calibration=Calibration(0.7, 0.0, 0.3)))
    return LineRecognizer(lambda images: [hypothesis for _ in images], info).read([image])[0]


@given(
    st.text(st.sampled_from("an ñ\u0303\u0301\u0323\u0334\u212b\u1100\u1161\u0f73\u0958"), max_size=12)
    | st.text(max_size=8)
)
@settings(max_examples=400)
def test_what_is_read_is_nfc_with_a_place_for_each_character(text: str):
    transcript = read_as(text)
    assert transcript.text == unicodedata.normalize("NFC", text.strip(" "))
    assert [c.text for c in transcript.characters] == list(transcript.text)
    ends = [x for c in transcript.characters for x in (c.x0, c.x1)]
    assert ends == pytest.approx(sorted(ends))
    assert [w.text for w in transcript.words] == [word for word in transcript.text.split(" ") if word]
    whole = math.prod(c.confidence for c in transcript.characters)
    assert whole == pytest.approx(0.9 ** len(text.strip(" ")))


def test_a_letter_and_its_mark_become_one_character_in_the_place_of_both():
    transcript = read_as("an\u0303a")
    assert [(c.text, c.x0, c.x1) for c in transcript.characters] == [("a", 0, 1), ("ñ", 1, 3), ("a", 3, 4)]
    assert transcript.characters[1].confidence == pytest.approx(0.81)


def test_other_readings_are_nfc_and_differ_from_the_text():
    transcript = read_as("ñ", alternatives=(("n\u0303", -1.0), ("p\u0303", -2.0), ("a\u0303", -3.0), ("ã", -4.0)))
    assert [other.text for other in transcript.alternatives] == ["p\u0303", "ã"]


def test_no_other_reading_is_surer_than_one_before_it():
    others = (("b", -3.0), ("c", -0.5), ("d", -2.0), ("e", -9.0))
    compared = read_as("a", alternatives=others, share=0.5, alternative_shares=(0.2, 0.15, 0.1, 0.05))
    assert [other.text for other in compared.alternatives] == ["b", "c", "d", "e"]
    sure = [compared.confidence, *(other.confidence for other in compared.alternatives)]
    assert sure == sorted(sure, reverse=True) and sure[-1] < sure[1]


def test_another_reading_that_the_network_itself_thinks_likelier_says_so():
    (other,) = read_as("a", alternatives=(("b", -0.5),)).alternatives
    assert other.confidence == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize("log_probability", [-0.01, -7.0])
def test_a_line_of_which_nothing_was_read_is_as_doubtful_as_its_confidence_says(log_probability: float):
    nothing = read_as("", log_probability=log_probability)
    assert nothing.expected_error == pytest.approx(1 - math.exp(log_probability))
