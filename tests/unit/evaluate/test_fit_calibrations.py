import numpy as np

from quillread.decode.confidence import Report, calibrate
from quillread.evaluate.calibration import fit_calibrations
from quillread.types import Calibration, Polygon, Transcript, Word

OUTLINE = Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))


def read(text: str, confidence: float, word_confidence: float) -> Transcript:
    words = tuple(Word(word, word_confidence, OUTLINE) for word in text.split())
    return Transcript(text, confidence, words)


def test_words_are_right_or_wrong_by_themselves():
    # Every line has one wrong word; words were given 0.9.
    of_lines, of_words = fit_calibrations([("the old house", read("the odd house", 0.7, 0.9))] * 40)
    assert of_lines == Calibration()  # none was right: nothing to learn
    assert abs(calibrate(Report(float(np.log(0.9))), of_words) - 2 / 3) < 0.02


def test_missing_and_added_words_do_not_shift_the_others():
    lines = [("one two three", read("two three", 0.5, 0.8)), ("one two", read("one x two", 0.5, 0.8))]
    _, of_words = fit_calibrations(lines * 20)
    assert abs(calibrate(Report(float(np.log(0.8))), of_words) - 4 / 5) < 0.02


def test_without_lines_confidences_stay_as_they_are():
    assert fit_calibrations([]) == (Calibration(), Calibration())
