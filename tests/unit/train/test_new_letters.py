import logging
from collections.abc import Sequence
from typing import cast

import pytest
import torch
from runs import changed, train_config

from quillread.data.source import Source
from quillread.train.config import TrainConfig
from quillread.train.new_letters import grow_charset, grow_head

CONFIG = train_config(charset="abs ")


class Texts:
    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, index: int) -> str:
        return self._texts[index]


def grown(texts: Sequence[str], config: TrainConfig = CONFIG) -> str:
    sources = [cast(Source, Texts(*texts[:1])), cast(Source, Texts(*texts[1:]))]
    return grow_charset(config, sources).compact.charset


@pytest.mark.parametrize(
    ("texts", "new"),
    [
        (["a ba", "sab"], ""),
        (["ſab", "b", "āa"], "āſ"),  # one of them seen once
        (["p\u0303a\ua751"], "p\u0303\ua751"),  # p with a tilde has no composed form; p with a stroke
        (["\ue554a"], "\ue554"),  # an abbreviation of MUFI
    ],
)
def test_the_charset_grows_by_the_letters_of_the_data(texts: list[str], new: str):
    assert grown(texts) == CONFIG.compact.charset + new


@pytest.mark.parametrize("strange", ["a\u00a0b", "a\u200bb", "a\tb", "a\ufffdb", "a\ufeff"])
def test_what_nobody_writes_is_no_letter(strange: str):
    assert grown([strange, "b"]) == CONFIG.compact.charset


def test_a_charset_can_be_kept():
    assert grown(["ſ"], changed(CONFIG, grow_charset=False)) == CONFIG.compact.charset


def test_the_charset_of_a_teacher_is_kept():
    assert grown(["ſ"], changed(CONFIG, teacher="builtin")) == CONFIG.compact.charset


def test_new_letters_are_told_with_the_number_of_their_lines(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "quillread.train.new_letters"):
        grown(["ſſ", "ſ", "a\u0363"])
    assert "\u25cc\u0363 (1), " in caplog.text or ", \u25cc\u0363 (1)" in caplog.text
    assert "ſ (2)" in caplog.text


def test_a_form_of_a_known_letter_starts_as_that_one_and_less_likely():
    state = {"head.weight": torch.rand(4, 6), "head.bias": torch.rand(4), "stem": torch.ones(1)}
    new = grow_head(state, "abs", "absſ\u0303", seed=1)
    columns = torch.rand(5, 6)
    before = columns @ state["head.weight"].T + state["head.bias"]
    after = columns @ new["head.weight"].T + new["head.bias"]
    assert torch.allclose(after[:, :4], before)
    long_s, tilde = after[:, 4], after[:, 5]
    assert (long_s - before[:, 3] + 0.7).abs().max() < 0.6
    assert (tilde < before.max(1).values).all()
    assert new["stem"] is state["stem"]
