from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from quillread.errors import ConfigError, ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.scratch import new_trocr
from quillread.models.trocr.settings import TrocrShape
from quillread.text.tokenizer import encode_text
from quillread.train.trocr import TrocrForTraining
from quillread.train.trocr_columns import COLUMNS_NAME, ColumnHead, load_columns
from quillread.train.trocr_form import IGNORED

ROWS, COLUMNS, WIDTH = 2, 8, 16


@pytest.fixture(scope="module")
def model() -> Trocr:
    shape = TrocrShape(
        encoder_width=WIDTH,
        encoder_layers=1,
        encoder_heads=2,
        decoder_width=WIDTH,
        decoder_layers=1,
        decoder_heads=2,
        max_positions=24,
        dropout=0.0,
    )
    return new_trocr(shape, CanvasConfig(32, 128, "pad"), None, seed=1)


def labels_of(model: Trocr, *texts: str) -> torch.Tensor:
    tokens = [torch.tensor(encode_text(model.tokenizer, text)) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=IGNORED)


def all_paths_loss(log_probs: torch.Tensor, target: list[int], blank: int) -> float:
    """CTC by its definition: the probability of all paths that collapse to the target."""
    total = 0.0
    letters = sorted({blank, *target})
    paths: list[tuple[list[int], int | None, float]] = [([], None, 0.0)]
    for column in log_probs:
        paths = [
            (written if letter in (blank, last) else [*written, letter], letter, score + float(column[letter]))
            for written, last, score in paths
            for letter in letters
        ]
    for written, _, score in paths:
        if written == target:
            total += float(torch.tensor(score).exp())
    return -float(torch.tensor(total).log())


def test_the_loss_is_that_of_all_alignments_for_each_letter(model: Trocr):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    encoded = torch.randn(1, 1 + ROWS * COLUMNS, WIDTH, generator=torch.Generator().manual_seed(0))
    labels = labels_of(model, "ab")
    scores = head.scores(encoded[:, 1:].reshape(1, ROWS, COLUMNS, WIDTH).mean(1))[0].log_softmax(-1).detach()
    expected = all_paths_loss(scores, labels[0, :2].tolist(), model.tokenizer.pad_token_id) / 2
    assert head(encoded, labels).item() == pytest.approx(expected, rel=1e-4)


def test_other_lines_and_padding_change_nothing(model: Trocr):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    encoded = torch.randn(2, 1 + ROWS * COLUMNS, WIDTH, generator=torch.Generator().manual_seed(0))
    both = head(encoded, labels_of(model, "ab", "abcdef"))
    assert both[0].item() == pytest.approx(head(encoded[:1], labels_of(model, "ab")).item(), rel=1e-5)


def test_a_text_longer_than_the_columns_teaches_nothing(model: Trocr):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    losses = head(torch.randn(1, 1 + ROWS * COLUMNS, WIDTH), labels_of(model, "a" * COLUMNS))
    assert losses.tolist() == [0.0]


def test_a_truncated_label_is_learnt_to_its_last_letter(model: Trocr):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    encoded = torch.randn(1, 1 + ROWS * COLUMNS, WIDTH)
    whole = labels_of(model, "abc")
    assert head(encoded, whole[:, :-1]).item() == pytest.approx(head(encoded, whole).item(), rel=1e-5)


def test_its_loss_is_added_by_its_weight(model: Trocr):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    batch: dict[str, Any] = {"pixel_values": torch.randn(2, 3, 32, 128), "labels": labels_of(model, "ab", "abc")}
    alone = TrocrForTraining(model.network)(**batch)["losses"]
    both = TrocrForTraining(model.network, columns=head, columns_weight=0.5)(**batch)["losses"]
    encoded = model.network.encoder(pixel_values=batch["pixel_values"]).last_hidden_state
    assert torch.allclose(both, alone + 0.5 * head(encoded, batch["labels"]), rtol=1e-4)


def test_an_encoder_whose_columns_are_not_known_is_refused(model: Trocr):
    network: Any = SimpleNamespace(config=SimpleNamespace(encoder=SimpleNamespace(model_type="swin")))
    with pytest.raises(ConfigError, match=r"tuning\.columns.*swin"):
        ColumnHead(network, model.tokenizer, seed=1)


def test_a_checkpoint_without_the_head_is_refused(model: Trocr, tmp_path: Path):
    head = ColumnHead(model.network, model.tokenizer, seed=1)
    with pytest.raises(ModelError, match="column head"):
        load_columns(head, tmp_path)
    (tmp_path / COLUMNS_NAME).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="column head"):
        load_columns(head, tmp_path)
