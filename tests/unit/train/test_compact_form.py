import numpy as np
import pytest
import torch
from runs import train_config

from quillread.images.augment import STEPS, AugmentConfig
from quillread.models.compact.onnx_file import COLUMN_WIDTH
from quillread.train.compact_form import CompactForm

NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))
FORM = CompactForm(train_config(charset="abcdefghijklmnopqrstuvwxyz ", augment=NEVER))


def test_lines_are_padded_with_paper_to_a_common_width():
    short, long = np.full((48, 10), 0.5, np.float32), np.full((48, 130), 0.25, np.float32)
    batch = FORM.collate([(short, [1, 2]), (long, [3]), (long, [3]), (long, [3])])
    assert batch["pixels"].shape == (4, 1, 48, 192)
    assert batch["widths"].tolist() == [10, 130, 130, 130]
    assert (batch["pixels"][0, 0, :, :10] == 0.5).all() and (batch["pixels"][0, 0, :, 10:] == 0).all()
    assert (batch["pixels"][1, 0, :, :130] == 0.25).all() and (batch["pixels"][1, 0, :, 130:] == 0).all()


def test_a_line_much_wider_than_the_others_is_narrowed_to_them():
    lines = [(np.zeros((48, 64), np.float32), [1])] * 7
    batch = FORM.collate([*lines, (np.ones((48, 200), np.float32), [1, 2])])
    assert batch["widths"].tolist() == [64] * 8
    assert np.allclose(batch["pixels"][7], 1)


def test_a_narrowed_line_keeps_columns_for_its_text_and_the_blanks_between_equal_characters():
    lines = [(np.zeros((48, 64), np.float32), [1])] * 7
    batch = FORM.collate([*lines, (np.ones((48, 200), np.float32), [1, 1] * 10)])
    assert batch["widths"][7] >= (20 + 19) * COLUMN_WIDTH


def test_labels_are_padded_with_their_lengths():
    pixels = np.zeros((48, 8), np.float32)
    batch = FORM.collate([(pixels, [1, 2]), (pixels, [3]), (pixels, [4, 5, 6])])
    assert batch["labels"].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert batch["label_lengths"].tolist() == [2, 1, 3]
    assert batch["widths"].tolist() == [8, 8, 8]
    assert batch["labels"].dtype == torch.int64


def test_every_line_counts_the_same():
    pixels = np.zeros((48, 8), np.float32)
    assert FORM.collate([(pixels, [1, 2]), (pixels, [3])])["weights"].tolist() == [1, 1]


def test_a_narrow_image_is_given_columns_for_its_text_and_the_blanks_between_equal_characters():
    pixels, _ = FORM.make(np.full((48, 20, 3), 255, np.uint8), "m" * 40, np.random.default_rng(0))
    assert pixels.shape[1] >= (40 + 39) * COLUMN_WIDTH


@pytest.mark.parametrize(
    ("text", "aspect", "fault"),
    [
        ("good", 4.0, None),
        ("été", 9.0, "with 'é', which is outside the charset"),
        ("good text", 0.5, "too narrow for their text"),
        # At height 48, a line as wide as a quarter of its height has 3 columns.
        ("aba", 0.25, None),
        ("aab", 0.25, "too narrow for their text"),
    ],
)
def test_lines_that_ctc_cannot_learn_are_told_apart(text: str, aspect: float, fault: str | None):
    assert FORM.fault(text, aspect) == fault
