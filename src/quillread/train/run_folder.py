"""The folder of a run: what it holds, and whether a run may go on in it."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quillread import config as configs
from quillread.data.seen import all_marks
from quillread.data.source import Source
from quillread.data.spec import parse_spec
from quillread.errors import ConfigError, DataError, ModelError
from quillread.files import claim_folder, naming, release_folder, unfinished_folder, write_json
from quillread.models.catalog import ModelEntry, describe, resolve
from quillread.models.compact.onnx_file import CompactConfig, read_weights, write_onnx
from quillread.models.model_folder import INFO_NAME, ONNX_NAME, ModelInfo, read_info, write_info
from quillread.train import ranks
from quillread.train.average import WeightAverage
from quillread.train.checkpoint import STATE_NAME, all_checkpoints, find_checkpoint, has_ended, whole_checkpoints
from quillread.train.config import TrainConfig, read_settings
from quillread.train.families import open_family
from quillread.train.family_settings import CompactPart, TrocrPart
from quillread.train.lines import RunLines
from quillread.train.new_letters import grow_head

CONFIG_NAME = "train.json"
DATA_NAME = "data.json"
_MAY_CHANGE = ("root", "workers", "epochs", "minutes", "patience", "micro_batch", "cache", "in_memory",
               "keep_checkpoints", "validate_steps")  # fmt: skip
"""Settings that a resumed run may have other than the first: none changes what an epoch is made of."""
OF_A_MACHINE = ("root", "workers", "cache", "in_memory")
"""Settings that machines which share a run may each have in their own way."""

_LOOKED_AT = 32
"""Images of each source whose pixels are part of its fingerprint; all would take long."""


def check_free(output: Path, config: TrainConfig, *, overwrite: bool) -> None:
    """Make sure that a new run destroys nothing that is wanted.

    Raises:
        ConfigError: If the folder holds a run and that is not to be overwritten, holds something else, or what the run
            needs lies in it.
    """
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not (output / CONFIG_NAME).is_file():
        raise ConfigError(f"{output}: holds other files, and no run", hint="name another folder")
    if not overwrite:
        raise ConfigError(
            f"{output}: holds a run already",
            hint="resume it, overwrite it, or name another folder",
        )
    data = [spec.where for spec in config.placed((*config.data, *config.validation))]
    tokenizer = config.part.tokenizer if isinstance(config.part, TrocrPart) else None
    for place in [*data, *(str(needed) for needed in (config.start, config.teacher, tokenizer) if needed)]:
        if Path(place).resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"{place}: lies in {output}, which would be overwritten", hint="name another folder")


@contextmanager
def holding(output: Path) -> Iterator[None]:
    """Keep other trainings out of the folder of a run meanwhile; it is made, and goes if it stays empty.

    Raises:
        ConfigError: If another training runs there.
        OutputError: If it cannot be made.
    """
    missing = [folder for folder in (output, *output.parents) if not folder.exists()]
    held = ranks.together(lambda: _claim(output) if ranks.is_first() else [])
    try:
        yield
    finally:
        release_folder(held)
        if ranks.is_first():
            with suppress(OSError):  # what holds something stays
                for folder in missing:
                    folder.rmdir()


def _claim(output: Path) -> list[int]:
    with naming(output):
        output.mkdir(parents=True, exist_ok=True)
    try:
        return claim_folder(output)
    except BlockingIOError as error:
        raise ConfigError(
            f"{output}: a training still runs in this folder",
            hint="wait for its end; it may be a process that was left when its launcher was killed: end that",
        ) from error


def delete_run(output: Path) -> None:
    """Delete what a run has written, and nothing else."""
    # What is left of a save that was killed.
    drafts = [*output.glob(".checkpoint-*"), *output.glob(".model.*")]
    for folder in (
        *all_checkpoints(output),
        *drafts,
        *(output / name for name in ("model", "samples", "runs", "cache")),
    ):
        shutil.rmtree(folder, ignore_errors=True)
    for name in (CONFIG_NAME, DATA_NAME, "metrics.jsonl", "curve.png"):
        (output / name).unlink(missing_ok=True)


def record_run(config: TrainConfig, lines: RunLines, output: Path) -> None:
    """Write the settings and the fingerprint of the data: `quill train --config train.json` does the run again."""
    write_json(output / CONFIG_NAME, configs.dump(config))
    write_json(output / DATA_NAME, fingerprints(config, lines))


def check_same_settings(config: TrainConfig, output: Path) -> TrainConfig:
    """Refuse to go on with other settings, which would be another run under the name of the first.

    Returns:
        The settings, with what the first run found out by itself: the number of lines computed at a time that fit into
        the memory, and the charset that grew by its data.

    Raises:
        ConfigError: Naming each setting that changed.
    """
    path = output / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(f"{path}: the settings of the run to resume are missing", hint="start a new run")
    first = configs.build(TrainConfig, read_settings(path), str(path))
    part, known = config.part, first.part
    if isinstance(part, CompactPart) and isinstance(known, CompactPart) and known.charset.startswith(part.charset):
        config = replace(config, part=replace(part, charset=known.charset, grow_charset=known.grow_charset))
    refuse_changes(configs.dump(first), configs.dump(config), _MAY_CHANGE, output)
    return replace(config, micro_batch=config.micro_batch or first.micro_batch)


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], may_change: Sequence[str], output: Path) -> None:
    """Compare the settings of a run in `output` with those to resume it with.

    Raises:
        ConfigError: Naming each that changed and may not.
    """
    changed = [key for key in now if key not in may_change and before.get(key) != now[key]]
    if changed:
        listed = "; ".join(f"{key}: {before.get(key)} before, {now[key]} now" for key in changed)
        raise ConfigError(
            f"{output}: the run was started with other settings: {listed}",
            hint="resume it without naming settings, or start a new run in another folder",
        )


def is_finished(config: TrainConfig, output: Path) -> bool:
    """Whether the run of these settings has ended in its folder, which then holds its model.

    Raises:
        ConfigError: If the run there was started with other settings.
    """
    model = output / "model"
    if not model.is_dir():
        return False
    if not (output / CONFIG_NAME).is_file():
        return True  # of the run only the model was kept
    check_same_settings(config, output)
    try:
        provenance = read_info(model).provenance
    except ModelError:
        return False
    if "finished" not in provenance:  # a model of before this was recorded
        return _has_reached_its_end(config, output, provenance)
    before, now = provenance.get("training", {}), configs.dump(config)
    is_as_long = all(before.get(name) == now[name] for name in ("minutes", "patience"))
    return bool(provenance["finished"]) and is_as_long and before.get("epochs", 0) >= config.epochs


def _has_reached_its_end(config: TrainConfig, output: Path, provenance: Mapping[str, Any]) -> bool:
    """Whether the last checkpoint is the last of its run, and the model was made after it."""
    checkpoint = find_checkpoint(output)
    if checkpoint is None:
        return False
    state = json.loads((checkpoint / STATE_NAME).read_text(encoding="utf-8"))
    is_last = state["global_step"] >= state["max_steps"] or has_ended(checkpoint, config)
    return is_last and provenance.get("steps") == state["global_step"]


def check_same_data(config: TrainConfig, lines: RunLines, output: Path) -> None:
    """Refuse to go on with other lines or another start: the run could not be the one that was broken off.

    Raises:
        DataError: Naming what changed.
    """
    try:
        record = json.loads((output / DATA_NAME).read_text(encoding="utf-8"))
        before = {_as_written_now(name): digest for name, digest in record.items()}
    except FileNotFoundError:
        return  # a run of a version that did not record its data
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{output / DATA_NAME}: cannot be read: {error}") from error
    now = fingerprints(config, lines)
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise DataError(
            f"{output}: the data changed since the run was started: {'; '.join(changed)}",
            hint="bring the data back as it was, or start a new run",
        )


def _as_written_now(name: str) -> str:
    """What a fingerprint is of; version 0.1.0 wrote sources below `{root}` as the user did, such as `hub:x@0.10`."""
    return str(parse_spec(name)) if "{root}" in name else name


def fingerprints(config: TrainConfig, lines: RunLines) -> dict[str, str]:
    """Digests by the name of what they are of: each source and validation set, the models a run starts from."""
    prints = {str(spec): _digest_source(source) for spec, source in zip(config.data, lines.sources, strict=True)}
    for part in lines.validation:
        digest = hashlib.blake2b(digest_size=16)
        for sample in part.samples:
            digest.update(sample.text.encode())
            digest.update(sample.image.tobytes())
        prints[f"validation: {part.name}"] = digest.hexdigest()
    for role, name in (("start", config.start), ("teacher", config.teacher)):
        if name:
            prints[f"{role}: {name}"] = digest_model(resolve(name))
    return prints


def digest_model(folder: Path) -> str:
    """The fingerprint of a model's weights in the record of a run.

    Args:
        folder: Of the model.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".onnx", ".data"):
            with path.open("rb") as file:
                while block := file.read(2**24):
                    digest.update(block)
    return digest.hexdigest()


def _digest_source(source: Source) -> str:
    """Digest the texts and shapes of all lines, and the pixels of some."""
    digest = hashlib.blake2b(digest_size=16)
    for i in range(len(source)):
        digest.update(f"{source.text(i)}\n{source.aspect(i):.4f}\n".encode())
    for i in np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)):
        try:
            digest.update(source.sample(int(i), np.random.default_rng(0)).image.tobytes())
        except DataError:
            continue  # told when the line is trained on
    return digest.hexdigest()


def average_run(run: Path, last: int, target: Path) -> list[Path]:
    """Write a model whose weights are the means of those of a run's last checkpoints.

    Source: P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018. The
    statistics of batch normalisation are averaged as all numbers are. Of a run that kept an average of its weights it
    is that of each checkpoint. Confidences are those of the run's own model; fit them anew with `quill models
    calibrate`.

    Args:
        run: Folder of the run.
        last: How many checkpoints, from 1.
        target: Folder to make.

    Returns:
        The checkpoints.

    Raises:
        ConfigError: If the folder holds no run, or fewer whole checkpoints.
        ModelError: If it trained adapters, whose products with each other are not a mean, or a checkpoint is damaged.
    """
    if not (run / CONFIG_NAME).is_file():
        raise ConfigError(f"{run}: holds no run: it has no {CONFIG_NAME}")
    config = configs.build(TrainConfig, read_settings(run / CONFIG_NAME), str(run / CONFIG_NAME))
    part = config.part
    if isinstance(part, TrocrPart) and part.tuning.lora is not None:
        raise ModelError(f"{run}: low-rank adapters cannot be averaged", hint="average runs that train all weights")
    checkpoints = whole_checkpoints(run)[-last:]
    if len(checkpoints) < last:
        raise ConfigError(
            f"{run}: holds {len(checkpoints)} whole checkpoints, {last} are asked for",
            hint="train with keep_checkpoints=5",
        )
    if isinstance(part, CompactPart):
        config = replace(config, part=replace(part, teacher=None))
    else:
        config = replace(config, part=replace(part, tuning=replace(part.tuning, distil=0.0)))
    family = open_family(config, None)
    average = WeightAverage(family.network, config.average_decay) if config.average_decay else None
    sums: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        family.load_weights(checkpoint)
        if average:
            average.load(checkpoint)
            average.take()
        for name, value in family.network.state_dict().items():
            # Counters and the like are those of the last.
            floats = value.is_floating_point()
            sums[name] = sums[name] + value.double() if floats and name in sums else value.double() if floats else value
    means = {n: v / len(checkpoints) if v.dtype == torch.float64 else v for n, v in sums.items()}
    family.network.load_state_dict(means)
    info = read_info(run / "model") if (run / "model").is_dir() else family.info
    names = [checkpoint.name for checkpoint in checkpoints]
    with naming(target), unfinished_folder(target) as unfinished:
        family.save(unfinished, replace(info, provenance={**info.provenance, "averaged": names}))
        unfinished.rename(target)
    return checkpoints


_OF_AN_AVERAGE = {
    "family": "kind of network",
    "ink": "how lines become pixels (ink)",
    "preprocess": "preprocessing",
    "column_width": "width of columns",
}
"""What models must have in common, in the words of a message."""


def average_models(names: Sequence[str], target: Path) -> None:
    """Write a model whose weights are the means of those of several compact models of the same network.

    A model that was trained on and the one that it started from, averaged, often read new hands nearly as well as the
    former and the old ones as well as the latter. Letters that only the last has learnt begin in the others as a
    training would begin them.

    Source: M. Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022 (there with other shares, too).
    Confidences and all else are those of the last model; fit them anew with `quill models calibrate`.

    Args:
        names: Names or folders of the models, at least two.
        target: Folder to make.

    Raises:
        ModelError: If a model is not compact, of another network than the last, of letters with which those of the last
            do not begin, or sees lines otherwise; or if the last does not say what its network is like.
        OutputError: If the folder cannot be written.
    """
    entries = [describe(name) for name in names]
    last = entries[-1].info
    for entry in entries:
        other = [told for name, told in _OF_AN_AVERAGE.items() if getattr(entry.info, name) != getattr(last, name)]
        other += [] if last.charset.startswith(entry.info.charset) else ["letters"]
        if other or entry.info.family != "compact":
            reason = f"they differ in {', '.join(other)}" if other else "they are not compact"
            raise ModelError(
                f"{entry.name}: cannot be averaged with {names[-1]}: {reason}",
                hint="average a model with the one that its training started from",
            )
    weights = [_with_letters(entry, last) for entry in entries]
    shapes = [{name: value.shape for name, value in each.items()} for each in weights]
    if any(shape != shapes[-1] for shape in shapes):
        raise ModelError(f"{names[-1]}: its network has another shape than the others", hint="see the model cards")
    shape = last.provenance.get("training", {}).get("network")
    if shape is None:
        raise ModelError(f"{names[-1]}: its {INFO_NAME} does not say what its network is like")
    network = configs.build(CompactConfig, shape, names[-1])
    means = {
        name: np.mean([each[name].astype(np.float64) for each in weights], axis=0).astype(value.dtype)
        for name, value in weights[-1].items()
    }
    seen = all_marks(entry.info.provenance for entry in entries)
    kept = {**last.provenance, "averaged": [entry.info.name for entry in entries], "trained_on": seen}
    with naming(target), unfinished_folder(target) as unfinished:
        write_onnx(means, network, unfinished / ONNX_NAME)
        write_info(replace(last, provenance=kept), unfinished)
        unfinished.rename(target)


def _with_letters(entry: ModelEntry, last: ModelInfo) -> dict[str, NDArray[Any]]:
    """The weights of a model with classes for the letters of the last one."""
    weights = read_weights(entry.folder / ONNX_NAME)
    if entry.info.charset == last.charset:
        return weights
    state = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    seed = last.provenance.get("training", {}).get("seed", 1)
    grown = grow_head(state, entry.info.charset, last.charset, seed)
    return {name: value.numpy() for name, value in grown.items()}
