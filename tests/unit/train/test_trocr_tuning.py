from pathlib import Path

import pytest
import torch
from fakes import write_trocr
from torch import nn

from quillread.errors import ConfigError, ModelError
from quillread.models.trocr.loading import load_trocr
from quillread.train.config import LoraConfig, ScheduleConfig
from quillread.train.family import decay_groups
from quillread.train.trocr import TrocrForTraining
from quillread.train.trocr_tuning import (
    ADAPTERS_NAME,
    add_adapters,
    cast_norms_once,
    compile_layers,
    freeze,
    layer_rates,
    load_adapters,
    save_adapters,
)


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


def test_adapters_of_another_network_are_refused(network: nn.Module, tmp_path: Path):
    save_adapters(add_adapters(network, LoraConfig(rank=2)), tmp_path / "saved")
    other = add_adapters(load_trocr(tmp_path / "model").network, LoraConfig(rank=3))
    with pytest.raises(ModelError, match="another network"):
        load_adapters(other, tmp_path / "saved")


def test_damaged_adapters_are_refused(network: nn.Module, tmp_path: Path):
    adapted = add_adapters(network, LoraConfig(rank=2))
    (tmp_path / ADAPTERS_NAME).write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_adapters(adapted, tmp_path)
