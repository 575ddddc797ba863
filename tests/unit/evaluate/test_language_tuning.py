from dataclasses import replace

import numpy as np
import pytest

from quillread.decode.confidence import Report, calibrate, expected_rate
from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.evaluate.language_tuning import TuningLine, choose_weights, fit_confidences, fit_curve, halve, report
from quillread.language.choice import LanguageSettings
from quillread.language.scoring import LanguageWeights
from quillread.models.model_folder import ModelInfo
from quillread.recognize.record import Record


def reading(text: str, log_probability: float = -0.5, share: float | None = 0.9) -> Hypothesis:
    emissions = tuple(Emission(c, 0.9, i, i + 1, share) for i, c in enumerate(text))
    return Hypothesis(text, emissions, log_probability, share=share)


def line(group: str, reference: str, plain: str) -> TuningLine:
    return TuningLine(group, reference, Record((), (reading(plain, share=None),)))


def test_halves_share_no_group():
    lines = [line(f"g{i % 7}", "a", "a") for i in range(50)]
    first, second = halve(lines, np.random.default_rng(0))
    assert len(first) + len(second) == 50 and first and second
    assert not {x.group for x in first} & {x.group for x in second}


def test_lines_of_one_group_are_halved_too():
    first, second = halve([line("", "a", "a")] * 10, np.random.default_rng(0))
    assert (len(first), len(second)) == (5, 5)


def test_the_weights_with_the_fewest_errors_are_chosen():
    lines = [line("g", "good", "bad!")] * 3

    def read(records, settings: LanguageSettings) -> list[Hypothesis]:
        # Right only at one place of the grid, and nearer to right towards it.
        w = settings.weights
        wrong = (w.characters != 0.7) + (w.words != 0.2) + (w.length != 1.0)
        return [reading("good"[wrong:]) for _ in records]

    chosen = choose_weights([lines], read, LanguageSettings())
    assert chosen == replace(LanguageSettings(), weights=LanguageWeights(0.7, 0.2, 1.0))


def test_of_weights_that_are_as_good_the_weakest_are_chosen():
    lines = [line("g", "good", "bad!")] * 3

    def read(records, settings: LanguageSettings) -> list[Hypothesis]:
        return [reading("good" if settings.weights.characters >= 0.4 else "bad!") for _ in records]

    strong = replace(LanguageSettings(), weights=LanguageWeights(0.8, 0.3, 1.0))
    assert choose_weights([lines], read, strong).weights.characters == 0.4


def test_words_never_weigh_more_than_characters_while_searching():
    tried = []
    lines = [line("g", "ab", "ax")]

    def read(records, settings: LanguageSettings) -> list[Hypothesis]:
        return [reading("ab") for _ in records]

    choose_weights([lines], read, LanguageSettings(), lambda weights, _: tried.append(weights))
    assert len(tried) > 10
    assert all(w.words <= w.characters for w in tried)


def test_confidences_are_fitted_to_how_often_readings_are_right():
    rng = np.random.default_rng(0)
    lines, readings = [], []
    for _ in range(600):
        share = float(rng.uniform(0.05, 0.95))
        right = rng.random() < share
        lines.append(line("g", "ab cd" if right else "ab xy", "ab cd"))
        readings.append(reading("ab cd", float(np.log(share) / 2), share))
    of_lines, _ = fit_confidences(lines, readings)
    sure, unsure = (calibrate(Report(float(np.log(p) / 2), p), of_lines) for p in (0.9, 0.2))
    assert (sure, unsure) == (pytest.approx(0.9, abs=0.06), pytest.approx(0.2, abs=0.06))


def test_a_report_counts_what_was_mended_and_broken():
    lines = [line("a", "an old man", "an ald man"), line("b", "a dog", "a dog")]
    readings = [reading("an old man"), reading("a dag")]
    info = ModelInfo(family="compact", name="x")
    figures = report(lines, readings, LanguageSettings(), info, np.random.default_rng(0))
    assert (figures["words_mended"], figures["words_broken"]) == (1, 1)
    assert figures["cer_spacing_without"] == pytest.approx(1 / 15)
    assert figures["cer_spacing"] == pytest.approx(1 / 15)
    assert figures["gain"] == 0.0 and figures["read_with_language"] == 1.0


def test_expected_errors_are_those_of_groups_that_were_not_fitted_to():
    # Half of the groups are twice as hard as their confidences say.
    rng = np.random.default_rng(0)
    lines, readings = [], []
    for i in range(1500):
        sure = float(rng.uniform(0.5, 1.0))
        rate = (1 - sure) * (0.4 if i % 10 < 5 else 0.1)
        text = "abcdefghij" * 4
        reference = "".join("x" if rng.random() < rate else c for c in text)
        lines.append(line(f"g{i % 10}", reference, text))
        readings.append(
            Hypothesis(text, tuple(Emission(c, sure ** (1 / 40), 0, 1, 0.9) for c in text), -0.5, share=0.9)
        )
    curve = fit_curve(lines, readings, LanguageSettings())
    rates = [expected_rate(curve, x) for x in (0.05, 0.25, 0.45)]
    assert rates == sorted(rates)
    assert rates[1] == pytest.approx(0.25 * 0.25, abs=0.02)
