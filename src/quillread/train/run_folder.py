"""The folder of a run: what it holds, and whether a run may go on in it."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from quillread import config as configs
from quillread.data.source import Source
from quillread.errors import ConfigError, DataError
from quillread.files import write_atomic
from quillread.train.config import TrainConfig
from quillread.train.lines import RunLines

log = logging.getLogger(__name__)

CONFIG_NAME = "train.json"
DATA_NAME = "data.json"
_STATE_NAME = "trainer_state.json"
"""Written last into a checkpoint: one without it was broken off."""

_MAY_CHANGE = ("root", "workers", "epochs", "patience", "micro_batch", "cache")
"""Settings that a resumed run may have other than the first: none changes what an epoch is made of."""


def find_checkpoint(output: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """Find the checkpoint to go on from, or make sure that a new run destroys nothing.

    Raises:
        ConfigError: If there is nothing to resume, or the folder is in use.
    """
    if resume:
        found = sorted(output.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
        for checkpoint in found:
            if (checkpoint / _STATE_NAME).is_file():
                return checkpoint
            log.warning("%s: was not written to its end; going on from the one before", checkpoint)
        raise ConfigError(f"{output}: holds no checkpoint to resume from")
    if overwrite:
        _delete_run(output)
    elif output.is_dir() and any(output.iterdir()):
        is_run = (output / CONFIG_NAME).is_file()
        raise ConfigError(
            f"{output}: holds a run already" if is_run else f"{output}: is a folder with other files in it",
            hint="add --resume to go on, --overwrite to start anew, or name another --output"
            if is_run
            else "name another --output",
        )
    return None


def _delete_run(output: Path) -> None:
    """Delete what a run has written, and nothing else.

    Raises:
        ConfigError: If the folder holds other things and no run.
    """
    if not output.exists() or not any(output.iterdir()):
        return
    if not (output / CONFIG_NAME).is_file():
        raise ConfigError(f"{output}: holds no run that could be overwritten", hint="name another --output")
    folders = [*output.glob("checkpoint-*"), *(output / name for name in ("model", "samples", "runs", "cache"))]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for name in (CONFIG_NAME, DATA_NAME, "metrics.jsonl", "curve.png"):
        (output / name).unlink(missing_ok=True)


def record_run(config: TrainConfig, lines: RunLines, output: Path) -> None:
    """Write the settings and the fingerprint of the data: `quill train --config train.json` does the run again."""
    _write_json(output / CONFIG_NAME, configs.dump(config))
    _write_json(output / DATA_NAME, _fingerprints(lines))


def check_same_settings(config: TrainConfig, output: Path) -> None:
    """Refuse to go on with other settings, which would be another run under the name of the first.

    Raises:
        ConfigError: Naming each setting that changed.
    """
    path = output / CONFIG_NAME
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the settings of the run to resume cannot be read: {error}") from error
    now = json.loads(json.dumps(configs.dump(config)))
    changed = [key for key in now if key not in _MAY_CHANGE and before.get(key, now[key]) != now[key]]
    if changed:
        listed = "; ".join(f"{key}: {before[key]} before, {now[key]} now" for key in changed)
        raise ConfigError(
            f"{output}: the run was started with other settings: {listed}",
            hint="resume with --resume --output DIR alone, or start a new run in another folder",
        )


def check_same_data(lines: RunLines, output: Path) -> None:
    """Refuse to go on with other lines: the order of the data could not be that of the run.

    Raises:
        DataError: Naming each source that changed.
    """
    try:
        before = json.loads((output / DATA_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # a run of a version that did not record its data
    except (OSError, ValueError) as error:
        raise ConfigError(f"{output / DATA_NAME}: cannot be read: {error}") from error
    now = _fingerprints(lines)
    changed = [
        f"{a['source']}: {a['lines']} lines before, {b['lines']} now, or other texts"
        for a, b in zip(before, now, strict=True)
        if a != b
    ]
    if changed:
        raise DataError(
            f"{output}: the data changed since the run was started: {'; '.join(changed)}",
            hint="bring the data back as it was, or start a new run",
        )


def _fingerprints(lines: RunLines) -> list[dict[str, Any]]:
    return [{"source": s.name, "lines": len(s), "texts": _digest(s)} for s in lines.sources]


def _digest(source: Source) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for i in range(len(source)):
        digest.update(f"{source.text(i)}\n".encode())
    return digest.hexdigest()


def _write_json(path: Path, document: Any) -> None:
    write_atomic(path, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
