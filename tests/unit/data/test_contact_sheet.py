import cv2
import numpy as np
import pytest
from PIL import ImageFont

from quillread.data import contact_sheet as show
from quillread.data.contact_sheet import TrainingView, draw_augmentations, draw_lines, draw_steps, stack
from quillread.data.source import Row, RowSource
from quillread.errors import DataError
from quillread.images.augment import STEPS, AugmentConfig
from quillread.images.preprocess import CLASSIC, PreprocessConfig
from quillread.images.preprocess import STEPS as PREPROCESSING
from quillread.images.steps_tone import MedianConfig


@pytest.fixture
def only_pillows_font(monkeypatch):
    def refuse(*args, **options):
        raise OSError

    monkeypatch.setattr(show.ImageFont, "truetype", refuse)
    # Pillow's own loader goes through truetype; the font it gives is made here, before it is refused.
    monkeypatch.setattr(show.ImageFont, "load_default", {15: PILLOWS_FONT}.get)
    show._font.cache_clear()
    show._is_drawable.cache_clear()
    yield
    show._font.cache_clear()
    show._is_drawable.cache_clear()


PILLOWS_FONT = ImageFont.load_default(15)


def row(number, text="some words", width=300):
    image = np.full((48, width, 3), 230, np.uint8)
    cv2.line(image, (10, 10 + number), (width - 10, 38), (30, 30, 30), 3)
    return Row(f"line-{number}", cv2.imencode(".png", image)[1].tobytes(), text)


def source(*rows):
    return RowSource("lines", rows or [row(i) for i in range(6)])


def pixels(image):
    return np.asarray(image).copy()


def test_sheet_is_the_same_for_the_same_seed():
    first, second = (pixels(draw_lines(source(), "lines", count=3, seed=5)) for _ in range(2))
    assert np.array_equal(first, second)


def test_sheet_of_more_lines_than_there_are_shows_them_all():
    everything = draw_lines(source(), "lines", count=6, seed=0)
    assert draw_lines(source(), "lines", count=100, seed=0).size == everything.size


def test_sheet_holds_the_pixels_of_a_line():
    lines = source(row(3))
    image = lines.sample(0, np.random.default_rng(0)).image
    sheet = pixels(draw_lines(lines, "lines", count=1, seed=0))
    score = cv2.matchTemplate(sheet, image, cv2.TM_SQDIFF)
    assert score.min() == 0


def test_unreadable_line_does_not_spoil_the_sheet():
    lines = source(row(0), Row("broken", b"no image", "words"))
    assert draw_lines(lines, "lines", count=2, seed=0).width == 1600


def test_wide_line_is_reduced_to_its_card():
    lines = source(row(0, width=5000), row(1))
    assert draw_lines(lines, "lines", count=2, seed=0).width == 1600


def test_long_text_is_set_in_several_rows():
    short, long = (draw_lines(source(row(0, text)), "x", count=1, seed=0) for text in ("a", "long words " * 40))
    assert long.height > short.height


def test_augmentation_draws_each_step_with_three_looks(monkeypatch):
    drawn = []

    def spy(name):
        return lambda image, rng, strength: drawn.append((name, strength, rng.random())) or image

    monkeypatch.setattr(show, "STEPS", {name: spy(name) for name in STEPS})
    config = AugmentConfig(strength=1.5)
    draw_augmentations(source(), "lines", count=1, seed=0, config=config)
    assert [name for name, _, _ in drawn] == [name for name in STEPS for _ in range(3)]
    assert {strength for _, strength, _ in drawn} == {1.5}
    assert len({look for _, _, look in drawn}) == len(drawn)


def test_a_view_distorts_the_cleaned_line_with_what_is_switched_on_and_shows_the_canvas(monkeypatch):
    seen, drawn = [], []

    def spy(name):
        return lambda image, rng, strength: drawn.append((name, int(image[0, 0]))) or image

    monkeypatch.setattr(show, "STEPS", {name: spy(name) for name in STEPS})
    clean = np.full((40, 120), 77, np.uint8)
    canvas = np.zeros((224, 224), np.uint8)
    view = TrainingView(lambda image: clean, lambda look: seen.append(look.shape) or canvas, ("otsu",))
    config = AugmentConfig(**dict.fromkeys(STEPS, 0.0), elastic_noise=0.5)
    sheet = pixels(draw_augmentations(source(), "x", count=1, seed=0, config=config, view=view))
    assert drawn == [(name, 77) for name in ("elastic", "noise") for _ in range(3)]
    assert len(seen) == 9  # three rows of three looks
    assert cv2.matchTemplate(sheet, np.zeros((224, 224, 3), np.uint8), cv2.TM_SQDIFF).min() == 0


def test_augmentation_is_the_same_for_the_same_seed():
    first, second = (
        pixels(draw_augmentations(source(), "x", count=1, seed=2, config=AugmentConfig())) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_augmentation_prefers_lines_that_fit_at_full_size(monkeypatch):
    lines = source(row(0, width=2000), row(1, width=320), row(2, width=60))
    asked = []
    sample = lines.sample
    monkeypatch.setattr(lines, "sample", lambda index, rng: asked.append(index) or sample(index, rng))
    draw_augmentations(lines, "x", count=1, seed=0, config=AugmentConfig())
    assert asked == [1]


def test_augmentation_of_an_unreadable_line_is_refused():
    with pytest.raises(DataError, match="broken"):
        draw_augmentations(source(Row("broken", b"no image", "words")), "x", count=1, seed=0, config=AugmentConfig())


def test_sheets_are_stacked():
    one = draw_lines(source(), "lines", count=2, seed=0)
    assert stack([one, one]).size == (1600, 2 * one.height)


def test_font_draws_accented_letters():
    assert all(show._is_drawable(char, 18) for char in "éèüßñœ€’")


def test_characters_without_a_glyph_are_written_as_code_points(only_pillows_font):
    escaped, plain = (show._write(text, 400, 15, "black") for text in ("caſé", "ca<017F><00E9>"))
    assert np.array_equal(pixels(escaped), pixels(plain))


def test_control_characters_are_written_as_code_points():
    escaped, plain = (show._write(text, 400, 15, "black") for text in ("a\tb", "a<0009>b"))
    assert np.array_equal(pixels(escaped), pixels(plain))


def test_steps_draw_each_by_itself_and_the_classic_chain_as_it_grows(monkeypatch):
    chains = []
    monkeypatch.setattr(show, "preprocess", lambda image, config: chains.append(config.steps) or (image, None))
    draw_steps(source(), "lines", count=1, seed=0)
    alone = [(name,) for name in PREPROCESSING]
    assert chains == [*alone, CLASSIC[:2], CLASSIC[:3], CLASSIC]


def test_steps_draw_the_chain_as_set(monkeypatch):
    chains = []
    monkeypatch.setattr(show, "preprocess", lambda image, config: chains.append(config) or (image, None))
    config = PreprocessConfig(("deskew", "otsu"), median=MedianConfig(5))
    draw_steps(source(), "lines", count=1, seed=0, config=config)
    assert chains[-1] == config
    assert all(chain.median.size == 5 for chain in chains)


def test_steps_are_drawn_for_each_line():
    one, two = (draw_steps(source(), "lines", count=count, seed=0) for count in (1, 2))
    assert one.width == two.width == 1600
    assert two.height > 1.8 * one.height


def test_steps_of_an_unreadable_line_are_refused():
    with pytest.raises(DataError, match="broken"):
        draw_steps(source(Row("broken", b"no image", "words")), "x", count=1, seed=0)
