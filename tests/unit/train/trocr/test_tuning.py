from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import write_trocr
from torch import nn

from quillread.errors import ConfigError, ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.trocr.files import ADAPTERS_NAME
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.scratch import new_trocr
from quillread.models.trocr.settings import TrocrShape
from quillread.text.tokenizer import encode_text
from quillread.train.config import ScheduleConfig
from quillread.train.families import decay_groups
from quillread.train.family_settings import LoraConfig
from quillread.train.trocr.family import TrocrForTraining
from quillread.train.trocr.form import IGNORED
from quillread.train.trocr.tuning import (
    COLUMNS_NAME,
    ColumnHead,
    add_adapters,
    cast_norms_once,
    compile_layers,
    freeze,
    layer_rates,
    load_adapters,
    load_columns,
    save_adapters,
)

ROWS, COLUMNS, WIDTH = 2, 8, 16


@pytest.fixture
def network(tmp_path: Path) -> nn.Module:
    net: nn.Module = load_trocr(write_trocr(tmp_path / "model", "base-handwritten")).network
    return net


def test_frozen_parameters_are_those_of_the_prefix(network: nn.Module):
    freeze(network, ["encoder.embeddings"])
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad and "pooler" not in name}
    assert frozen == {name for name, _ in network.named_parameters() if name.startswith("encoder.embeddings")}


def test_a_prefix_that_fits_nothing_is_refused(network: nn.Module):
    with pytest.raises(ConfigError, match=r"no parameter starts with 'encoder\.embedings'"):
        freeze(network, ["encoder.embedings"])


def test_nothing_left_to_train_is_refused(network: nn.Module):
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(network, ["encoder", "decoder"])


def test_rates_fall_from_the_top_of_the_decoder_to_the_bottom_of_the_encoder(network: nn.Module):
    rates = layer_rates(TrocrForTraining(network), 0.5)

    def rate(*parts: str) -> float:
        found = {rates[name] for name in rates if all(part in name for part in parts)}
        assert len(found) == 1, (parts, found)
        return found.pop()

    decoder = [rate("decoder.model.decoder.layers.0."), rate("decoder.model.decoder.layers.1.")]
    encoder = [rate("encoder.layers.0."), rate("encoder.layers.1.")]
    assert decoder == [0.5, 1.0]
    assert encoder == [0.125, 0.25]
    assert rate("encoder.embeddings") == 0.125
    assert rate("decoder.model.decoder.embed_tokens") == 0.5


def test_norms_and_biases_do_not_decay(network: nn.Module):
    groups = decay_groups(network, ScheduleConfig(weight_decay=0.1, learning_rate=0.5), None)
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
        assert group["lr"] == 0.5
    assert sum(len(g["params"]) for g in groups) == sum(p.requires_grad for p in network.parameters())


def test_norms_that_cast_give_the_same_losses_in_mixed_precision(network: nn.Module):
    batch = {"pixel_values": torch.randn(2, 3, 64, 64), "labels": torch.full((2, 5), 7)}
    training = TrocrForTraining(network).eval()
    with torch.autocast("cpu", torch.bfloat16):
        before = training(**batch)["losses"]
    exact = training(**batch)["losses"]
    seen = []
    cast_norms_once(network)
    query = next(m for name, m in network.named_modules() if name.endswith("q_proj"))
    query.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        after = training(**batch)["losses"]
    assert torch.equal(after, before)
    assert torch.equal(training(**batch)["losses"], exact)
    assert seen == [torch.bfloat16, torch.float32]


def test_without_a_compiler_nothing_is_compiled(network: nn.Module, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> None:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ConfigError, match=r"tuning\.compile: .*no C\+\+ compiler\n") as caught:
        compile_layers(network)
    assert "C compiler" in str(caught.value.hint)


def test_every_layer_is_compiled_and_keeps_its_names(network: nn.Module, monkeypatch: pytest.MonkeyPatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    names = list(network.state_dict())
    compile_layers(network)
    assert list(network.state_dict()) == names
    assert {type(module).__name__ for module in compiled} == {"ViTLayer", "TrOCRDecoderLayer"}
    assert len(compiled) == 4


def test_adapters_alone_are_trained(network: nn.Module):
    adapted = add_adapters(network, LoraConfig(rank=2))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert {name.split(".")[2] for name in trained} == {"encoder", "decoder"}


def test_layers_that_are_not_there_get_no_adapters(network: nn.Module):
    with pytest.raises(ConfigError, match="no layer is named qproj"):
        add_adapters(network, LoraConfig(targets=("qproj",)))


@pytest.mark.parametrize("target", ["output_projection", "decoder.output_projection", "embed_tokens"])
def test_a_layer_that_shares_its_weights_gets_no_adapter(network: nn.Module, target: str):
    with pytest.raises(ConfigError, match=rf"tuning\.lora\.targets: the weights of \S*{target} are those of another"):
        add_adapters(network, LoraConfig(targets=("q_proj", target)))


def test_adapters_of_another_network_are_refused(network: nn.Module, tmp_path: Path):
    save_adapters(add_adapters(network, LoraConfig(rank=2)), tmp_path / "saved")
    assert len({path.stat().st_mode for path in (tmp_path / "saved").iterdir()}) == 1, "others may read it all or none"
    other = add_adapters(load_trocr(tmp_path / "model").network, LoraConfig(rank=3))
    with pytest.raises(ModelError, match="another network"):
        load_adapters(other, tmp_path / "saved")


def test_damaged_adapters_are_refused(network: nn.Module, tmp_path: Path):
    adapted = add_adapters(network, LoraConfig(rank=2))
    (tmp_path / ADAPTERS_NAME).write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_adapters(adapted, tmp_path)


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
