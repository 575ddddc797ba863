"""Collections with checked lines, and a tiny model to teach, for the tests of teaching."""

import io
from pathlib import Path

import numpy as np
import torch
from fakes import line_image
from PIL import Image
from sqlalchemy.orm import Session

from quillread.config import dump
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import CompactConfig, write_onnx
from quillread.models.model_folder import ONNX_NAME, ModelInfo, write_info
from quillread.serve.access.actor import OWNER
from quillread.serve.archive.home import Archive
from quillread.serve.archive.models import store_model
from quillread.serve.database.schema import Blob, Collection, Document, Line, LineVersion, Model, Page

TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
CHARSET = "abcdefi "
_NETWORK = CompactConfig(
    channels=(8, 8, 8, 8), blocks=(1, 1, 1, 1), sequence_width=16, sequence_blocks=1, sequence_kernel=3
)


def add_lesson(archive: Archive, pages: int = 4, lines: int = 4, *, checked: bool = True, drawn: bool = False) -> int:
    """Add a collection whose pages show lines of printed text, each taken as right."""
    made = [_page_image([TEXTS[(page + i) % len(TEXTS)] for i in range(lines)]) for page in range(pages)]
    files = [archive.storage.add(jpeg) for jpeg, _ in made]
    with archive.database.write() as session:
        collection = Collection(name="Letters", settings={"options": {"lm": ["none"]}})
        session.add(collection)
        session.flush()
        document = Document(collection_id=collection.id, name="Letter")
        session.add(document)
        session.flush()
        for stored in set(files):
            session.add(Blob(sha256=stored.sha256, size=stored.size, media_type="image/jpeg"))
        session.flush()
        for page, (stored, (_, places)) in enumerate(zip(files, made, strict=True)):
            row = Page(document_id=document.id, position=page, view=stored.sha256, width=400, height=60 * lines)
            row.drawn = drawn
            session.add(row)
            session.flush()
            for position, (text, top, width) in enumerate(places):
                _add_line(session, row, position, text, top, width, checked=checked)
        return collection.id


def add_tiny_model(archive: Archive, folder: Path, collection_id: int) -> None:
    """Let a collection be read with a tiny network that has learnt nothing."""
    torch.manual_seed(1)
    network = CompactNetwork(_NETWORK, len(CHARSET) + 1).eval()
    folder.mkdir()
    write_onnx({name: value.numpy() for name, value in network.state_dict().items()}, _NETWORK, folder / ONNX_NAME)
    training = {"training": {"network": dump(_NETWORK)}}
    write_info(ModelInfo(family="compact", name="tiny", charset=CHARSET, provenance=training), folder)
    store_model(archive, OWNER, folder, Model(name="tiny", family="compact"))
    with archive.database.write() as session:
        collection = session.get_one(Collection, collection_id)
        collection.settings = {"options": {"lm": ["none"], "models": ["archive:tiny"]}}


def _page_image(texts: list[str]) -> tuple[bytes, list[tuple[str, int, int]]]:
    """A JPEG with lines below each other, and where they are: text, top, width."""
    page, places = np.full((60 * len(texts), 400, 3), 255, np.uint8), []
    for i, text in enumerate(texts):
        line = line_image(text)
        page[60 * i + 10 : 60 * i + 50, 20 : 20 + line.shape[1]] = line
        places.append((text, 60 * i + 10, line.shape[1]))
    file = io.BytesIO()
    Image.fromarray(page).save(file, "JPEG", quality=95)
    return file.getvalue(), places


def _add_line(session: Session, page: Page, position: int, text: str, top: int, width: int, *, checked: bool) -> None:
    x0, x1, base = 20.0, 20.0 + width, top + 30.0
    polygon = [[x0, float(top)], [x1, float(top)], [x1, top + 40.0], [x0, top + 40.0]]
    line = Line(page_id=page.id, position=position, baseline=[[x0, base], [x1, base]], polygon=polygon)
    line.text, line.checked, line.confidence = text, checked, 1.0
    session.add(line)
    session.flush()
    version = LineVersion(line_id=line.id, number=1, kind="person", text=text)
    session.add(version)
    session.flush()
    line.current_id = version.id
