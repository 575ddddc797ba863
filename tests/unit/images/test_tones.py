from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from quillread.images.read import open_document
from quillread.images.tones import darkest_channel, is_negative

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    with open_document(DATA / "page.jpg") as document:
        return document.page(0)


def test_a_negative_is_told_from_a_page(page):
    assert not is_negative(page)
    assert is_negative(255 - page)
    assert is_negative(255 - page[:, :, 0])


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_dark_page_is_no_negative(share, page):
    assert not is_negative(np.asarray(page * share, np.uint8))


def test_a_page_on_a_black_table_is_no_negative(page):
    edge = max(page.shape) // 2
    assert not is_negative(cv2.copyMakeBorder(page, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(9, 9, 9)))


def test_a_negative_in_a_dark_frame_is_one(page):
    edge = max(page.shape) // 4
    frame = cv2.copyMakeBorder(255 - page, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(9, 9, 9))
    assert is_negative(frame)


def test_a_blueprint_is_a_negative(page):
    paper, ink = np.array((40, 60, 130)), np.array((225, 230, 240))
    share = (page[:, :, :1] / 255.0) ** 0.5
    assert is_negative(np.asarray(share * paper + (1 - share) * ink, np.uint8))


@pytest.mark.parametrize("level", [0, 60, 255])
def test_an_image_of_one_colour_is_no_negative(level):
    assert not is_negative(np.full((40, 900, 3), level, np.uint8))
    assert not is_negative(np.full((1, 1), level, np.uint8))


def test_a_line_in_white_is_a_negative():
    line = np.asarray(Image.open(DATA / "line.jpg").convert("RGB"))
    assert [is_negative(line), is_negative(255 - line)] == [False, True]


def test_the_darkest_channel_shows_blue_ink_on_white():
    image = np.full((2, 3, 3), 255, np.uint8)
    image[0, 1] = (20, 40, 230)
    assert darkest_channel(image).tolist() == [[255, 20, 255], [255, 255, 255]]
