"""The ways in which files come into quillread: small whole files for each, and what opens one as a user's would be."""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from documents import export, scan
from fakes import line_image, write_folder, write_hub
from languages import write_language
from PIL import Image

from quillread.config import load
from quillread.data.page_lines import read_pages
from quillread.data.source import readable
from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.predictions import read_predictions
from quillread.language.build import read_language
from quillread.language.spelling import read_lexicon
from quillread.options import ReadOptions
from quillread.recognize.load import load as load_model
from quillread.testing import FakeReader
from quillread.train.config import TrainConfig
from quillread.types import Reading, UInt8Image

DATA = Path(__file__).parents[1] / "data"
BUILTIN = Path(load_model.__code__.co_filename).parents[1] / "models" / "assets" / "builtin"


class InternalError(Exception):
    """A fault that says that quillread is at fault."""


@dataclass(frozen=True, slots=True)
class Door:
    """One way in."""

    name: str
    """Name of the file."""
    seeds: Callable[[Path], Sequence[bytes]]
    """Makes whole files, in a folder that may be used for it."""
    enter: Callable[[Path], object]
    """Opens and uses a file; raises a QuillreadError for what it refuses."""


# --- documents --------------------------------------------------------------------------------------------------------


def _read(path: Path) -> None:
    with FakeReader(["a line"]) as reader:
        _refuse_internal(reader.read(path))


def _refuse_internal(reading: Reading) -> None:
    for fault in reading.faults:
        if fault.kind == "internal":
            raise InternalError(fault.message)


def _picture(shape: tuple[int, ...] = (60, 90, 3)) -> Image.Image:
    grey = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    return Image.fromarray(grey)


def _encoded(*forms: tuple[str, dict[str, object]]) -> list[bytes]:
    encoded = []
    for form, options in forms:
        buffer = io.BytesIO()
        _picture().convert(str(options.pop("mode", "RGB"))).save(buffer, form, **options)
        encoded.append(buffer.getvalue())
    return encoded


def _images(folder: Path) -> list[bytes]:
    plain = [(form, {}) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "JPEG2000")]
    other = [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"mode": "CMYK"}),
        ("PNG", {"mode": "1"}),
        ("PNG", {"mode": "P"}),
    ]
    return [*_encoded(*plain, *other), (DATA / "turned.heic").read_bytes()]


def _tiffs(folder: Path) -> list[bytes]:
    kinds = ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    encoded = _encoded(*(("TIFF", {"compression": kind}) for kind in kinds))
    fax, pages = io.BytesIO(), io.BytesIO()
    _picture().convert("1").save(fax, "TIFF", compression="group4")
    _picture().save(pages, "TIFF", save_all=True, append_images=[_picture((40, 30, 3))])
    return [*encoded, fax.getvalue(), pages.getvalue()]


def _pdfs(folder: Path) -> list[bytes]:
    drawn = io.BytesIO()
    _picture().save(drawn, "PDF", save_all=True, append_images=[_picture((40, 30, 3))])
    return [drawn.getvalue(), export("pdf", scan()), (DATA / "encrypted.pdf").read_bytes()]


def _manifests(folder: Path) -> list[bytes]:
    image = {"id": "https://127.0.0.1:9/i/full/max/0/default.jpg", "type": "Image", "width": 90, "height": 60}
    body = {"type": "Annotation", "motivation": "painting", "body": image, "target": "https://a.example/canvas/1"}
    canvas = {"id": "https://a.example/canvas/1", "type": "Canvas", "width": 90, "height": 60, "label": {"en": ["1r"]},
              "items": [{"type": "AnnotationPage", "items": [body]}]}  # fmt: skip
    third = {"@context": "http://iiif.io/api/presentation/3/context.json", "id": "https://a.example/m",
             "type": "Manifest", "label": {"en": ["Letters"]}, "items": [canvas, canvas]}  # fmt: skip
    resource = {"@id": image["id"], "service": {"@id": "https://127.0.0.1:9/i", "profile": "level1.json"}}
    old = {"@id": "https://a.example/c", "width": 90, "height": 60, "images": [{"resource": resource}]}
    second = {"@context": "http://iiif.io/api/presentation/2/context.json", "@id": "https://a.example/m",
              "@type": "sc:Manifest", "sequences": [{"canvases": [old]}]}  # fmt: skip
    return [json.dumps(manifest, indent=1).encode() for manifest in (third, second)]


# --- lines on pages ---------------------------------------------------------------------------------------------------


def _layouts(folder: Path) -> list[bytes]:
    return [export("page", scan()), export("alto", scan())]


def _segment(path: Path) -> None:
    with FakeReader(["a line"], segmentation=path) as reader:
        _refuse_internal(reader.read(np.full((1400, 1000, 3), 230, np.uint8), name="a&b.pdf"))


def _page_data(path: Path) -> None:
    folder = path.parent / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder / "a.xml")
    Image.new("RGB", (1000, 1400), "white").save(folder / "a.png")
    read_pages(folder)


# --- data sets --------------------------------------------------------------------------------------------------------


def _tables(folder: Path) -> list[bytes]:
    write_folder(folder, ["one", "two"])
    rows = [("line-00.png", "one", "w1"), ("line-01.png", 'two, "so" called', "w2")]
    csv = "image,text,group\n" + "".join(
        f'{image},"{text.replace(chr(34), chr(34) * 2)}",{group}\n' for image, text, group in rows
    )
    return [csv.encode(), csv.replace(",", ";").encode("utf-16"), csv.replace(",", "\t").encode("latin-1")]


def _json_lines(folder: Path) -> list[bytes]:
    rows = [{"image": f"line-0{i}.png", "text": text, "group": "w"} for i, text in enumerate(("one", "two"))]
    return ["".join(json.dumps(row) + "\n" for row in rows).encode()]


def _tables_of_parquet(folder: Path) -> list[bytes]:
    write_hub(folder / "hub", {"train": ["one", "two", None]})
    return [next((folder / "hub" / "data").glob("*.parquet")).read_bytes()]


def _use_table(kind: str, path: Path) -> None:
    write_folder(path.parent, ["one", "two"])
    for image in path.parent.glob("line-*.txt"):
        image.unlink()
    _use_lines(f"{kind}:{path}")


def _use_parquet(path: Path) -> None:
    folder = path.parent / "hub-of-one"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / "data" / "train-00000-of-00001.parquet")
    _use_lines(f"hub:{folder}")


def _use_lines(spec: str) -> None:
    source = open_source(parse_spec(spec), "train")
    for index in range(min(len(source), 5)):
        source.text(index), source.group(index), source.aspect(index)
    list(readable(source, range(min(len(source), 5))))


# --- settings, models, languages --------------------------------------------------------------------------------------


def _settings(folder: Path) -> list[bytes]:
    reading = (
        "models: [builtin]\nlm: [fr]\nread:\n  pdf_dpi: 300\n  max_pixels: 90000000\ncrop: {margin: 0.1}\npages: 2-5\n"
    )
    training = "data: ['folder:lines@0.5']\nfamily: compact\nminutes: 5\nschedule: {learning_rate: 1e-4, warmup: 0.1}\n"
    return [reading.encode(), training.encode()]


def _configure(path: Path) -> None:
    load(TrainConfig if b"data" in path.read_bytes() else ReadOptions, path)


def _infos(folder: Path) -> list[bytes]:
    return [(BUILTIN / "quillread.json").read_bytes()]


def _networks(folder: Path) -> list[bytes]:
    return [(BUILTIN / "model.onnx").read_bytes()]


def _use_model(name: str, path: Path) -> None:
    folder = path.parent / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUILTIN, folder)
    shutil.copy(path, folder / name)
    load_model(str(folder), threads=1).read([_line()])


def _line() -> UInt8Image:
    return line_image("a line")


def _languages(folder: Path) -> list[bytes]:
    return [write_language(folder / "small.lm").read_bytes()]


def _use_language(path: Path) -> None:
    model = read_language(path)
    model.facts, len(model.words.words)


def _lexicons(folder: Path) -> list[bytes]:
    return ["Müller\nSaint-Jean 12\n# names\nO'Brien\n".encode(), "Müller\n".encode("utf-16")]


def _predictions(folder: Path) -> list[bytes]:
    row = {"id": "a", "group": "w", "reference": "one", "text": "ono", "confidence": 0.5}
    return ["".join(json.dumps(row | {"id": str(i)}) + "\n" for i in range(3)).encode()]


DOORS = {
    "image": Door("scan.png", _images, _read),
    "tiff": Door("scan.tif", _tiffs, _read),
    "pdf": Door("scan.pdf", _pdfs, _read),
    "iiif": Door("manifest.json", _manifests, _read),
    "segmentation": Door("page.xml", _layouts, _segment),
    "page-data": Door("page.xml", _layouts, _page_data),
    "csv": Door("lines.csv", _tables, partial(_use_table, "csv")),
    "jsonl": Door("lines.jsonl", _json_lines, partial(_use_table, "jsonl")),
    "parquet": Door("lines.parquet", _tables_of_parquet, _use_parquet),
    "settings": Door("settings.yaml", _settings, _configure),
    "model-facts": Door("quillread.json", _infos, partial(_use_model, "quillread.json")),
    "network": Door("model.onnx", _networks, partial(_use_model, "model.onnx")),
    "language": Door("small.lm", _languages, _use_language),
    "lexicon": Door("names.txt", _lexicons, lambda path: read_lexicon([path])),
    "predictions": Door("predictions.jsonl", _predictions, read_predictions),
}
