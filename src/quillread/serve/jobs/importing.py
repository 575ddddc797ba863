"""The task of an import: uploaded files, or an address, become documents and pages.

It may be cut off anywhere and run again: documents and pages have an origin, which is made once. Files are opened by a
process of its own (`jobs.rendering`), and each page is committed by itself.
"""

import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import select

from quillread.errors import DataError, Fault, InputError, QuillreadError
from quillread.formats.ground_truth import by_number
from quillread.images.document import ReadConfig
from quillread.serve.access.accounts import has_accounts
from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import NewFile, drop_blobs, media_type_of, store, sweep
from quillread.serve.archive.home import Archive
from quillread.serve.archive.importing import NewPage, add_page, begin_document, find_origins, find_unread
from quillread.serve.archive.settings import read_options
from quillread.serve.archive.unpacking import cut_name, unpack_zip
from quillread.serve.database.schema import Collection, Task
from quillread.serve.faults import BusyError
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.queue import enqueue_reading
from quillread.serve.jobs.rendering import RenderedPage, RenderProcess, render_processes
from quillread.serve.storage import Stored

log = logging.getLogger(__name__)

_MOST_TOLD = 100
"""Faults that the result tells; the pages have theirs besides."""
_OTHER = "application/octet-stream"
_READ_AFTER = 50
"""Pages after which those that are there are read, while the import goes on."""
_MANIFEST = re.compile(r"manifest(\.json)?|iiif|presentation|v?[0-9]+|", re.IGNORECASE)
"""Parts of addresses that name nothing."""


@dataclass(frozen=True, slots=True)
class _Input:
    """A file or address with pages."""

    name: str
    place: Path | str
    stored: Stored | None = None
    """In the storage, if it was uploaded by itself."""
    layouts: Mapping[int, Path] = field(default_factory=dict)
    """PAGE and ALTO files about its pages, by their indices."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A document that is to be, or pages for one that is there."""

    name: str
    inputs: list[_Input]


@dataclass
class _Import:
    """An import while it runs."""

    archive: Archive
    claim: Claim
    told: Callable[[Mapping[str, Any]], None]
    cancelled: Callable[[], bool]
    renderer: RenderProcess
    config: ReadConfig
    key: str
    origins: set[str]
    faults: list[Fault] = field(default_factory=list)
    document_ids: list[int] = field(default_factory=list)
    pages: int = 0
    total: int = 0

    @property
    def actor(self) -> Actor:
        """Who has begun it."""
        return Actor(self.claim.user_name, user_id=self.claim.user_id)


def run_import(
    archive: Archive,
    claim: Claim,
    told: Callable[[Mapping[str, Any]], None],
    cancelled: Callable[[], bool],
) -> Mapping[str, Any] | None:
    """Import what a task names; see `threads.Run`.

    Its payload has `key`, unique to it; `files`, each with `name`, `blob` and `size`, or `address`; `read`, whether
    the pages are to be read; `document_id`, if they are to go into a document that is there; and at the end `result`.

    Returns:
        `document_ids`, `pages`, and `faults` of what could not be imported.
    """
    payload = claim.payload
    if payload.get("result") is not None:
        return dict(payload["result"])
    memory = archive.config.limits.worker_memory
    renderer = render_processes.take(memory)
    try:
        with tempfile.TemporaryDirectory(dir=archive.config.data / "uploads", prefix=".import-") as folder:
            config, origins = _prepare(archive, claim)
            running = _Import(archive, claim, told, cancelled, renderer, config, payload["key"], origins)
            done = _run(running, Path(folder))
    finally:
        render_processes.give_back(memory, renderer)
    return _end(running) if done else None


def _prepare(archive: Archive, claim: Claim) -> tuple[ReadConfig, set[str]]:
    """How files are read: as the collection says, since coordinates hang on it."""
    with archive.database.read() as session:
        collection = session.get(Collection, claim.collection_id) if claim.collection_id else None
        if collection is None:
            raise InputError("the collection was deleted", hint="import it into another")
        options = read_options(collection.settings.get("options", {}))
        web = archive.config.web
        if archive.config.needs_accounts or has_accounts(session):  # an editor is not to look around in our network
            web = replace(web, private=False)
        origins = find_origins(session, claim.payload["key"], claim.payload.get("document_id"))
        return replace(options.read, web=web), origins


def _run(running: _Import, folder: Path) -> bool:
    """Import all documents; tell whether that came to its end."""
    plans = list(_plan(running, folder))
    running.total = sum(len(plan.inputs) for plan in plans)
    number = 0
    for plan_number, plan in enumerate(plans):
        document_id = running.claim.payload.get("document_id")
        for input in plan.inputs:
            if document_id is None:
                document_id = _begin(running, plan, plan_number, input)
            if document_id not in running.document_ids:
                running.document_ids.append(document_id)
            if running.cancelled() or not _import_pages(running, document_id, number, input):
                return False
            number += 1
    return _let_read(running)


def _begin(running: _Import, plan: _Plan, number: int, first: _Input) -> int:
    name = plan.name or first.name
    if isinstance(first.place, str):  # an address that does not answer makes no document
        opened = running.renderer.open(first.place, first.name, running.config)
        name = opened.title or _name_of_address(first.place)
    collection_id = running.claim.collection_id
    assert collection_id is not None
    made = begin_document(running.archive, running.actor, collection_id, name, f"{running.key}/{number}")
    if made is None:
        raise InputError("the collection was deleted", hint="import it into another")
    return made


def _import_pages(running: _Import, document_id: int, number: int, input: _Input) -> bool:
    """Import the pages of a file; tell whether the import is to go on."""
    limits, first = running.archive.config.limits, f"{running.key}/{number}/0"
    try:
        count = running.renderer.open(input.place, input.name, running.config).page_count
        if count > limits.pages:
            message = f"{input.name}: has {count:,} pages, more than the limit of {limits.pages:,}"
            raise InputError(message, hint="cut it into several")
    except QuillreadError as error:
        if isinstance(input.place, str):
            raise
        _note(running, error.fault)
        new = NewPage(first, input.name, source=_original(running, input, None), fault=error.fault)
        add_page(running.archive, document_id, new, running.claim.user_id)
        return True
    running.total += count - 1
    for index in range(count):
        origin = f"{running.key}/{number}/{index}"
        running.pages += 1
        if origin in running.origins:
            continue
        if running.cancelled():
            return False
        add_page(running.archive, document_id, _render(running, input, origin, index), running.claim.user_id)
        running.told({"done": running.pages, "total": running.total})
        if running.pages % _READ_AFTER == 0:
            _let_read(running)
    return True


def _render(running: _Import, input: _Input, origin: str, index: int) -> NewPage:
    xml = input.layouts.get(index)
    rendered = running.renderer.page(input.place, input.name, running.config, index, xml)
    if xml is not None:
        rendered = _bounded(running, rendered, xml)
    file = rendered.original
    source = _original(running, input, file.content if file else None)
    new = NewPage(origin, input.name, file.index if file else index, rendered.label, source=source)
    if rendered.fault is not None or rendered.view is None:
        _note(running, rendered.fault)
        return replace(new, fault=rendered.fault)
    view, archive = rendered.view, running.archive
    notes: tuple[str, ...] = ()
    if rendered.layout_fault is not None:
        _note(running, rendered.layout_fault)
        notes = (f"without its lines: {rendered.layout_fault.message}",)
    return replace(
        new,
        size=(view.width, view.height),
        view=new.source if rendered.is_original else store(archive, view.jpeg, "image/jpeg"),
        thumbnail=store(archive, view.thumbnail, "image/jpeg"),
        notes=notes,
        layout=rendered.layout,
        author=xml.name if xml else "",
    )


def _bounded(running: _Import, rendered: RenderedPage, xml: Path) -> RenderedPage:
    """Without a layout that has more text in a line, or more lines, than the archive takes."""
    limits, layout = running.archive.config.limits, rendered.layout
    if layout is None:
        return rendered
    longest = max((len(line.transcript.text) for line in layout.lines if line.transcript), default=0)
    found = None
    if longest > limits.text_characters:
        found = f"a line has {longest:,} characters, more than the limit of {limits.text_characters:,}"
    elif len(layout.lines) > limits.page_lines:
        found = f"{len(layout.lines):,} lines, more than the limit of {limits.page_lines:,}"
    if found is None:
        return rendered
    fault = DataError(f"{xml.name}: {found}").fault
    return replace(rendered, layout=None, layout_fault=fault)


def _original(running: _Import, input: _Input, fetched: bytes | None) -> NewFile | None:
    """The file that a page comes from, in the storage."""
    if isinstance(input.place, str):
        return None if fetched is None else store(running.archive, fetched, media_type_of(fetched[:1024]) or _OTHER)
    with input.place.open("rb") as file:
        media_type = media_type_of(file.read(1024)) or _OTHER
    if input.stored is not None:
        return NewFile(input.stored, media_type, input.place)
    return store(running.archive, input.place, media_type)


def _note(running: _Import, fault: Fault | None) -> None:
    if fault is not None and len(running.faults) < _MOST_TOLD:
        running.faults.append(fault)


def _let_read(running: _Import) -> bool:
    """Let the pages be read that are there and that nobody reads yet; tell whether that came to its end."""
    while running.claim.payload.get("read", True):
        try:
            with running.archive.database.write() as session:
                for pages in find_unread(session, running.key):
                    # Imports that wait do so for this one: it would never end if it waited for them.
                    enqueue_reading(session, running.actor, pages, uncounted="import")
            break
        except BusyError as error:  # too many jobs wait: some will end
            for _ in range(error.retry_after * 4):
                if running.cancelled():
                    return False
                time.sleep(0.25)
    return True


def _end(running: _Import) -> Mapping[str, Any]:
    """Note the result with the task, and drop files that are needed no more: zips, XML, those of cancelled imports."""
    faults = [{"kind": fault.kind, "message": fault.message, "hint": fault.hint} for fault in running.faults]
    result = {"document_ids": running.document_ids, "pages": running.pages, "faults": faults}
    with running.archive.database.write() as session:
        task = session.get(Task, running.claim.id)
        if task is None:
            return result
        cancelled = select(Task).where(Task.kind == "import", Task.state == "cancelled")
        blobs = set()
        for each in (task, *session.scalars(cancelled)):
            blobs |= {file["blob"] for file in each.payload.get("files", ())}
            each.payload = {**each.payload, "files": []}
        task.payload = {**task.payload, "result": result}
        gone = drop_blobs(session, blobs)
    sweep(running.archive, gone)
    return result


def _plan(running: _Import, folder: Path) -> Iterator[_Plan]:
    """Lay out the documents that files become; zips are unpacked into a folder.

    Each uploaded file is a document; of a zip each folder with images is one, and each PDF.
    """
    payload, archive = running.claim.payload, running.archive
    if address := payload.get("address"):
        yield _Plan("", [_Input(address, address)])
        return
    loose: list[_Input] = []
    has_xml = any(file["type"] == "application/xml" for file in payload["files"])
    beside = folder / "loose"
    beside.mkdir()
    for number, file in enumerate(payload["files"]):
        path = archive.storage.path(file["blob"])
        if file["type"] == "application/zip":
            yield from _plan_zip(running, path, folder / f"zip-{number}", file["name"])
            continue
        if has_xml:
            path = _link(path, beside, file["name"])
        if file["type"] == "application/xml":
            _check_suffix(running, file["name"])
        else:
            loose.append(_Input(file["name"], path, Stored(file["blob"], file["size"])))
    if has_xml:
        loose = _paired(running, beside, loose)
    for input in loose:
        yield _Plan(PurePosixPath(input.name).stem or input.name, [input])


def _check_suffix(running: _Import, name: str) -> None:
    """Tell of XML that is not looked for by its name; nothing would be said of it else."""
    if PurePosixPath(name).suffix.lower() != ".xml":
        hint = "PAGE and ALTO files are named as their images, with .xml"
        _note(running, DataError(f"{name}: is XML, and not named .xml", hint=hint).fault)


def _plan_zip(running: _Import, path: Path, folder: Path, name: str) -> Iterator[_Plan]:
    folder.mkdir()
    files = unpack_zip(path, folder, running.archive.config.limits)
    images = sorted((file for file in files if file.suffix.lower() != ".xml"), key=by_number)
    if not images:
        raise InputError(f"{name}: holds no image or PDF", hint="zip the images with their PAGE or ALTO files")
    inputs = [_Input(str(image.relative_to(folder)), image) for image in images]
    by_folder: dict[str, list[_Input]] = {}
    own = PurePosixPath(name).stem or name
    for input in _paired(running, folder, inputs):
        place = PurePosixPath(input.name)
        is_book = place.suffix.lower() == ".pdf"
        by_folder.setdefault(input.name if is_book else str(place.parent), []).append(input)
    for key, some in by_folder.items():
        title = PurePosixPath(key).stem if some[0].name == key else PurePosixPath(key).name
        yield _Plan(title or own, some)


def _paired(running: _Import, folder: Path, inputs: list[_Input]) -> list[_Input]:
    """The same with the PAGE or ALTO files about them."""
    layouts, faults = running.renderer.pair(folder)
    for fault in faults:
        _note(running, fault)
    by_image: dict[Path, dict[int, Path]] = {}
    for (image, number), xml in layouts.items():
        by_image.setdefault(image, {})[number - 1] = xml
    return [replace(input, layouts=by_image.get(Path(input.place), {})) for input in inputs]


def _link(path: Path, folder: Path, name: str) -> Path:
    """Let a file be found under the name that it was uploaded with; of several of a name, the first."""
    plain = cut_name(PurePosixPath(name.replace("\\", "/")).name.replace("\x00", "")) or "file"
    place = folder / plain
    if place.exists() or plain in (".", ".."):
        return path
    place.symlink_to(path.absolute())
    return place


def _name_of_address(address: str) -> str:
    parts = urlsplit(address)
    names = [unquote(part) for part in parts.path.split("/")]
    named = [name for name in names if not _MANIFEST.fullmatch(name)]
    return PurePosixPath(named[-1]).stem if named else parts.netloc
