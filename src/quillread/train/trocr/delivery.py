"""The adapters of a training by themselves: a folder of a few megabytes, read beside the model that they belong to."""

import json
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from quillread import config as configs
from quillread.errors import ConfigError, ModelError
from quillread.files import write_json
from quillread.models.catalog import SHIPPED, pin, resolve
from quillread.models.model_folder import CARD_NAME, INFO_NAME, ModelInfo, read_info, share_weights, write_info
from quillread.models.trocr.adapter_folder import Base, digest_weights, find_base, read_base, write_base
from quillread.models.trocr.adapters import GENERATION_NAME, open_trocr
from quillread.models.trocr.files import (
    ADAPTERS_CONFIG_NAME,
    ADAPTERS_NAME,
    BASE_NAME,
    find_weights,
    is_adapter,
    read_json,
    replace_folder,
)
from quillread.models.trocr.onnx_folder import is_exported
from quillread.train.checkpoint import find_best, whole_checkpoints
from quillread.train.config import TrainConfig, read_settings
from quillread.train.family_settings import TrocrPart
from quillread.train.run_folder import CONFIG_NAME, DATA_NAME, digest_model
from quillread.types import Calibration

log = logging.getLogger(__name__)

_HEADING = "\n## Adapters\n\n"
_BESIDE = (GENERATION_NAME, "preprocessor_config.json")
"""Settings of a trained model that differ from those of its base, as plain transformers takes them."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a folder of adapters is made of."""

    adapters: Path
    """Folder with the two files of PEFT."""
    settings: Path
    """Folder with the other settings and the card; those that are missing are those of the base."""
    info: ModelInfo
    base: str
    """The model that they belong to."""


def write_adapter(source: Path, target: Path, base: str | None = None) -> None:
    """Write the adapters of a training so that they can be read beside the model that it started from.

    The folder is opened once before it is there: whatever would keep it from being read is told now.

    Args:
        source: Folder of a run, of one of its checkpoints, of adapters that PEFT wrote, or one that was written so.
        target: Folder to make.
        base: The model that they belong to, where it is not as recorded: a folder, or `org/name@revision`.

    Raises:
        ConfigError: If the run has no whole checkpoint, or no model yet.
        ModelError: If there are no adapters, or the model that they belong to is missing or is another one.
        OutputError: If it cannot be written.
    """
    parts = _look_at(source, base)
    place = resolve(parts.base)
    if is_adapter(place):
        raise ModelError(
            f"{parts.base}: holds adapters itself, and adapters are read beside a whole model",
            hint="train from the model folder of its run",
        )
    if (place / INFO_NAME).is_file() and read_info(place).family == "compact":
        raise ModelError(
            f"{parts.base}: is a compact model, and adapters belong to a TrOCR model",
            hint="name the TrOCR model that the training started from",
        )
    if is_exported(place):
        raise ModelError(
            f"{parts.base}: is an export, and adapters are added to weights before they are exported",
            hint="name the model that the export was made of",
        )
    _check_same(source, parts, place)
    with replace_folder(target) as part:
        find_weights(parts.adapters)  # says what is missing
        shutil.copy(parts.adapters / ADAPTERS_NAME, part)
        share_weights(part)
        record = _record(parts.base, place, target)
        _write_settings(parts, record, part)
        write_base(record, part)
        write_info(parts.info, part)
        for name in _BESIDE:
            if (parts.settings / name).is_file():
                shutil.copy(parts.settings / name, part)
        _write_card(parts, record, part)
        open_trocr(part)
    log.info("%s: adapters of %s", target, record.name)


def _look_at(source: Path, base: str | None) -> _Parts:
    if (source / CONFIG_NAME).is_file():
        return _of_run(source, None, base)
    if not is_adapter(source):
        raise ModelError(
            f"{source}: holds neither a run nor adapters", hint="name the folder of a run with tuning.lora"
        )
    if (source.absolute().parent / CONFIG_NAME).is_file():
        return _of_run(source.absolute().parent, source, base)
    known = (source / INFO_NAME).is_file()
    info = read_info(source) if known else ModelInfo(family="trocr", name=source.absolute().name)
    return _Parts(source, source, info, base or _recorded_base(source))


def _of_run(run: Path, checkpoint: Path | None, base: str | None) -> _Parts:
    """The best checkpoint of a run, or one of them."""
    config = configs.build(TrainConfig, read_settings(run / CONFIG_NAME), str(run / CONFIG_NAME))
    part = config.part
    if not isinstance(part, TrocrPart) or part.tuning.lora is None:
        raise ModelError(f"{run}: its run trained no adapters", hint=f"what it made is a whole model: {run / 'model'}")
    if config.start is None or config.allow_partial:
        raise ModelError(
            f"{run}: its adapters belong to weights that began at random, and cannot be read beside them",
            hint=f"read the whole model: {run / 'model'}",
        )
    if not (run / "model" / INFO_NAME).is_file():
        raise ConfigError(f"{run}: has no model yet", hint=f"go on with it: quill train --resume --output {run}")
    best = _best_checkpoint(run, config)
    info = read_info(run / "model")
    if checkpoint is not None and checkpoint.absolute() != best.absolute():
        # How often a model is right was measured with the best one.
        info = replace(info, line_calibration=Calibration(), word_calibration=Calibration())
    return _Parts(checkpoint or best, run / "model", info, base or config.start)


def _best_checkpoint(run: Path, config: TrainConfig) -> Path:
    whole = whole_checkpoints(run)
    if not whole:
        raise ConfigError(f"{run}: has no whole checkpoint", hint="train again")
    history = json.loads((whole[-1] / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return find_best(run, history, f"eval_{config.metric}") or whole[-1]


def _recorded_base(folder: Path) -> str:
    if (folder / BASE_NAME).is_file():
        record = read_base(folder)
        return record.name if record.folder is None else str(find_base(folder))
    values = read_json(folder / ADAPTERS_CONFIG_NAME)
    name, revision = values.get("base_model_name_or_path"), values.get("revision")
    if not name or not isinstance(name, str):
        raise ModelError(f"{folder}: does not say which model its adapters belong to", hint="name it with --base")
    return f"{name}@{revision}" if revision and not Path(name).is_dir() else name


def _check_same(source: Path, parts: _Parts, place: Path) -> None:
    """Refuse a model that has other weights than the one that the training started from, as far as that is recorded."""
    run, other = parts.settings.parent, False
    if (parts.settings / BASE_NAME).is_file():
        other = read_base(parts.settings).weights != digest_weights(place)
    elif (run / CONFIG_NAME).is_file() and (run / DATA_NAME).is_file():
        start = read_settings(run / CONFIG_NAME).get("start")
        known = read_json(run / DATA_NAME).get(f"start: {start}")
        other = known is not None and known != digest_model(place)
    if other:
        raise ModelError(
            f"{parts.base}: has other weights than the model that the adapters in {source} were trained with",
            hint="bring that model back, or name its folder with --base",
        )


def _record(base: str, place: Path, target: Path) -> Base:
    weights = digest_weights(place)
    if base in SHIPPED or not Path(base).is_dir():
        return Base(pin(base), weights)
    # Seen from the new folder, so that both can be moved together, and nothing else of this machine is told.
    here = target.absolute().parent.resolve() / target.name
    return Base(place.resolve().name, weights, os.path.relpath(place.resolve(), here))


def _write_settings(parts: _Parts, base: Base, folder: Path) -> None:
    """Write the settings of PEFT, which name the model, too."""
    name, _, revision = base.name.partition("@")
    values = read_json(parts.adapters / ADAPTERS_CONFIG_NAME)
    values |= {"base_model_name_or_path": name, "revision": revision or None}
    write_json(folder / ADAPTERS_CONFIG_NAME, values)


def _write_card(parts: _Parts, base: Base, folder: Path) -> None:
    """Write the card of the model, and what the folder holds of it; that of PEFT says nothing of a training."""
    card = parts.settings / CARD_NAME
    is_ours = (parts.settings / BASE_NAME).is_file()
    if not card.is_file() or (parts.settings == parts.adapters and not is_ours):
        return
    told = card.read_text(encoding="utf-8", errors="replace").partition(_HEADING)[0]
    (folder / CARD_NAME).write_text(f"{told}{_HEADING}{_told_of(base)}", encoding="utf-8")


def _told_of(base: Base) -> str:
    where = f" ({base.folder}, seen from this folder)" if base.folder else ""
    return (
        f"This folder holds low-rank adapters, made by `quill models adapter`. They are read beside "
        f"{base.name}{where}, whose weights have the SHA-256 in `{BASE_NAME}`. PEFT loads them, too; preprocessing and "
        "canvas, which it does not know, are in `quillread.json`.\n"
    )
