import numpy as np

from quillread.decode.confidence import calibrate
from quillread.train.calibrate import fit_calibrations
from quillread.train.lines import ValidationSet
from quillread.types import Calibration, Polygon, Sample, Transcript, Word

BLANK = np.zeros((4, 4, 3), np.uint8)
OUTLINE = Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))


def read(text: str, confidence: float, word_confidence: float) -> Transcript:
    words = tuple(Word(word, word_confidence, OUTLINE) for word in text.split())
    return Transcript(text, confidence, words)


def test_words_are_right_or_wrong_by_themselves():
    samples = [Sample(str(i), BLANK, "the old house", "g") for i in range(40)]
    # Every line has one wrong word; words were given 0.9.
    transcripts = [read("the odd house", 0.7, 0.9) for _ in samples]
    of_lines, of_words = fit_calibrations([ValidationSet("x", samples)], [transcripts])
    assert of_lines == Calibration()  # none was right: nothing to learn
    assert abs(calibrate(float(np.log(0.9)), of_words) - 2 / 3) < 0.02


def test_missing_and_added_words_do_not_shift_the_others():
    samples = [Sample("1", BLANK, "one two three", "g"), Sample("2", BLANK, "one two", "g")] * 20
    transcripts = [read("two three", 0.5, 0.8), read("one x two", 0.5, 0.8)] * 20
    _, of_words = fit_calibrations([ValidationSet("x", samples)], [transcripts])
    assert abs(calibrate(float(np.log(0.8)), of_words) - 4 / 5) < 0.02


def test_without_lines_confidences_stay_as_they_are():
    assert fit_calibrations([], []) == (Calibration(), Calibration())
