"""Training, memory and reading on a CUDA device; skipped where there is none."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import line_image, write_folder, write_trocr
from PIL import Image
from runs import TINY_TROCR, changed, gradient_gap, interrupt, optimizer_tensors, train_config

from quillread.cli.main import main
from quillread.images.fit import CanvasConfig, InkConfig
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.model_folder import read_info
from quillread.models.trocr.settings import TrocrShape
from quillread.train import memory
from quillread.train.config import TrainConfig
from quillread.train.family_settings import LoraConfig, TuningConfig
from quillread.train.finetune import finetune
from quillread.train.memory import fit_micro_batch
from quillread.train.trocr.family import TrocrFamily

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
EPOCH_STEPS, LAST = 4, 12


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "lines", TEXTS)


def settings(lines: Path, family: str, **changes: Any) -> TrainConfig:
    network = CompactConfig(
        height=48, channels=(8, 12, 16, 24), blocks=(1, 1, 1, 1), sequence_width=16, sequence_blocks=1
    )
    parts: dict[str, dict[str, Any]] = {
        "trocr": {"shape": TINY_TROCR, "canvas": CanvasConfig(32, 128, "pad")},
        "compact": {"network": network, "ink": InkConfig(height=48)},
    }
    config = train_config(
        family=family,
        data=[f"folder:{lines}"],
        validation=[f"folder:{lines}"],
        batch_size=2,
        epochs=LAST // EPOCH_STEPS,
        workers=2,
        **parts[family],
    )
    return changed(config, **changes)


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
@pytest.mark.parametrize("family", ["trocr", "compact"])
def test_a_model_is_trained_saved_and_read_with(lines: Path, tmp_path: Path, family: str, precision: str):
    result = finetune(settings(lines, family, precision=precision), tmp_path / "run", progress=False)
    assert result.finished
    provenance = read_info(result.model).provenance
    assert provenance["precision"] == ("bf16" if precision == "auto" else precision)
    assert provenance["steps"] == LAST
    Image.fromarray(line_image("a bad cab")).save(tmp_path / "line.png")
    output = tmp_path / "read"
    arguments = ["read", "--lines", "--model", str(result.model), "--format", "json", "--output", str(output)]
    assert main([*arguments, str(tmp_path / "line.png")]) == 0
    assert "text" in (output / "line.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ["trocr", "compact"])
def test_a_resumed_run_ends_close_to_an_unbroken_one(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
):
    # Sums of several threads of a GPU come in any order: not bit for bit, as on a CPU.
    config = settings(lines, family, precision="fp32", micro_batch=2)
    finetune(config, tmp_path / "unbroken", progress=False)
    with monkeypatch.context() as patch:
        interrupt(patch, step=EPOCH_STEPS + 2)
        assert not finetune(config, tmp_path / "broken", progress=False).finished
    assert finetune(config, tmp_path / "broken", resume=True, progress=False).finished
    checkpoints = [tmp_path / name / f"checkpoint-{LAST}" for name in ("unbroken", "broken")]
    assert optimizer_tensors(checkpoints[0]).keys() == optimizer_tensors(checkpoints[1]).keys()
    assert gradient_gap(checkpoints[0], checkpoints[1]) < 0.01


def wide(lines: Path, **changes: Any) -> TrainConfig:
    """A run whose lines take much more memory than its weights."""
    shape = TrocrShape(
        encoder_width=128,
        encoder_layers=8,
        encoder_heads=4,
        decoder_width=64,
        decoder_layers=2,
        decoder_heads=2,
        patch_height=16,
        patch_width=4,
        max_positions=24,
        dropout=0.0,
    )
    none: dict[str, Any] = {"validation": (), "validation_share": 0.0}
    canvas = CanvasConfig(64, 768, "pad")
    return settings(
        lines, "trocr", shape=shape, canvas=canvas, batch_size=8, epochs=1, precision="bf16", **none, **changes
    )


def test_memory_that_runs_out_halves_what_is_computed_at_a_time(
    lines: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    finetune(wide(lines, micro_batch=8), tmp_path / "free", progress=False)
    took = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 0.7 * took
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        assert finetune(wide(lines, micro_batch=8), tmp_path / "tight", progress=False).finished
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "4 lines are computed at a time" in caplog.text
    assert gradient_gap(*(tmp_path / name / "checkpoint-1" for name in ("free", "tight"))) < 0.05


def test_what_the_probe_allows_stays_within_the_free_memory(lines: Path, monkeypatch: pytest.MonkeyPatch):
    family = TrocrFamily(wide(lines))
    device = torch.device("cuda:0")
    network = family.network.to(device)
    batch = {
        "pixel_values": torch.zeros(64, 3, 64, 768),
        "labels": torch.full((64, 20), 7),
    }
    free = 2**31
    monkeypatch.setattr(memory, "_free", lambda _: free)
    size = fit_micro_batch(network, batch, device, torch.bfloat16)
    assert 1 < size < 64
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.autocast("cuda", torch.bfloat16):
        network(**{name: value[:size].to(device) for name, value in batch.items()})["losses"].mean().backward()
    taken = torch.cuda.max_memory_allocated() - before
    assert 0.25 * free < taken < free


def test_the_free_memory_is_that_of_the_device():
    assert 0 < memory._free(torch.device("cuda:0")) <= torch.cuda.get_device_properties(0).total_memory


def test_adapters_are_trained_and_merged(lines: Path, tmp_path: Path):
    start = str(write_trocr(tmp_path / "start"))
    tuning = TuningConfig(lora=LoraConfig(rank=2, alpha=4), gradient_checkpointing=True)
    config = settings(lines, "trocr", start=start, canvas=None, tuning=tuning)
    assert finetune(config, tmp_path / "run", progress=False).finished


def test_a_published_form_with_sinusoidal_positions_is_trained(lines: Path, tmp_path: Path):
    start = str(write_trocr(tmp_path / "start", "base-stage1"))
    config = settings(lines, "trocr", start=start, canvas=None, precision="bf16")
    assert finetune(config, tmp_path / "run", progress=False).finished


def test_a_run_ends_by_the_clock(lines: Path, tmp_path: Path):
    tuning = TuningConfig(columns=0.5, mask_tokens=0.5)
    config = settings(lines, "trocr", epochs=100_000, epoch_lines=2000, minutes=0.05, tuning=tuning)
    assert finetune(config, tmp_path / "run", progress=False).finished
    history = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    rates = [entry["learning_rate"] for entry in history if "learning_rate" in entry]
    assert rates[-1] < 0.5 * max(rates)


@pytest.mark.slow
def test_compiled_layers_give_the_losses_of_plain_ones(lines: Path):
    config = wide(lines)
    plain = TrocrFamily(config).network.to("cuda").eval()
    tuning = TuningConfig(compile=True)
    compiled = TrocrFamily(changed(config, tuning=tuning)).network.to("cuda").eval()
    batch = {"pixel_values": torch.randn(4, 3, 64, 768, device="cuda"), "labels": torch.full((4, 20), 7).cuda()}
    with torch.autocast("cuda", torch.bfloat16):
        one, other = plain(**batch)["losses"], compiled(**batch)["losses"]
    assert torch.allclose(one, other, rtol=0.02)
