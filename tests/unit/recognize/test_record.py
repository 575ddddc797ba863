from pathlib import Path

import numpy as np
import pytest
from fakes import bar_info, line_image, write_trocr
from liveliness import write_lively

from quillread.language.catalog import LanguageConfig, LanguageOpener
from quillread.language.choice import LanguageSettings
from quillread.models.catalog import describe
from quillread.models.trocr.export import export
from quillread.recognize.load import load
from quillread.recognize.record import Record, Recorder, read_again
from quillread.text.charset import Charset

IMAGE = line_image("there was an old man in the house by the river", 48)


def test_a_recorded_line_is_read_again_as_a_recogniser_reads_it():
    recorder = Recorder("builtin", threads=1)
    record = recorder(IMAGE)
    choice = LanguageOpener(LanguageConfig(("en",)), recorder.info.charset).choice(LanguageSettings())
    (reading,) = read_again([record], recorder.info, choice, LanguageSettings())
    (read,) = load("builtin", threads=1, language=LanguageConfig(("en",))).read([IMAGE])
    (plain,) = load("builtin", threads=1).read([IMAGE])
    assert reading.text.strip() == read.text
    assert record.readings[0].text.strip() == plain.text
    assert [view.dtype for view in record.views] == [np.float16]


def test_a_letter_and_its_mark_are_read_again_as_one_character():
    charset = Charset("an\u0303")
    columns = np.full((8, len(charset)), -9.0, np.float16)
    for column, label in enumerate(charset.encode("an\u0303a")):
        columns[2 * column, label] = columns[2 * column + 1, 0] = -0.01
    info = bar_info(charset=charset.characters)
    (reading,) = read_again([Record((columns,), ())], info, None, LanguageSettings())
    assert reading.text == "aña"
    assert [e.text for e in reading.emissions] == ["a", "ñ", "a"]


def test_readings_of_trocr_are_recorded(tmp_path: Path):
    record = Recorder(str(write_trocr(tmp_path / "trocr")), threads=1)(IMAGE)
    assert record.views == ()
    assert len(record.readings) >= 2


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_readings_of_an_export_are_those_of_its_model(tmp_path: Path):
    folder = write_lively(tmp_path / "trocr")
    export(describe(str(folder)), tmp_path / "fast", "float32")
    of_torch, of_export = (Recorder(str(where), threads=1)(IMAGE).readings for where in (folder, tmp_path / "fast"))
    assert len(of_export) >= 2
    assert [reading.text for reading in of_export] == [reading.text for reading in of_torch]


@pytest.mark.parametrize("names", [("en",), ("auto",)])
def test_trocr_reads_with_a_language(tmp_path: Path, names):
    folder = str(write_trocr(tmp_path / "trocr"))
    (read,) = load(folder, threads=1, language=LanguageConfig(names)).read([IMAGE])
    assert read.alternatives == ()


def test_a_language_for_compact_models_leaves_trocr_alone(tmp_path: Path):
    folder = str(write_trocr(tmp_path / "trocr"))
    for_compact = LanguageConfig(("auto",), only_compact=True)
    (read,) = load(folder, threads=1, language=for_compact).read([IMAGE])
    (plain,) = load(folder, threads=1).read([IMAGE])
    assert read == plain
