import re
from pathlib import Path

import numpy as np
import pytest
from fakes import bar_line, bar_recognizer, png
from PIL import Image
from readings import size_of, write_segmentation

from quillread.cli.main import main
from quillread.data.spec import open_source, parse_spec
from quillread.types import UInt8Image


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages of one line each, and PAGE files that say where it is."""
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, text in (("a", "ab cd"), ("b", "dead")):
        (folder / f"{name}.png").write_bytes(png(bar_line(text, 4)))
        width, height = size_of(text)
        write_segmentation(folder / f"{name}.xml", f"{name}.png", (4 * width, 4 * height))
    return folder


def cut(pages: Path, output: Path) -> int:
    return main(["data", "lines", str(pages), "--segmentation", str(pages), "--output", str(output)])


def test_lines_of_pages_become_a_data_set_with_a_draft(pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cut(pages, tmp_path / "lines") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'lines'}\n"
    assert f"quill train --data {tmp_path / 'lines'}" in err
    names = sorted(path.name for path in (tmp_path / "lines").iterdir())
    assert names == ["a-0001-001.png", "a-0001-001.txt", "b-0001-001.png", "b-0001-001.txt"]
    assert len(open_source(parse_spec(f"folder:{tmp_path / 'lines'}"), "train")) == 2


def test_the_command_that_is_suggested_can_be_pasted(pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cut(pages, tmp_path / "my lines")
    assert f"quill train --data '{tmp_path / 'my lines'}' --output run" in capsys.readouterr().err


def test_texts_that_a_person_corrected_are_kept(pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cut(pages, tmp_path / "lines")
    (tmp_path / "lines" / "a-0001-001.txt").write_text("corrected", encoding="utf-8")
    assert cut(pages, tmp_path / "lines") == 0
    assert (tmp_path / "lines" / "a-0001-001.txt").read_text(encoding="utf-8") == "corrected"
    assert "2 that are there already kept" in capsys.readouterr().err


def test_a_page_that_cannot_be_read_is_named_and_the_others_are_cut(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (pages / "a.png").write_bytes(b"no image")
    assert cut(pages, tmp_path / "lines") == 3
    assert "a.png" in capsys.readouterr().err
    assert (tmp_path / "lines" / "b-0001-001.txt").exists()


def test_pages_of_the_same_name_are_not_lost_without_a_word(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes((pages / "b.png").read_bytes())
    named = [str(pages / "a.png"), str(tmp_path / "other" / "a.png")]
    assert main(["data", "lines", *named, "--set", "lines=true", "--output", str(tmp_path / "lines")]) == 3
    assert "other/a.png: its results would have the names of those of" in capsys.readouterr().err
    assert (tmp_path / "lines" / "a-0001-001.txt").read_text(encoding="utf-8") == "ab cd\n"


def test_lines_cut_earlier_are_not_taken_for_pages(pages: Path):
    arguments = ["data", "lines", str(pages), "--set", "lines=true", "--output", str(pages / "lines")]
    assert [main(arguments), main(arguments)] == [0, 0]
    assert len(list((pages / "lines").rglob("*.png"))) == 2


def test_lines_are_cut_as_they_are_read(pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quillread.images.tones.is_negative", lambda image: True)
    for xml in pages.glob("*.xml"):  # narrower than the band along the baseline
        content = xml.read_text(encoding="utf-8")
        narrow = re.compile(r'(<TextLine[^>]*>\s*<Coords points=")[^"]*(" />\s*<Baseline points=")[^"]*')
        content = narrow.sub(r"\g<1>20,90 100,90 100,120 20,120\g<2>20,118 100,118", content)
        xml.write_text(content, encoding="utf-8")
    read: list[UInt8Image] = []
    recognizer = bar_recognizer()
    take = type(recognizer).read
    monkeypatch.setattr(type(recognizer), "read", lambda self, lines: (read.extend(lines), take(self, lines))[1])
    assert cut(pages, tmp_path / "lines") == 0
    kept = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "lines").glob("*.png"))]
    assert [np.array_equal(one, other) for one, other in zip(kept, read, strict=True)] == [True, True]
    assert all(np.median(one) == 0 for one in kept)  # inverted


def test_a_picture_whose_text_is_missing_is_written_again(pages: Path, tmp_path: Path):
    cut(pages, tmp_path / "lines")
    (tmp_path / "lines" / "a-0001-001.txt").unlink()
    (tmp_path / "lines" / "a-0001-001.png").write_bytes(b"cut off")
    assert cut(pages, tmp_path / "lines") == 0
    assert (tmp_path / "lines" / "a-0001-001.txt").exists()
    assert (tmp_path / "lines" / "a-0001-001.png").read_bytes() != b"cut off"
