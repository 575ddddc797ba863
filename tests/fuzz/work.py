"""What a worker process does: it makes a damaged file and opens it."""

import logging
import tempfile
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fuzz.doors import DOORS
from fuzz.mutate import mutate

from quillread.errors import QuillreadError


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged file."""

    door: str
    number: int


def content_of(job: Damaged, folder: Path) -> bytes:
    """The content of a damaged file."""
    seeds = _seeds(job.door, folder)
    return mutate(seeds[job.number // len(DOORS) % len(seeds)], job.number)


@cache
def _seeds(door: str, folder: Path) -> tuple[bytes, ...]:
    place = folder / f"{door}-seeds"
    place.mkdir(exist_ok=True)
    return tuple(DOORS[door].seeds(place))


def make_folder(root: Path) -> Path:
    """A folder for the files of a process, in the folder of all."""
    logging.disable(logging.CRITICAL)
    return Path(tempfile.mkdtemp(dir=root))


def enter(folder: Path, job: Damaged) -> tuple[str, str]:
    """Open a damaged file; "read", "refused" or "raised", and by what."""
    place = folder / job.door
    place.mkdir(exist_ok=True)
    path = place / DOORS[job.door].name
    path.write_bytes(content_of(job, folder))
    try:
        DOORS[job.door].enter(path)
    except QuillreadError as error:
        return "refused", error.message
    except Exception as error:
        return "raised", "".join(traceback.format_exception(error))
    return "read", ""
