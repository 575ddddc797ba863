"""Checkpoints of a run: how they are kept whole, and which one a run goes on from."""

import errno
import json
import logging
import os
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from quillread.errors import ConfigError, ModelError
from quillread.files import write_json
from quillread.models.catalog import file_digest
from quillread.train.config import TrainConfig

log = logging.getLogger(__name__)

SEAL_NAME = "files.json"
"""Written last into a checkpoint: SHA-256 of each of its files."""
STATE_NAME = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_LOADED = {".safetensors", ".pt", ".pth", ".bin"}
"""Endings of files that are looked for in a checkpoint: one that the seal does not name is not of this run."""
_ARCHIVES = ("optimizer.pt", "scheduler.pt")
"""Files of torch that each checkpoint has, beside those of its random numbers and of the loss scale. They are zip
archives, whose end is lost first when they are cut."""
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
"""What file systems of networks and of user space say that cannot bring a folder to the disk."""


def checkpoint_folder(output: Path, step: int) -> Path:
    """The folder of the checkpoint that a run made after a step."""
    return output / f"checkpoint-{step}"


def all_checkpoints(output: Path) -> list[Path]:
    """The folders of all checkpoints, whole or not, the first one first."""
    found = {int(m[1]): p for p in output.glob("checkpoint-*") if (m := _NAME.fullmatch(p.name)) and p.is_dir()}
    return [found[number] for number in sorted(found)]


def seal_checkpoint(folder: Path) -> None:
    """Bring the files of a checkpoint to the disk, then write their checksums, which make it one to go on from.

    Raises:
        OSError: If a file cannot be brought to the disk.
        OutputError: If the checksums cannot be written.
    """
    digests = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != SEAL_NAME):
        _sync(path)
        digests[path.name] = file_digest(path)
    write_json(folder / SEAL_NAME, digests)
    for path in (folder / SEAL_NAME, folder, folder.parent):
        _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return  # Windows does not open folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def drop_old(output: Path, keep: int, best: Path | None, last: Path) -> None:
    """Delete checkpoints until `keep` are left: those that cannot be gone on from, then the first ones.

    Args:
        output: Folder of the run.
        keep: How many are left.
        best: The best one, which stays; None if there is none.
        last: The one that was just written, which stays. Those of later steps are damaged: the run was resumed from one
            before them.
    """
    found = all_checkpoints(output)
    wanted = {last.name, best.name if best else last.name}
    later = {path.name for path in found[found.index(last) + 1 :]}
    spare = [path for path in found if path.name not in wanted]
    spare.sort(key=lambda path: path.name not in later and (path / SEAL_NAME).exists())
    for path in spare[: max(len(found) - keep, 0)]:
        shutil.rmtree(path, ignore_errors=True)


def clear_unfinished(output: Path) -> None:
    """Delete what a process that was killed was writing: parts of checkpoints and of the model, gigabytes at times."""
    for name in ("checkpoint-*", "model"):
        for part in output.glob(f".{name}.*.part"):
            shutil.rmtree(part, ignore_errors=True)


def find_fault(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be gone on from, in a few words; None if it is whole."""
    try:
        digests = json.loads((checkpoint / SEAL_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None if _looks_whole(checkpoint) else "was not written to its end"
    except (OSError, ValueError):
        digests = None
    if not isinstance(digests, dict):
        return f"its {SEAL_NAME} is damaged"
    for name, digest in digests.items():
        try:
            if file_digest(checkpoint / Path(name).name) != digest:
                return f"its {name} is damaged, or was put there by others"
        except ModelError:
            return f"lacks {name}"
    strange = [path.name for path in checkpoint.iterdir() if path.suffix in _LOADED and path.name not in digests]
    return f"holds {min(strange)}, which is not of its run" if strange else None


def _looks_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint without checksums, as version 0.1.0 wrote them, looks whole."""
    try:
        json.loads((checkpoint / STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    archives = {*(checkpoint / name for name in _ARCHIVES), *checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")}
    return all(map(zipfile.is_zipfile, archives)) and all(map(_is_whole_tensors, checkpoint.glob("*.safetensors")))


def _is_whole_tensors(path: Path) -> bool:
    """Whether a file of safetensors is as long as its head says."""
    try:
        with safe_open(path, "numpy"):
            return True
    except (OSError, SafetensorError):
        return False


def find_checkpoint(output: Path) -> Path | None:
    """Find the last checkpoint that is whole.

    Returns:
        None if the run was ended before its first one was written.

    Raises:
        ConfigError: If all are damaged.
    """
    damaged = []
    for checkpoint in reversed(all_checkpoints(output)):
        fault = find_fault(checkpoint)
        if fault is None:
            return checkpoint
        log.warning("%s: %s; the checkpoint is skipped", checkpoint, fault)
        # The state is written last but for the checksums, which version 0.1.0 did not write.
        if (checkpoint / SEAL_NAME).exists() or (checkpoint / STATE_NAME).exists():
            damaged.append(checkpoint)
    if damaged:
        raise ConfigError(
            f"{output}: all its checkpoints are damaged",
            hint="bring one back from a copy, or start anew with --overwrite",
        )
    return None


def whole_checkpoints(output: Path) -> list[Path]:
    """All checkpoints that are whole, the first one first."""
    return [checkpoint for checkpoint in all_checkpoints(output) if find_fault(checkpoint) is None]


def find_best(output: Path, history: Sequence[Mapping[str, Any]], metric: str) -> Path | None:
    """Find the whole checkpoint with the lowest rate, of equal ones the first, wherever the folder of the run is now.

    Args:
        output: Folder of the run.
        history: Its log; entries of validations have `step` and the rate.
        metric: Name of the rate.

    Returns:
        None if no validation has a whole checkpoint.
    """
    rated = [(entry[metric], entry["step"]) for entry in history if metric in entry]
    for _, step in sorted(rated):
        checkpoint = checkpoint_folder(output, step)
        if not checkpoint.is_dir():
            continue  # an old one that was not among the best when it was dropped
        fault = find_fault(checkpoint)
        if fault is None:
            return checkpoint
        log.warning("%s: %s; the next best checkpoint takes its place", checkpoint, fault)
    return None


def has_ended(checkpoint: Path, config: TrainConfig) -> bool:
    """Whether the run of a checkpoint had ended before its last step, by early stopping or the clock."""
    state = json.loads((checkpoint / STATE_NAME).read_text(encoding="utf-8"))

    def kept(callback: str, name: str) -> Any:
        values = state.get("stateful_callbacks", {}).get(callback, {})
        return values.get("attributes", {}).get(name, 0) if isinstance(values, dict) else 0

    no_gain = bool(config.patience) and kept("StopEarly", "early_stopping_patience_counter") >= config.patience
    out_of_time = config.minutes is not None and kept("EndInTime", "elapsed") >= 60 * config.minutes
    says_nothing = kept("StopSpeechless", "in_a_row") >= most_speechless(config)
    return bool(no_gain or out_of_time or says_nothing)


def most_speechless(config: TrainConfig) -> int:
    """Validations in a row that may read the same in all lines: random weights need some epochs to say anything."""
    return 2 if config.start and not config.allow_partial else max(5, config.epochs // 3)
