import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import changed, train_config

from quillread.errors import ModelError
from quillread.images.fit import InkConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.model_folder import ModelInfo
from quillread.text.charset import Charset
from quillread.train.compact_family import (
    WEIGHTS_NAME,
    CompactFamily,
    CompactForTraining,
    TorchBackend,
    _shared_layers,
    save_model,
)
from quillread.train.compact_form import CompactForm
from quillread.train.config import TrainConfig

LARGE = CompactConfig(
    channels=(4, 6, 8, 8), blocks=(2, 2, 3, 2), sequence_width=8, sequence_blocks=3, sequence_kernel=3, dropout=0.0
)
TINY = CompactConfig(channels=(4, 4, 8, 8), blocks=(1, 1, 1, 1), sequence_width=8, sequence_blocks=1, sequence_kernel=3)
SMALL = replace(LARGE, blocks=(1, 1, 2, 1), sequence_blocks=1, recurrent_layers=0)
CONFIG = train_config(charset="abc", network=LARGE)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    return saved(tmp_path / "large", provenance={"training": {"network": vars_of(LARGE)}})


def vars_of(config: CompactConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in CompactConfig.__dataclass_fields__}


def saved(folder: Path, **facts: object) -> Path:
    folder.mkdir()
    info = ModelInfo(family="compact", name="large", charset="abc", column_width=4, **facts)  # type: ignore[arg-type]
    save_model(CompactNetwork(LARGE, len(Charset("abc"))), info, folder)
    return folder


def test_a_smaller_network_takes_the_first_blocks_of_each_stage(model: Path):
    large = CompactFamily(changed(CONFIG, start=str(model))).network.network.state_dict()
    small = CompactFamily(changed(CONFIG, network=SMALL, start=str(model), allow_partial=True)).network.network
    # Large has stages of 2, 2, 3, 2 blocks, numbered through; small of 1, 1, 2, 1.
    for ours, theirs in enumerate((0, 2, 4, 5, 7)):
        for name, value in small.stages[ours].state_dict().items():
            if "num_batches" not in name:
                assert torch.equal(value, large[f"stages.{theirs}.{name}"]), (ours, name)
    assert torch.equal(small.sequence[0].conv.weight, large["sequence.0.conv.weight"])
    assert torch.equal(small.stem[0].weight, large["stem.0.weight"])


def test_a_narrower_network_takes_the_first_channels(model: Path):
    narrow = replace(LARGE, channels=(2, 4, 6, 5), blocks=(1, 1, 2, 1))
    large = CompactFamily(changed(CONFIG, start=str(model))).network.network.state_dict()
    small = CompactFamily(changed(CONFIG, network=narrow, start=str(model), allow_partial=True)).network.network
    assert torch.equal(small.stem[1].running_var, large["stem.1.running_var"][:2])
    assert torch.equal(small.stages[2].conv1.weight, large["stages.4.conv1.weight"][:6, :4])
    assert torch.equal(small.stages[2].skip[0].weight, large["stages.4.skip.0.weight"][:6, :4])
    # The projection sees the maxima of 8 channels, then their means.
    theirs = large["project.0.weight"]
    assert torch.equal(small.project[0].weight, torch.cat([theirs[:, :5], theirs[:, 8:13]], dim=1))
    assert torch.equal(small.recurrent.weight_hh_l0, large["recurrent.weight_hh_l0"])


def test_a_larger_network_keeps_its_own_further_blocks(model: Path):
    deeper = replace(LARGE, blocks=(2, 2, 4, 2))
    torch.manual_seed(0)
    own = CompactNetwork(deeper, len(Charset("abc"))).state_dict()
    torch.manual_seed(0)
    network = CompactFamily(changed(CONFIG, network=deeper, start=str(model), allow_partial=True)).network.network
    assert torch.equal(network.stages[7].conv1.weight, own["stages.7.conv1.weight"])
    assert not torch.equal(network.stages[8].conv1.weight, own["stages.8.conv1.weight"])


def test_another_shape_is_refused_unless_asked_for(model: Path):
    with pytest.raises(ModelError, match="another shape") as caught:
        CompactFamily(changed(CONFIG, network=SMALL, start=str(model)))
    assert "allow_partial=true" in str(caught.value.hint)


def test_a_teacher_has_the_shape_that_its_model_names(model: Path):
    family = CompactFamily(changed(CONFIG, network=SMALL, teacher=str(model)))
    pixels = torch.rand(1, 1, LARGE.height, 64)
    large = CompactFamily(changed(CONFIG, start=str(model))).network.network.eval()
    assert torch.allclose(family.network._teacher[0](pixels)[0], large(pixels)[0], atol=1e-5)


def test_a_teacher_that_names_no_shape_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="does not say what network it is"):
        CompactFamily(changed(CONFIG, teacher=str(saved(tmp_path / "bare"))))


@pytest.mark.parametrize(("role", "charset"), [("start", "abd"), ("teacher", "abcd")])
def test_a_model_of_another_charset_is_refused(model: Path, role: str, charset: str):
    with pytest.raises(ModelError, match="another charset"):
        CompactFamily(changed(CONFIG, charset=charset, **{role: str(model)}))


def test_a_model_that_measures_ink_otherwise_is_refused_and_what_to_set_is_said(tmp_path: Path):
    other = saved(tmp_path / "other", ink=InkConfig(min_contrast=30.0, spread=0.13))
    with pytest.raises(ModelError, match="measures ink in another way") as caught:
        CompactFamily(changed(CONFIG, start=str(other)))
    assert caught.value.hint == "set ink.min_contrast=30.0 ink.spread=0.13"
    CompactFamily(changed(CONFIG, start=str(other), ink=InkConfig(min_contrast=30.0, spread=0.13)))


def test_new_letters_leave_the_old_ones_as_they_were(model: Path):
    old = CompactFamily(changed(CONFIG, start=str(model))).network.network.eval()
    new = CompactFamily(changed(CONFIG, charset="abc\u00e4\u0303", start=str(model))).network.network.eval()
    pixels = torch.rand(1, 1, LARGE.height, 64)
    before, after = old(pixels)[0], new(pixels)[0]
    assert after.shape[-1] == before.shape[-1] + 2
    assert torch.allclose(after[..., : before.shape[-1]], before, atol=1e-5)


def test_a_layer_comes_whole_or_not_at_all(model: Path):
    other = replace(LARGE, sequence_kernel=5, recurrent_layers=0)
    large = CompactFamily(changed(CONFIG, start=str(model))).network.network.state_dict()
    large["sequence.0.norm.weight"].fill_(2.0)
    state = _shared_layers(large, CompactNetwork(other, len(Charset("abc"))).state_dict())
    assert {name.split(".")[0] for name in state} == {"stem", "stages", "project", "shortcut"}


def test_what_is_taken_over_is_told(model: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    CompactFamily(changed(CONFIG, network=SMALL, start=str(model), allow_partial=True))
    assert re.search(r"large: \d+ tensors are taken over, 2 start at random", caplog.text)


def test_a_teacher_that_cleans_lines_otherwise_is_refused(model: Path):
    other = changed(CONFIG, teacher=str(model), preprocess=PreprocessConfig(steps=("median",)))
    with pytest.raises(ModelError, match="cleans lines in another way"):
        CompactFamily(other)


def test_a_teacher_without_all_its_tensors_is_refused(tmp_path: Path):
    deeper = replace(LARGE, sequence_blocks=4)
    folder = saved(tmp_path / "lacking", provenance={"training": {"network": vars_of(deeper)}})
    with pytest.raises(ModelError, match=r"another shape \(first: sequence\.3\.conv\.weight\)"):
        CompactFamily(changed(CONFIG, teacher=str(folder)))


def network() -> CompactNetwork:
    torch.manual_seed(0)
    return CompactNetwork(TINY, classes=4)


def batch(*labels: list[int]) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    made = CompactForm(TrainConfig()).collate([(rng.random((48, 64), np.float32), label) for label in labels])
    return {name: value for name, value in made.items() if name != "weights"}


def test_a_few_steps_lower_the_loss():
    model = CompactForTraining(network(), 0.1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = model(**batch([1, 2], [3, 1, 2]))["losses"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_text_that_does_not_fit_costs_nothing_instead_of_infinity():
    loss = CompactForTraining(network(), 0.1)(**batch([1, 2] * 40))["losses"]
    assert loss.tolist() == [0.0]


def test_the_loss_of_a_line_does_not_depend_on_the_lines_beside_it():
    model = CompactForTraining(network(), 0.1).eval()
    both = batch([1, 2], [3, 1, 2, 1])
    first = {name: value[:1] for name, value in both.items()}
    assert model(**both)["losses"][0].item() == pytest.approx(model(**first)["losses"][0].item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_reading_leaves_the_mode_of_the_network_as_it_was(training: bool):
    net = network().train(training)
    TorchBackend(net)([np.zeros((48, 16), np.float32)])
    assert net.training is training


def test_reading_uses_the_evaluation_mode():
    net = network().train()
    lines = list(np.random.default_rng(0).random((2, 48, 16), np.float32))
    first, second = (TorchBackend(net)(lines) for _ in range(2))
    assert np.array_equal(first, second)
    assert first[0].dtype == np.float32
    assert np.exp(first).sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_lines_of_like_width_share_a_call_and_keep_their_order():
    net = network().eval()
    rng = np.random.default_rng(0)
    lines = [rng.random((48, width), np.float32) for width in (16, 32, *[16] * 20, 64)]
    calls = []
    net.register_forward_pre_hook(lambda _, arguments: calls.append(tuple(arguments[0].shape)))
    together = TorchBackend(net)(lines)
    assert calls == [(16, 1, 48, 16), (5, 1, 48, 16), (1, 1, 48, 32), (1, 1, 48, 64)]
    for line, read in zip(lines, together, strict=True):
        assert read == pytest.approx(TorchBackend(net)([line])[0], abs=1e-5)


def test_mixed_precision_gives_almost_the_same():
    net = network()
    lines = [np.random.default_rng(0).random((48, 32), np.float32)]
    difference = np.abs(TorchBackend(net)(lines)[0] - TorchBackend(net, torch.bfloat16)(lines)[0])
    assert 0 < difference.max() < 0.1


def test_without_weight_the_shortcut_head_takes_no_part():
    model = CompactForTraining(network(), 0.0)
    model(**batch([1, 2]))["losses"].sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        "network.shortcut.weight",
        "network.shortcut.bias",
    ]


def test_a_teacher_that_says_the_same_costs_nothing():
    alone = CompactForTraining(network(), 0.0).eval()(**batch([1, 2], [3]))["losses"]
    taught = CompactForTraining(network(), 0.0, teacher=network()).eval()(**batch([1, 2], [3]))["losses"]
    assert taught.tolist() == pytest.approx(alone.tolist(), rel=1e-5)


def test_a_network_comes_to_say_what_its_teacher_says():
    torch.manual_seed(1)
    teacher = CompactNetwork(TINY, classes=4)
    teacher.head.bias.data += torch.tensor([0.0, 3.0, 0.0, 0.0])  # so that there is something to learn from the start
    model = CompactForTraining(network(), 0.0, teacher)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    given = batch([1, 1, 1, 1])
    divergence = []
    for _ in range(30):
        divergence.append(model._divergence(model.network(given["pixels"])[0], given["pixels"], torch.tensor([16])))
        optimizer.zero_grad()
        model(**given)["losses"].sum().backward()
        optimizer.step()
    assert divergence[-1] < 0.5 * divergence[0]


def test_others_may_read_the_weights_of_a_checkpoint(model: Path, tmp_path: Path):
    CompactFamily(changed(CONFIG, start=str(model))).save_weights(tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / WEIGHTS_NAME).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_teacher_is_neither_trained_nor_saved_nor_set_to_training():
    teacher = network()
    model = CompactForTraining(network(), 0.1, teacher).train()
    assert not any("teacher" in name for name in model.state_dict())
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(list(model.parameters())) == len(list(network().parameters()))


def test_columns_beyond_a_line_teach_nothing():
    torch.manual_seed(1)
    model = CompactForTraining(network(), 0.0, CompactNetwork(TINY, classes=4)).eval()
    logits, pixels = torch.zeros(1, 16, 4), torch.rand(1, 1, 48, 64)
    short = model._divergence(logits, pixels, torch.tensor([3]))
    logits[:, 3:] = torch.randn(1, 13, 4)
    assert model._divergence(logits, pixels, torch.tensor([3])).item() == pytest.approx(short.item())
    assert model._divergence(logits, pixels, torch.tensor([9])).item() > short.item()
