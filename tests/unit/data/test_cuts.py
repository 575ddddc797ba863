import numpy as np
import pytest
from fakes import bar_line, bar_recognizer

from quillread.data.recombined import LineCuts, find_cuts, read_cuts, write_cuts
from quillread.errors import DataError


def cuts_of(text: str, written: str | None = None):
    image = bar_line(written or text)
    (transcript,) = bar_recognizer().read([image])
    return find_cuts(text, transcript.characters, image)


def test_a_space_is_cut_where_it_stands():
    # Each character takes two columns of four pixels, the mark on the second.
    ((place, x),) = cuts_of("ab cd")
    assert place == 2
    assert abs(x * bar_line("ab cd").shape[1] - 22) <= 4


def test_a_cut_goes_through_the_column_with_the_least_ink():
    image = bar_line("ab cd")
    (transcript,) = bar_recognizer().read([image])
    space = transcript.characters[2]
    # Only one column of the space has no ink.
    image[:, int(space.x0) : int(space.x1) + 1] = 0
    image[:, int(space.x0) + 2] = 255
    ((_, x),) = find_cuts("ab cd", transcript.characters, image)
    assert int(x * image.shape[1]) == int(space.x0) + 2


def test_a_space_beside_a_letter_that_was_read_wrongly_is_no_cut():
    assert cuts_of("ab ce", written="ab dd") == ()


def test_all_spaces_of_a_line_are_found():
    assert [place for place, _ in cuts_of("ab cd ea")] == [2, 5]


def test_cuts_survive_being_written(tmp_path):
    lines = [LineCuts(3, "à la mer", ((1, 0.25), (4, 0.5))), LineCuts(7, "et la", ((2, 0.4),))]
    write_cuts(tmp_path / "cuts.jsonl", lines)
    assert list(read_cuts(tmp_path / "cuts.jsonl")) == lines


@pytest.mark.parametrize("row", ["{", '{"index": 1}', '{"index": 1, "text": "a b", "cuts": [1]}', "[]"])
def test_a_damaged_row_is_named(tmp_path, row):
    path = tmp_path / "cuts.jsonl"
    path.write_text('{"index": 0, "text": "a b", "cuts": [[1, 0.5]]}\n' + row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 2"):
        list(read_cuts(path))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_cuts(tmp_path / "none.jsonl"))


def test_the_image_may_be_grey():
    image = bar_line("ab cd")
    (transcript,) = bar_recognizer().read([image])
    assert find_cuts("ab cd", transcript.characters, np.ascontiguousarray(image[..., 0])) == cuts_of("ab cd")


@pytest.mark.parametrize("content", ["", "\n"])
def test_a_file_without_cuts_says_so(content: str, tmp_path):
    (tmp_path / "cuts.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="holds no cuts"):
        list(read_cuts(tmp_path / "cuts.jsonl"))
