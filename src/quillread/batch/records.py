"""The lines of a log: what a folder that was written into holds, and from which inputs."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from quillread.files import open_own, real_path

LOG_NAME = ".quillread-log.jsonl"
"""In a folder that is written into; JSON objects: one for each input that was read, of which the last one counts, and
before it one for each of its files."""
_KINDS = {"stem": str, "source": str, "files": dict, "formats": list, "pages": int, "last": int}
"""Of what a line of the log says."""


def written_files(folder: Path) -> set[Path]:
    """Real paths of the files that the log of a folder knows."""
    names = (name for record in read_records(folder / LOG_NAME).values() for name in record.get("files", ()))
    root = real_path(folder)
    return {Path(os.path.normpath(root / name)) for name in names}


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """Read a log; lines that are cut off or of another form count for nothing, so that their inputs are read again."""
    records: dict[str, dict[str, Any]] = {}
    try:
        with open_own(path, "rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            take_line(records, json.loads(line))
    return records


def take_line(records: dict[str, dict[str, Any]], line: dict[str, Any]) -> None:
    """Take a line of the log: a record that replaces the one before, or a file, with which a new reading begins."""
    stem, before = line["stem"], records.get(line["stem"], {})
    facts: dict[str, Any] = {"files": {}, "formats": [], "pages": 0, "last": 0} | line
    if not all(isinstance(facts[name], kind) for name, kind in _KINDS.items()):
        return
    if not all(isinstance(digests, list) for digests in facts["files"].values()):
        return
    if "digest" not in line:
        records[stem] = line
        return
    name, files = str(line["name"]), before.get("files", {})
    # What stood there before may still stand there, if the program ended just now.
    digests = [*files.get(name, ()), str(line["digest"])]
    others = files if before.get("place") == line["place"] else {}
    head = {key: line[key] for key in ("stem", "source", "place")}
    records[stem] = {**head, "files": {**others, name: digests}}
