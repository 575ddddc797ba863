"""What a collection can teach: its checked lines, the part that is held back, and the lines worth correcting next."""

import hashlib
import importlib.util
from collections.abc import Callable, Container, Iterable, Sequence
from collections.abc import Collection as Some
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from quillread.decode.confidence import choose_for_review
from quillread.extras import installing
from quillread.serve.archive.layouts import is_ignored
from quillread.serve.database.schema import Document, Line, LineVersion, Model, Page

FEWEST = 10
"""Checked lines below which nothing is taught: those held back would be too few to tell whether it is better."""
CURVE = ((0, 1.0), (25, 0.82), (50, 0.55), (100, 0.49), (200, 0.47), (800, 0.40))
"""Lines of one hand that the built-in model is taught, and what share of the errors remains.

Source: benchmarks/results/personal.json, one hand that the model never saw (Peraire, 257 lines reported), with the
weights of run 3 of the model card; other hands fall by other amounts."""
_SHARE = 0.2
"""Of the checked lines, held back."""
_PACKAGES = ("torch", "transformers", "accelerate", "onnx")


class Checked(NamedTuple):
    """A line that a person has taken as right."""

    id: int
    page_id: int


class Review(NamedTuple):
    """Lines to proofread, and the error rate of the lines that a machine has read, before and after."""

    line_ids: list[int]
    before: float
    after: float


def work_folder(data: Path, collection_id: int) -> Path:
    """The folder of the training of a collection, in the folder of the archive; it goes when the training is done."""
    return data / "work" / f"teach-{collection_id}"


def hint_to_teach() -> str | None:
    """How to install what teaching needs; None if it is there."""
    is_there = all(importlib.util.find_spec(name) is not None for name in _PACKAGES)
    return None if is_there else installing("train")


def checked_lines(session: Session, collection_id: int) -> list[Checked]:
    """The lines of a collection that teach: checked, with text that can be read, on a page that can be seen."""
    chosen = _lines(collection_id).where(Line.checked, func.trim(Line.text) != "", Page.view.is_not(None))
    chosen = chosen.where(~Line.text.contains("[…]"))  # see `text.marks`
    return [Checked(*row) for row in session.execute(chosen.with_only_columns(Line.id, Page.id).order_by(Line.id))]


def taught_before(session: Session, collection_id: int) -> set[int]:
    """Lines of a collection that some model of the archive was taught with: what it reads in them proves nothing.

    Models of other collections count, too: lines move, and a collection may be read with the model of another.
    """
    taught = {id for card in session.scalars(select(Model.card)) for id in card.get("_taught", ())}
    return taught.intersection(session.scalars(_lines(collection_id).with_only_columns(Line.id)))


def hold_back(lines: Sequence[Checked], taught: Some[int] = ()) -> tuple[list[Checked], list[Checked]]:
    """Split checked lines into those to teach with and a fifth to measure with, by page.

    The same lines are split alike, and when lines are added most stay where they are. Pages that no model was taught
    with are held back first, so that models taught one after the other are measured on lines that none has seen.

    Args:
        lines: At least two. If their pages cannot be shared out so that half of a fifth is measured with, single lines
            are held back: of one page, or where one has nearly all lines.
        taught: Ids of lines that models were taught with.

    Returns:
        The lines to teach with, and those held back; neither is empty.
    """
    known = set(taught)
    held = _choose_held(lines, known, lambda line: line.page_id)
    if 2 * len(held) < _SHARE * len(lines):
        held = _choose_held(lines, known, lambda line: line.id)
    return [line for line in lines if line.id not in held], [line for line in lines if line.id in held]


def _choose_held(lines: Sequence[Checked], known: Container[int], part_of: Callable[[Checked], int]) -> set[int]:
    """Ids of the lines of some parts, about a fifth of all."""
    parts: dict[int, list[int]] = {}
    for line in lines:
        parts.setdefault(part_of(line), []).append(line.id)
    order = sorted(parts, key=lambda key: (any(id in known for id in parts[key]), _draw(key)))
    chosen: list[int] = []
    count, wanted = 0, _SHARE * len(lines)
    for key in order[: len(order) - 1]:
        size = len(parts[key])
        # A part so large that it would take much more than a fifth teaches.
        if count >= wanted or (count and count + size > 2 * wanted):
            continue
        chosen.append(key)
        count += size
    if count > len(lines) / 2:  # one page with nearly all lines: it teaches, and a small one measures
        chosen = [min(order, key=lambda key: len(parts[key]))]
    return {id for key in chosen for id in parts[key]}


def choose_review(session: Session, collection_id: int, target: float) -> Review:
    """Choose the fewest lines to proofread so that the others hold at most an error rate.

    Only lines are looked at that a machine has read and nobody has checked, drafts included.

    Raises:
        ConfigError: If the target is out of range.
    """
    rate = LineVersion.reading["expected_error"].as_float()
    chosen = unchecked_lines(collection_id).with_only_columns(Line.id, func.length(Line.text), rate)
    rows = session.execute(chosen.order_by(*_ORDER)).all()
    rates = [1.0 if rate is None else rate for _, _, rate in rows]
    lengths = [max(length, 1) for _, length, _ in rows]
    places = choose_for_review(rates, lengths, target)
    rest = set(range(len(rows))) - set(places)
    return Review(
        [rows[place][0] for place in places], _mean(rates, lengths, range(len(rows))), _mean(rates, lengths, rest)
    )


def unchecked_lines(collection_id: int) -> Select[Any]:
    """Lines of a collection whose text is a machine's, or the draft of a person; joined with the last reading."""
    of_line = LineVersion.line_id == Line.id
    last = select(func.max(LineVersion.id)).where(of_line, LineVersion.kind == "machine").correlate(Line)
    current = select(LineVersion.id).where(LineVersion.id == Line.current_id, LineVersion.kind != "import")
    chosen = _lines(collection_id).join(LineVersion, LineVersion.id == last.scalar_subquery())
    return chosen.where(~Line.checked, current.correlate(Line).exists())


_ORDER = (Document.position, Document.id, Page.position, Page.id, Line.position, Line.id)


def _lines(collection_id: int) -> Select[Any]:
    joined = select(Line).join(Page, Page.id == Line.page_id).join(Document, Document.id == Page.document_id)
    there = (Document.deleted.is_(None), Page.deleted.is_(None), Line.deleted.is_(None), ~is_ignored())
    return joined.where(Document.collection_id == collection_id, *there)


def _draw(key: int) -> bytes:
    """A number that is random by its key, and always the same."""
    return hashlib.sha256(str(key).encode()).digest()


def _mean(rates: Sequence[float], lengths: Sequence[int], places: Iterable[int]) -> float:
    chosen = list(places)
    total = sum(lengths[i] for i in chosen)
    return round(sum(rates[i] * lengths[i] for i in chosen) / total, 6) if total else 0.0
