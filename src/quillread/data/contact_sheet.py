"""Contact sheets: lines with their text beneath, and what each distortion or each cleaning step makes of a line."""

import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from quillread.data.source import Source
from quillread.errors import DataError, MissingExtraError
from quillread.extras import require_fonts
from quillread.images.augment import AUGMENT_HEIGHT, STEPS, AugmentConfig, augment
from quillread.images.fit import InkConfig, scale_to_height
from quillread.images.preprocess import CLASSIC, PreprocessConfig, preprocess
from quillread.images.preprocess import STEPS as CLEANING
from quillread.images.tones import to_grey
from quillread.types import UInt8Image

_WIDTH = 1600
_MARGIN = 36
_GAP = 12
_LABEL_WIDTH = 170
_LOOKS, _TOGETHER = 3, 3
_PAGE, _CARD, _EDGE = "#f3f2ee", "#ffffff", "#dddad2"
_TEXT, _FAINT, _FAULT = "#1f1f1f", "#85817a", "#b3261e"


def draw_lines(source: Source, name: str, *, count: int, seed: int) -> Image.Image:
    """Draw a random selection of lines, in their order, with their text and id beneath.

    A line whose image cannot be read shows the reason instead.

    Args:
        source: The lines.
        name: Title of the sheet.
        count: Lines to show at most.
        seed: Of the selection, and of the look of synthetic lines.

    Returns:
        RGB, 1600 pixels wide.
    """
    count = min(count, len(source))
    rows = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False)).tolist()
    width = (_WIDTH - 2 * _MARGIN - _GAP) // 2
    contents = [_line_content(source, row, seed, width - 2 * _GAP) for row in rows]
    pairs = [_pair(contents[i : i + 2], width) for i in range(0, count, 2)]
    return _sheet(f"{name}: {count} of {len(source):,} lines, seed {seed}", pairs)


@dataclass(frozen=True, slots=True)
class TrainingView:
    """How a training brings lines to its network."""

    clean: Callable[[UInt8Image], UInt8Image]
    """From a line image to what is distorted."""
    see: Callable[[UInt8Image], UInt8Image]
    """From that, distorted, to the pixels that the network gets, uint8 RGB or grey."""
    steps: tuple[str, ...] = ()
    """Names of the steps that clean."""


def draw_augmentations(
    source: Source, name: str, *, count: int, seed: int, config: AugmentConfig, view: TrainingView | None = None
) -> Image.Image:
    """Draw what each distortion makes of a line, in three looks, and what all together make of it.

    Each step is drawn at the configured strength, however probable it is; with a view only those that are switched on.
    Short lines are chosen, so that they are shown at full size.

    Args:
        source: The lines.
        name: Title of the sheet.
        count: Lines to show at most, each with rows of its own.
        seed: Of the selection and of all looks.
        config: Strength and probabilities.
        view: Of a training: its cleaned lines are distorted, and what its network gets is drawn, too. Plain grey lines
            of 64 pixels if not given.

    Returns:
        RGB, 1600 pixels wide.

    Raises:
        DataError: If the image of a chosen line cannot be read.
    """
    rows = _rows_of_aspect(source, _look_width() / AUGMENT_HEIGHT, count, seed)
    bands = [band for row in rows for band in _augmentation_bands(source, row, seed, config, view)]
    return _sheet(f"{name}: augmentation at strength {config.strength:g}, seed {seed}", bands)


def draw_steps(
    source: Source, name: str, *, count: int, seed: int, config: PreprocessConfig | None = None
) -> Image.Image:
    """Draw what each cleaning step makes of a line by itself, and what the classic chain makes of it, step by step.

    Lines are chosen that fill the width of the sheet. They are cleaned at their own size and reduced for the sheet.

    Args:
        source: The lines.
        name: Title of the sheet.
        count: Lines to show at most, each with rows of its own.
        seed: Of the selection, and of the look of synthetic lines.
        config: Settings of the steps, the defaults if not given; its own chain is drawn, too, if it has one.

    Returns:
        RGB, 1600 pixels wide.

    Raises:
        DataError: If the image of a chosen line cannot be read.
    """
    rows = _rows_of_aspect(source, _step_width() / (1.5 * AUGMENT_HEIGHT), count, seed)
    bands = [band for row in rows for band in _step_bands(source, row, seed, config or PreprocessConfig())]
    return _sheet(f"{name}: cleaning steps, seed {seed}", bands)


def stack(images: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Put images under each other, RGB, on the colour of the sheet."""
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    result = Image.new("RGB", (max(image.width for image in images), height), _PAGE)
    y = 0
    for image in images:
        result.paste(image, (0, y))
        y += image.height + gap
    return result


def _pair(contents: Sequence[Image.Image], width: int) -> Image.Image:
    height = max(content.height for content in contents)
    result = Image.new("RGB", (2 * width + _GAP, height + 2 * _GAP), _PAGE)
    for column, content in enumerate(contents):
        result.paste(_card(content, width, height), (column * (width + _GAP), 0))
    return result


def _sheet(title: str, rows: Sequence[Image.Image]) -> Image.Image:
    heading = _write(title, _WIDTH - 2 * _MARGIN, 22, _TEXT, _PAGE)
    content = stack([heading, *rows], _GAP)
    result = Image.new("RGB", (_WIDTH, content.height + 2 * _MARGIN), _PAGE)
    result.paste(content, (_MARGIN, _MARGIN))
    return result


def _card(content: Image.Image, width: int, height: int) -> Image.Image:
    """Frame content on white; `height` is that of the room for it."""
    result = Image.new("RGB", (width, height + 2 * _GAP), _CARD)
    result.paste(content, (_GAP, _GAP))
    ImageDraw.Draw(result).rectangle((0, 0, width - 1, result.height - 1), outline=_EDGE)
    return result


def _line_content(source: Source, row: int, seed: int, room: int) -> Image.Image:
    try:
        sample = source.sample(row, np.random.default_rng((seed, row)))
    except DataError as error:
        return _write(error.message, room, 15, _FAULT)
    note = f"row {row}, {sample.id}" + (f", group {sample.group}" if sample.group else "")
    text = _write(sample.text, room, 18, _TEXT) if sample.text else _write("no text", room, 18, _FAULT)
    return _column([_fit(sample.image, room), text, _write(note, room, 12, _FAINT)])


def _augmentation_bands(
    source: Source, row: int, seed: int, config: AugmentConfig, view: TrainingView | None
) -> list[Image.Image]:
    sample = source.sample(row, np.random.default_rng((seed, row)))
    line = view.clean(sample.image) if view else _plain(sample.image)
    room = _WIDTH - 2 * _MARGIN - _LABEL_WIDTH - 2 * _GAP
    text = _column([_write(sample.text, room, 18, _TEXT), _write(sample.id, room, 12, _FAINT)])
    bands = [_band("original", [f"row {row}"], [_fit(sample.image if view else line, _look_width()), text])]
    if view:
        bands.append(_band("cleaned", view.steps or ["as it is"], [_fit(line, _look_width())]))

    def looks(number: int, distort: Callable[..., NDArray[np.uint8]], setting: object) -> list[UInt8Image]:
        return [distort(line, np.random.default_rng((seed, row, number, look)), setting) for look in range(_LOOKS)]

    def band(title: str, note: str, images: Sequence[UInt8Image]) -> Image.Image:
        return _band(title, [note], [_fit(image, _look_width()) for image in images])

    for number, (name, step) in enumerate(STEPS.items()):
        share = config.share(name)
        if share or not view:
            note = f"in {100 * share:.0f} % of lines" if share else "switched off"
            bands.append(band(name, note, looks(number, step, config.strength)))
    for number in range(_TOGETHER):
        together = looks(len(STEPS) + number, augment, config)
        bands.append(band("all together", "as training sees it", together))
        if view:
            seen = [view.see(look) for look in together]
            note = f"{seen[0].shape[0]} x {seen[0].shape[1]} pixels" if len({s.shape for s in seen}) == 1 else ""
            bands.append(_band("for the network", [note], [_fit(s, _look_width(), s.shape[0]) for s in seen]))
    return bands


def _plain(image: UInt8Image) -> UInt8Image:
    line = to_grey(image)
    return scale_to_height(line, AUGMENT_HEIGHT, InkConfig().max_width) if line.shape[0] > AUGMENT_HEIGHT else line


def _rows_of_aspect(source: Source, aspect: float, count: int, seed: int) -> list[int]:
    """Of a random selection, take the lines that are nearest to an aspect ratio."""
    pool: list[int] = np.random.default_rng(seed).permutation(len(source))[: 50 * count].tolist()
    return sorted(pool, key=lambda row: abs(source.aspect(row) - aspect))[:count]


def _step_bands(source: Source, row: int, seed: int, config: PreprocessConfig) -> list[Image.Image]:
    sample = source.sample(row, np.random.default_rng((seed, row)))
    width = _step_width()
    text = [_write(sample.text, width, 18, _TEXT), _write(sample.id, width, 12, _FAINT)]
    bands = [_band("original", [f"row {row}"], [_column([_fit(sample.image, width), *text])])]

    def chain(title: str, notes: Sequence[str], steps: tuple[str, ...]) -> Image.Image:
        cleaned, _ = preprocess(sample.image, replace(config, steps=steps))
        return _band(title, notes, [_fit(cleaned, width)])

    for name in CLEANING:
        settings = asdict(getattr(config, name)) if hasattr(config, name) else {}
        bands.append(chain(name, [f"{key} {value}" for key, value in settings.items()], (name,)))
    for end in range(2, len(CLASSIC) + 1):
        bands.append(chain("classic", CLASSIC[:end], CLASSIC[:end]))
    if config.steps:
        bands.append(chain("as set", config.steps, config.steps))
    return bands


def _step_width() -> int:
    return _WIDTH - 2 * _MARGIN - 3 * _GAP - _LABEL_WIDTH


def _look_width() -> int:
    return (_WIDTH - 2 * _MARGIN - 2 * _GAP - _LABEL_WIDTH) // _LOOKS - _GAP


def _band(title: str, notes: Sequence[str], images: Sequence[Image.Image]) -> Image.Image:
    """One row of a sheet of steps: a label and images, in the middle of the height."""
    label = stack([_write(title, _LABEL_WIDTH, 18, _TEXT), *(_write(note, _LABEL_WIDTH, 13, _FAINT) for note in notes)])
    height = max(image.height for image in (label, *images))
    width = _WIDTH - 2 * _MARGIN
    content = Image.new("RGB", (width - 2 * _GAP, height), _CARD)
    content.paste(label, (0, (height - label.height) // 2))
    for column, image in enumerate(images):
        x = _LABEL_WIDTH + column * (_look_width() + _GAP) + _GAP
        content.paste(image, (x, (height - image.height) // 2))
    return _card(content, width, height)


def _column(images: Sequence[Image.Image]) -> Image.Image:
    """Put images under each other on the white of a card."""
    height = sum(image.height for image in images) + _GAP // 2 * (len(images) - 1)
    result = Image.new("RGB", (max(image.width for image in images), height), _CARD)
    y = 0
    for image in images:
        result.paste(image, (0, y))
        y += image.height + _GAP // 2
    return result


def _fit(pixels: NDArray[np.uint8], width: int, height: float = AUGMENT_HEIGHT * 1.5) -> Image.Image:
    """Reduce a line, RGB or grey, to the room there is, and outline it, as paper may be white as the card."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = min(1.0, (width - 2) / image.width, height / image.height)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return ImageOps.expand(image, 1, _EDGE)


def _write(text: str, width: int, size: int, colour: str, paper: str = _CARD) -> Image.Image:
    """Set text in as many rows as it needs."""
    font = _font(size)
    text = "".join(char if _is_drawable(char, size) else f"<{ord(char):04X}>" for char in text)
    fitting = max(1, int(len(text) * width / max(1.0, font.getlength(text))))
    rows = textwrap.wrap(text, fitting, drop_whitespace=False) or [""]
    leading = round(size * 1.35)
    result = Image.new("RGB", (width, leading * len(rows)), paper)
    draw = ImageDraw.Draw(result)
    for number, row in enumerate(rows):
        draw.text((0, number * leading), row, font=font, fill=colour)
    return result


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Find a font for Latin text.

    Pillow's own font lacks every accented letter. The fonts of matplotlib, which training needs anyway,
    are found without importing it; else one of those that come with systems is taken. With none of them, the
    sheet is still right: characters that cannot be drawn are written as code points.
    """
    bundled: list[str] = []
    with suppress(MissingExtraError):
        bundled.append(str(require_fonts() / "DejaVuSans.ttf"))
    for name in (*bundled, "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf"):
        try:
            # The other layout engine draws ligatures, which a transcription does not have.
            return ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            continue
    return ImageFont.load_default(size)  # type: ignore[return-value]  # a FreeTypeFont whenever a size is given


@cache
def _is_drawable(char: str, size: int) -> bool:
    """Whether the font has the character; one that it lacks looks like U+10FFFF, which no font has."""
    font = _font(size)
    return char.isprintable() and bytes(font.getmask(char)) != bytes(font.getmask("\U0010ffff"))
