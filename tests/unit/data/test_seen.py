from dataclasses import replace
from pathlib import Path

import numpy as np
from fakes import write_folder

from quillread.data.seen import count_seen, mark, mark_lines
from quillread.data.spec import open_source, parse_spec


def test_lines_of_a_training_are_known_again(tmp_path: Path):
    trained = open_source(parse_spec(f"folder:{write_folder(tmp_path / 'a', list('abcdefgh'))}"), "train")
    marks = mark_lines([trained], [np.arange(6)])
    assert len(marks) == 6
    again = open_source(parse_spec(f"folder:{tmp_path / 'a'}"), "train")
    rng = np.random.default_rng(0)
    assert count_seen([mark(again.sample(i, rng)) for i in range(8)], marks) == 6


def test_a_line_or_two_may_be_known_by_accident(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, list('abcdef'))}"), "train")
    marks = mark_lines([source], [np.arange(2)])
    rng = np.random.default_rng(0)
    assert count_seen([mark(source.sample(i, rng)) for i in range(6)], marks) == 0


def test_the_same_text_by_another_hand_is_not_known(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, list('abcdef'))}"), "train")
    marks = mark_lines([source], [np.arange(6)])
    rng = np.random.default_rng(0)
    samples = [source.sample(i, rng) for i in range(6)]
    darker = [mark(replace(s, image=s.image // 2)) for s in samples]
    assert count_seen(darker, marks) == 0


def test_lines_that_cannot_be_read_get_no_marks(tmp_path: Path):
    source = open_source(parse_spec(f"folder:{write_folder(tmp_path, list('abc'))}"), "train")
    images = sorted(tmp_path.glob("*.png"))
    images[0].write_bytes(b"")
    assert len(mark_lines([source], [np.arange(3)])) == 2
    assert mark_lines([source], [np.arange(1)]) == []
