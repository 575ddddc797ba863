"""A TrOCR model brought to a narrow canvas: taught by itself, exported, read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import line_image, write_folder
from liveliness import write_lively

from quillread.cli.main import main
from quillread.models.model_folder import read_info
from quillread.models.trocr.loading import Trocr, load_trocr
from quillread.models.trocr.onnx_folder import read_facts
from quillread.models.trocr.pixels import line_pixels, set_canvas
from quillread.text.tokenizer import encode_text

TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
HEIGHT, WIDTH = 32, 64
SMALL = (
    f"canvas={{height: {HEIGHT}, width: {WIDTH}, fit: squash}}", "epochs=1", "epoch_lines=960", "batch_size=8",
    "workers=0", "schedule.learning_rate=3e-3", "tuning.distil=20", "augment.strength=0.1",
    # So few that a network which says the same of all lines, as one so small may, is not sent away for it.
    "validation_lines=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("narrow")
    lines = write_folder(folder / "lines", TEXTS)
    start = write_lively(folder / "start")
    command = ["train", "--config", "trocr-narrow", "--model", str(start), "--data", str(lines)]
    settings = [word for setting in SMALL for word in ("--set", setting)]
    assert main([*command, *settings, "--validation", str(lines), "--output", str(folder / "run")]) == 0
    return folder


def distance(wide: Trocr, narrow: Trocr) -> float:
    """How far the first tokens of the texts are from what is said on the wide canvas, in nats."""
    images = [line_image(text) for text in TEXTS]
    tokens = torch.tensor([[2, *encode_text(wide.tokenizer, text)[:3]] for text in TEXTS])
    with torch.no_grad():
        wanted, given = (
            model.network(
                pixel_values=torch.from_numpy(line_pixels(model.image_processor, images)), decoder_input_ids=tokens
            ).logits.log_softmax(-1)
            for model in (wide, narrow)
        )
    return float((wanted.exp() * (wanted - given)).sum(-1).mean())


def test_it_learns_to_say_what_it_said_on_its_own_canvas(trained: Path):
    wide, narrow = load_trocr(trained / "start"), load_trocr(trained / "start")
    set_canvas(narrow, HEIGHT, WIDTH)
    before = distance(wide, narrow)
    assert distance(wide, load_trocr(trained / "run" / "model")) < 0.5 * before


def test_the_model_has_the_narrow_canvas_and_says_how_it_was_taught(trained: Path):
    info = read_info(trained / "run" / "model")
    assert info.canvas is not None
    assert (info.canvas.height, info.canvas.width) == (HEIGHT, WIDTH)
    card = (trained / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "by the model that it started from" in card


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_it_is_exported_with_that_canvas_and_reads(
    trained: Path, tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
):
    model, target = trained / "run" / "model", tmp_path / "exported"
    assert main(["models", "export", str(model), str(target), "--weights", weights]) == 0
    facts = read_facts(target)
    assert (facts.height, facts.width) == (HEIGHT, WIDTH)
    line = str(trained / "lines" / "line-05.png")
    texts = []
    for folder in (model, target):
        capsys.readouterr()
        assert main(["read", "--lines", "--max-tokens", "6", "--model", str(folder), line]) == 0
        texts.append(capsys.readouterr().out)
    assert weights != "float32" or texts[0] == texts[1]


def test_a_resumed_run_is_taught_by_the_same_start(trained: Path):
    assert main(["train", "--resume", "--output", str(trained / "run"), "--set", "epochs=2"]) == 0
    assert np.isfinite(distance(load_trocr(trained / "start"), load_trocr(trained / "run" / "model")))
