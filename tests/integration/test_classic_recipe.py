"""The classic recipe from end to end: IAM lines and Imgur5K words, through `quill train`, `evaluate` and `read`."""

import hashlib
import json
from pathlib import Path

import pytest
from fakes import line_image, png, write_trocr

from quillread.cli.main import main
from quillread.models.model_folder import read_info

LINES = {
    "a01-000u-00": "A|MOVE|to|stop",
    "a01-000u-01": "Mr.|Gaitskell",
    "a01-000x-00": "nominating|,|too",
    "a01-003-00": "first|floor",
    "c04-156-00": "part|.|The|rest",
    "c04-156-01": "nowhere",
}
"""Of forms that the RWTH/Aachen split has in its training part, but for the last two: those are for validation."""


def write_iam(folder: Path) -> Path:
    """Write a folder with official files of the IAM database."""
    (folder / "ascii").mkdir(parents=True)
    rows = [f"{line} ok 154 19 408 746 1661 89 {text}" for line, text in LINES.items()]
    (folder / "ascii" / "lines.txt").write_text("# lines.txt\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "ascii" / "forms.txt").write_text("# forms.txt\na01-000u 000 2 prt 7 5 52 36\n", encoding="utf-8")
    for line, text in LINES.items():
        series, form, _ = line.split("-")
        path = folder / "lines" / series / f"{series}-{form}" / f"{line}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(line_image(text.replace("|", " "))))
    return folder


def write_imgur5k(folder: Path) -> Path:
    """Write a folder with official files of Imgur5K: one word an image."""
    (folder / "dataset_info").mkdir(parents=True)
    (folder / "images").mkdir()
    for split, words in (("train", ("Hand", "word")), ("val", ("note",))):
        tables: dict[str, dict[str, object]] = {"index_id": {}, "index_to_ann_map": {}, "ann_id": {}}
        for word in words:
            image = line_image(word)
            height, width = image.shape[:2]
            content = png(image)
            (folder / "images" / f"{word}.jpg").write_bytes(content)
            digest = hashlib.md5(content).hexdigest()
            tables["index_id"][word] = {"image_url": "", "image_path": f"images/{word}.jpg", "image_hash": digest}
            tables["index_to_ann_map"][word] = [f"{word}_0"]
            box = str([width / 2, height / 2, width, height, 0.0])
            tables["ann_id"][f"{word}_0"] = {"word": word, "bounding_box": box}
        name = f"imgur5k_annotations_{split}.json"
        (folder / "dataset_info" / name).write_text(json.dumps(tables), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classic")
    iam, imgur5k = write_iam(folder / "iam"), write_imgur5k(folder / "imgur5k")
    start = write_trocr(folder / "start", "base-handwritten")
    command = ["train", "--config", "trocr-classic", "--model", str(start), "--output", str(folder / "run")]
    data = ["--data", f"iam:{iam}", "--data", f"imgur5k:{imgur5k}"]
    validation = ["--validation", f"iam:{iam}", "--validation", f"imgur5k:{imgur5k}"]
    # Smaller than the recipe where its size is all that costs time.
    small = ["epochs=2", "batch_size=3", "workers=0", "canvas={height: 32, width: 32, fit: squash}"]
    assert main([*command, *data, *validation, *(part for s in small for part in ("--set", s))]) == 0
    return folder / "run"


def test_both_data_sets_are_trained_on(run: Path):
    sources = read_info(run / "model").provenance["sources"]
    assert [source.split(": ")[-1] for source in sources] == ["4 lines", "2 lines"]


def test_how_much_lines_are_squashed_is_recorded(run: Path):
    assert read_info(run / "model").provenance["remark"].startswith("canvas of 32 x 32: lines are narrowed")


def test_cer_and_wer_are_there_for_each_epoch(run: Path):
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [e["epoch"] for e in history if "eval_cer" in e and "eval_wer" in e] == [1.0, 2.0]


def test_the_model_carries_the_chain_and_the_canvas(run: Path):
    info = read_info(run / "model")
    assert info.preprocess.steps == ("grayscale", "non_local_means", "median", "adaptive_threshold")
    assert (info.canvas.height, info.canvas.width, info.canvas.fit) == (32, 32, "squash")
    assert json.loads((run / "model" / "preprocessor_config.json").read_text(encoding="utf-8"))["size"] == {
        "height": 32,
        "width": 32,
    }


def test_the_settings_are_those_of_the_recipe(run: Path):
    training = read_info(run / "model").provenance["training"]
    assert training["schedule"]["learning_rate"] == 5e-5
    assert training["schedule"]["warmup"] == 0.1
    assert training["patience"] == 3
    assert training["tuning"]["gradient_checkpointing"] is True
    assert training["augment"]["perspective"] == 0.5


def test_the_denoised_lines_are_kept(run: Path):
    # Six to train on and three to validate with.
    assert len([path for path in (run / "cache").rglob("*") if path.is_file()]) == 9


def test_the_model_is_evaluated_and_read_with(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "line.png").write_bytes(png(line_image("hand")))
    model = ["--model", str(run / "model")]
    data = f"imgur5k:{run.parent / 'imgur5k'}"
    assert main(["evaluate", *model, "--data", data, "--json", str(tmp_path / "figures.json")]) == 0
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["lines"] == 1
    capsys.readouterr()
    assert main(["read", *model, "--lines", "--format", "json", str(tmp_path / "line.png")]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["model"] == str(run / "model")


def test_the_model_is_compared_with_the_built_in_one(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = f"iam:{run.parent / 'iam'}"
    for name, model in (("builtin", "builtin"), ("trocr", str(run / "model"))):
        predictions = str(tmp_path / f"{name}.jsonl")
        assert main(["evaluate", "--model", model, "--data", data, "--predictions", predictions]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "builtin.jsonl"), str(tmp_path / "trocr.jsonl")]) == 0
    assert "CER" in capsys.readouterr().out
