"""`--model auto` with the models that ship, on real lines."""

import json
from pathlib import Path

import pytest

from quillread.cli.main import main
from quillread.evaluate.metrics import score_line
from quillread.reader import Reader

DATA = Path(__file__).parent.parent / "data"
LINES = {
    "medieval": ("medieval-line.jpg", "Enel septimo libro titol delos furtos edelos"),
    "builtin": ("line.jpg", "du nord-est du Monténégro, dans la municipalité"),
}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(model="auto", lines=True, threads=1)


@pytest.mark.parametrize("model", LINES)
def test_a_line_is_read_by_the_model_that_was_taught_its_script(reader: Reader, model: str):
    name, text = LINES[model]
    (page,) = reader.read(DATA / name).pages
    assert page.model == model
    assert score_line(text, page.text).cer_spacing.rate < 0.1


def test_the_command_tells_the_model_of_each_input(tmp_path: Path):
    names = [name for name, _ in LINES.values()]
    words = ["read", *(str(DATA / name) for name in names), "--model", "auto", "--lines", "--threads", "1"]
    assert main([*words, "--format", "json,page", "--output", str(tmp_path)]) == 0
    for model, (name, _) in LINES.items():
        document = json.loads((tmp_path / name).with_suffix(".json").read_text(encoding="utf-8"))
        assert document["pages"][0]["model"] == model
        assert document["provenance"]["model"] == "auto"
        (xml,) = tmp_path.glob(f"{Path(name).stem}*.xml")
        assert f'value="{model}"' in xml.read_text(encoding="utf-8")
