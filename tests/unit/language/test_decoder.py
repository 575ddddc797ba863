import numpy as np
import pytest
from languages import small_language

from quillread.decode.beam import BeamConfig
from quillread.decode.ctc import greedy
from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.language.choice import LanguageChoice, Tongue
from quillread.language.decoder import LanguageDecoder, LanguageRescorer, to_shares, word_shares
from quillread.language.scoring import Language, LanguageWeights
from quillread.text.charset import WESTERN_EUROPEAN, Charset

CHARSET = Charset(WESTERN_EUROPEAN)


@pytest.fixture(scope="module")
def choice(tmp_path_factory: pytest.TempPathFactory) -> LanguageChoice:
    model = small_language(tmp_path_factory.mktemp("lm") / "small.lm")
    language = Language(model.characters, model.words, LanguageWeights(0.6, 0.4, 0.8))
    return LanguageChoice([Tongue("small", model.characters, model.words, language)], (), 1.0)


def columns(best: str, other: str, share: float = 0.4) -> np.ndarray:
    """Two columns a character, the second blank; the best class has most, that of another text the rest."""
    probs = np.full((2 * len(best), len(CHARSET)), 1e-7, np.float32)
    probs[1::2, 0] = 1.0
    for i, (x, y) in enumerate(zip(best, other, strict=True)):
        probs[2 * i, CHARSET.encode(x)[0]] += 1 - share
        probs[2 * i, CHARSET.encode(y)[0]] += share
    return np.log(probs / probs.sum(axis=1, keepdims=True))


def test_what_is_in_doubt_becomes_a_text_of_the_language(choice: LanguageChoice):
    log_probs = columns("an ald man aud his dag", "an old man and his dog")
    reading = LanguageDecoder(CHARSET, choice, BeamConfig())([log_probs])
    assert reading.text == "an old man and his dog"
    assert "".join(e.text for e in reading.emissions) == reading.text
    assert reading.share is not None and 0 < reading.share <= 1
    assert reading.emissions[3].probability == pytest.approx(0.4, abs=0.01)
    assert [e.start for e in reading.emissions] == sorted(e.start for e in reading.emissions)


@pytest.mark.parametrize("text", ["1914 2587 30 11", "Zwq Xkj Vgh Qqy", "WXYZ KLMQ JJK"])
def test_what_is_in_no_language_is_read_as_without_one(choice: LanguageChoice, text: str):
    log_probs = columns(text, text[1:] + text[0])
    reading = LanguageDecoder(CHARSET, choice, BeamConfig())([log_probs])
    assert reading == greedy(log_probs, CHARSET)
    assert reading.share is None


def hypothesis(text: str, log_probability: float) -> Hypothesis:
    return Hypothesis(text, tuple(Emission(c, 0.9, i, i + 1) for i, c in enumerate(text)), log_probability)


def test_readings_are_ordered_by_likelihood_and_language(choice: LanguageChoice):
    given = [hypothesis("an ald man and his dog", -1.0), hypothesis("an old man and his dog", -2.0)]
    first, second = LanguageRescorer(choice)(given)
    assert (first.text, second.text) == (given[1].text, given[0].text)
    assert first.share > 0.5
    assert first.emissions[3].share < first.emissions[0].share == pytest.approx(1)
    assert first.share + second.share == pytest.approx(1)


def test_a_reading_with_a_language_tells_how_unsure_the_network_was_of_its_own(choice: LanguageChoice):
    sure, unsure = (columns("an ald man and his dog", "an old man and his dog", share) for share in (0.2, 0.45))
    read = LanguageDecoder(CHARSET, choice, BeamConfig())
    nats = [read([log_probs]).nats for log_probs in (sure, unsure)]
    # One character of 22 is in doubt.
    assert nats == pytest.approx([-np.log(0.8) / 22, -np.log(0.55) / 22], rel=0.3)
    assert read([columns("1914 2587", "1974 2581")]).nats is None
    given = [hypothesis("an ald man and his dog", -11.0), hypothesis("an old man and his dog", -11.5)]
    best = LanguageRescorer(choice)(given)[0]
    assert (best.nats, {e.line for e in best.emissions}) == (0.5, {(best.share, 0.5)})
    found = read([unsure])
    assert {e.line for e in found.scaled(2.0, 100.0).emissions} == {(found.share, found.nats)}


def test_readings_in_no_language_stay_in_order(choice: LanguageChoice):
    given = [hypothesis("1914 2587", -2.0), hypothesis("1914 2581", -1.0)]
    assert LanguageRescorer(choice)(given) == given


def test_a_much_likelier_reading_wins(choice: LanguageChoice):
    given = [hypothesis("an ald man and his dog", -1.0), hypothesis("an old man and his dog", -40.0)]
    assert LanguageRescorer(choice)(given)[0].text == given[0].text


def test_shares_add_up_to_1():
    assert to_shares([-700.0, -700.0]) == [0.5, 0.5]
    assert sum(to_shares([1.0, -3.0, -2000.0])) == pytest.approx(1)


def test_a_word_has_the_shares_of_all_readings_that_have_it():
    shares = word_shares(["an old man", "an ald man", "on ald man"], [0.5, 0.3, 0.2])
    assert shares == pytest.approx([0.8, 0.8, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1])


def test_an_empty_reading_has_no_shares():
    assert word_shares(["", "a"], [0.5, 0.5]) == []


def test_variants_of_a_line_vote(choice: LanguageChoice):
    views = [columns("an old man", "an ald man", 0.45), columns("an ald man", "an old man", 0.45)]
    views.append(columns("an ald man", "an old man", 0.2))
    decoder = LanguageDecoder(CHARSET, None, BeamConfig())
    assert (decoder(views[:1]).text, decoder(views).text) == ("an old man", "an ald man")
    assert decoder(views).share is None
    assert LanguageDecoder(CHARSET, choice, BeamConfig())(views).text == "an old man"


def test_alternatives_are_the_next_readings_of_the_search(choice: LanguageChoice):
    log_probs = columns("an ald man aud his dag", "an old man and his dog")
    reading = LanguageDecoder(CHARSET, choice, BeamConfig(), 2)([log_probs])
    plain = LanguageDecoder(CHARSET, choice, BeamConfig())([log_probs])
    texts = [text for text, _ in reading.alternatives]
    assert (reading.text, reading.share, plain.alternatives) == (plain.text, plain.share, ())
    assert len({reading.text, *texts}) == 3
    assert len(reading.alternative_shares) == 2
    assert list(reading.alternative_shares) == sorted(reading.alternative_shares, reverse=True)


def test_what_is_in_no_language_has_alternatives_too(choice: LanguageChoice):
    log_probs = columns("1914 2587", "1974 2581")
    reading = LanguageDecoder(CHARSET, choice, BeamConfig(), 3)([log_probs])
    assert reading.text == greedy(log_probs, CHARSET).text
    assert [text for text, _ in reading.alternatives][:2] != [reading.text] * 2
    assert "1974 2587" in [text for text, _ in reading.alternatives]
    assert reading.alternative_shares == ()


def test_the_best_other_reading_is_told_of_a_line_of_which_nothing_was_read():
    log_probs = np.full((3, len(CHARSET)), 1e-9, np.float32)
    log_probs[:, 0], log_probs[:, CHARSET.encode("a")[0]] = 0.6, 0.4
    reading = LanguageDecoder(CHARSET, None, BeamConfig(), alternatives=2)([np.log(log_probs)])
    assert (reading.text, reading.alternatives[0][0]) == ("", "a")
    assert "" not in [text for text, _ in reading.alternatives]
