import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quillread.errors import ModelError
from quillread.images.preprocess import PreprocessConfig
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.model_folder import ModelInfo
from quillread.text.charset import Charset
from quillread.train.compact import CompactFamily, _shared_layers, save_model
from quillread.train.config import TrainConfig

LARGE = CompactConfig(
    channels=(4, 6, 8, 8), blocks=(2, 2, 3, 2), sequence_width=8, sequence_blocks=3, sequence_kernel=3, dropout=0.0
)
SMALL = replace(LARGE, blocks=(1, 1, 2, 1), sequence_blocks=1, recurrent_layers=0)
CONFIG = TrainConfig(charset="abc", network=LARGE)


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
    large = CompactFamily(replace(CONFIG, start=str(model))).network.network.state_dict()
    small = CompactFamily(replace(CONFIG, network=SMALL, start=str(model), allow_partial=True)).network.network
    # Large has stages of 2, 2, 3, 2 blocks, numbered through; small of 1, 1, 2, 1.
    for ours, theirs in enumerate((0, 2, 4, 5, 7)):
        for name, value in small.stages[ours].state_dict().items():
            if "num_batches" not in name:
                assert torch.equal(value, large[f"stages.{theirs}.{name}"]), (ours, name)
    assert torch.equal(small.sequence[0].conv.weight, large["sequence.0.conv.weight"])
    assert torch.equal(small.stem[0].weight, large["stem.0.weight"])


def test_a_narrower_network_takes_the_first_channels(model: Path):
    narrow = replace(LARGE, channels=(2, 4, 6, 5), blocks=(1, 1, 2, 1))
    large = CompactFamily(replace(CONFIG, start=str(model))).network.network.state_dict()
    small = CompactFamily(replace(CONFIG, network=narrow, start=str(model), allow_partial=True)).network.network
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
    network = CompactFamily(replace(CONFIG, network=deeper, start=str(model), allow_partial=True)).network.network
    assert torch.equal(network.stages[7].conv1.weight, own["stages.7.conv1.weight"])
    assert not torch.equal(network.stages[8].conv1.weight, own["stages.8.conv1.weight"])


def test_another_shape_is_refused_unless_asked_for(model: Path):
    with pytest.raises(ModelError, match="another shape") as caught:
        CompactFamily(replace(CONFIG, network=SMALL, start=str(model)))
    assert "--allow-partial" in str(caught.value.hint)


def test_a_teacher_has_the_shape_that_its_model_names(model: Path):
    family = CompactFamily(replace(CONFIG, network=SMALL, teacher=str(model)))
    pixels = torch.rand(1, 1, LARGE.height, 64)
    large = CompactFamily(replace(CONFIG, start=str(model))).network.network.eval()
    assert torch.allclose(family.network._teacher[0](pixels)[0], large(pixels)[0], atol=1e-5)


def test_a_teacher_that_names_no_shape_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="does not say what network it is"):
        CompactFamily(replace(CONFIG, teacher=str(saved(tmp_path / "bare"))))


@pytest.mark.parametrize("role", ["start", "teacher"])
def test_a_model_of_another_charset_is_refused(model: Path, role: str):
    with pytest.raises(ModelError, match="another charset"):
        CompactFamily(replace(CONFIG, charset="abcd", **{role: str(model)}))


def test_a_layer_comes_whole_or_not_at_all(model: Path):
    other = replace(LARGE, sequence_kernel=5, recurrent_layers=0)
    large = CompactFamily(replace(CONFIG, start=str(model))).network.network.state_dict()
    large["sequence.0.norm.weight"].fill_(2.0)
    state = _shared_layers(large, CompactNetwork(other, len(Charset("abc"))).state_dict())
    assert {name.split(".")[0] for name in state} == {"stem", "stages", "project", "shortcut"}


def test_what_is_taken_over_is_told(model: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    CompactFamily(replace(CONFIG, network=SMALL, start=str(model), allow_partial=True))
    assert re.search(r"large: \d+ tensors are taken over, 2 drawn at random", caplog.text)


def test_a_teacher_that_cleans_lines_otherwise_is_refused(model: Path):
    other = replace(CONFIG, teacher=str(model), preprocess=PreprocessConfig(steps=("median",)))
    with pytest.raises(ModelError, match="cleans lines in another way"):
        CompactFamily(other)


def test_a_teacher_without_all_its_tensors_is_refused(tmp_path: Path):
    deeper = replace(LARGE, sequence_blocks=4)
    folder = saved(tmp_path / "lacking", provenance={"training": {"network": vars_of(deeper)}})
    with pytest.raises(ModelError, match=r"another shape \(first: sequence\.3\.conv\.weight\)"):
        CompactFamily(replace(CONFIG, teacher=str(folder)))
