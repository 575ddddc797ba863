"""Stand-ins and tiny data sets for the tests, made on the fly."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quillread.decode.ctc import LogProbs
from quillread.images.preprocess import InkConfig
from quillread.models.checkpoint import ModelInfo
from quillread.recognize.recognizer import LineRecognizer

BAR_CHARSET = "abcde "
_BAR_HEIGHT, _BAR_WIDTH, _BAR_STEP = 48, 4, 4


def draw_bars(marks: Mapping[int, str], columns: int, scale: int = 1) -> NDArray[np.uint8]:
    """Draw a line image that `BarBackend` reads: class k of the charset is a bar 4 k rows high.

    Args:
        marks: Character by output column.
        columns: Width of the line in output columns.
        scale: Size of the image over that of the model's pixels.
    """
    grey = np.full((_BAR_HEIGHT, columns * _BAR_WIDTH), 255, np.uint8)
    for column, character in marks.items():
        height = _BAR_STEP * (BAR_CHARSET.index(character) + 1)
        grey[:height, column * _BAR_WIDTH : (column + 1) * _BAR_WIDTH] = 0
    large = grey.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.repeat(large[..., None], 3, axis=2)


class BarBackend:
    """A `CtcBackend` that reads what `draw_bars` drew, each column by itself."""

    def __init__(self, certainty: float = 0.9) -> None:
        self.certainty = certainty
        self.shapes: list[tuple[int, ...]] = []
        """Shapes of the batches seen."""

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        self.shapes.append(pixels.shape)
        lines, _, _, width = pixels.shape
        heights = (pixels[:, 0] > 0.5).sum(axis=1).reshape(lines, width // _BAR_WIDTH, _BAR_WIDTH).mean(axis=2)
        classes = np.round(heights / _BAR_STEP).astype(int)
        count = len(BAR_CHARSET) + 1
        probs = np.full((*classes.shape, count), (1 - self.certainty) / (count - 1), np.float32)
        np.put_along_axis(probs, classes[..., None], self.certainty, axis=2)
        return np.log(probs)


def bar_info(**changes: object) -> ModelInfo:
    """The model folder's facts that go with `BarBackend`."""
    values = {
        "family": "compact",
        "name": "bars",
        "charset": BAR_CHARSET,
        "ink": InkConfig(height=_BAR_HEIGHT),
    }
    return ModelInfo(**{**values, **changes})  # type: ignore[arg-type]


def line_image(text: str, height: int = 40) -> NDArray[np.uint8]:
    """Draw printed text as an RGB line image."""
    font = ImageFont.load_default(height * 0.6)
    image = Image.new("RGB", (int(font.getlength(text)) + height, height), "white")
    ImageDraw.Draw(image).text((height / 2, height * 0.1), text, "black", font)
    return np.array(image)


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(folder: Path, texts: Sequence[str]) -> Path:
    """Write line images with a `.txt` file beside each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        (folder / f"line-{i:02}.png").write_bytes(png(line_image(text or "blank")))
        (folder / f"line-{i:02}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


def write_hub(folder: Path, splits: Mapping[str, Sequence[str | None]], text_column: str = "text") -> Path:
    """Write a data set as the hub stores it: parquet files with the images as structs of bytes."""
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        images = [{"bytes": png(line_image(text or "blank")), "path": f"{i}.png"} for i, text in enumerate(texts)]
        table = pyarrow.table({"image": images, text_column: list(texts)})
        pyarrow.parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def write_strokes(path: Path, texts: Sequence[str]) -> Path:
    """Write a file of pen strokes: a zigzag of one stroke for each character."""
    delta, starts, offsets = [], [], [0]
    for text in texts:
        for i, character in enumerate(text):
            heights = [0, ord(character) % 40 + 20, 30, 5]
            points = np.array([[30 * i + 6 * k, y] for k, y in enumerate(heights)])
            delta.append(points if i == 0 else np.diff(points, axis=0, prepend=[[30 * i - 12, 5]]))
            starts += [True, False, False, False]
        offsets.append(len(starts))
    steps = np.concatenate(delta).astype(np.int16)
    np.savez(
        path,
        delta=steps,
        stroke_start=np.array(starts),
        line_offset=np.array(offsets, np.int64),
        text=np.array(texts),
        id=np.array([f"line-{i}" for i in range(len(texts))]),
    )
    return path


def write_font(path: Path, characters: str, empty: str = "") -> Path:
    """Write a TrueType font of plain rectangles.

    Args:
        path: Its file.
        characters: Characters with a glyph; the space has no outline.
        empty: Of them, those whose glyph has no outline either.
    """
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    names = {ord(c): f"uni{ord(c):04X}" for c in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    glyphs = {}
    for name, code in ((".notdef", 0), *((n, c) for c, n in names.items())):
        pen = TTGlyphPen(None)
        if code != 32 and chr(code) not in empty:
            corners = ((50, 0), (50, 300 + code % 400), (400, 700), (400, 0))
            pen.moveTo(corners[0])
            for corner in corners[1:]:
                pen.lineTo(corner)
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (450, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def bar_line(text: str, scale: int = 1) -> NDArray[np.uint8]:
    """Draw a line image in which `BarBackend` reads `text`."""
    return draw_bars({2 * i + 1: character for i, character in enumerate(text)}, 2 * len(text) + 2, scale)


def bar_recognizer(name: str = "builtin", *, threads: int = 0) -> LineRecognizer:
    """Stand in for `quillread.recognize.load.load`: a recogniser of what `bar_line` drew, whatever its name."""
    return LineRecognizer(BarBackend(), bar_info())
