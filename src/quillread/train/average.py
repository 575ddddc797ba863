"""One model of the last checkpoints of a run: the mean of their weights.

Source: P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from quillread import config as configs
from quillread.errors import ConfigError, ModelError
from quillread.models.model_folder import read_info
from quillread.train.config import TrainConfig
from quillread.train.family import open_family
from quillread.train.run_folder import CONFIG_NAME, whole_checkpoints


def average_run(run: Path, last: int, target: Path) -> list[Path]:
    """Write a model whose weights are the means of those of a run's last checkpoints.

    The statistics of batch normalisation are averaged as all numbers are. Confidences are those of the run's own model;
    fit them anew with `quill models calibrate`.

    Args:
        run: Folder of the run.
        last: How many checkpoints.
        target: Folder to make.

    Returns:
        The checkpoints.

    Raises:
        ConfigError: If the folder holds no run, or fewer whole checkpoints.
        ModelError: If it trained adapters, whose products with each other are no mean, or a checkpoint is damaged.
    """
    try:
        values = json.loads((run / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run}: holds no run: {CONFIG_NAME} cannot be read: {error}") from error
    config = configs.build(TrainConfig, values, str(run / CONFIG_NAME))
    if config.tuning.lora is not None:
        raise ModelError(f"{run}: low-rank adapters cannot be averaged", hint="average runs that train all weights")
    checkpoints = whole_checkpoints(run)[-last:]
    if len(checkpoints) < max(last, 2):
        raise ConfigError(
            f"{run}: holds {len(checkpoints)} whole checkpoints, {max(last, 2)} are asked for",
            hint="train with --set keep_checkpoints=5",
        )
    family = open_family(replace(config, teacher=None), None)
    sums: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        family.load_weights(checkpoint)
        for name, value in family.network.state_dict().items():
            # Counters and the like are those of the last.
            floats = value.is_floating_point()
            sums[name] = sums[name] + value.double() if floats and name in sums else value.double() if floats else value
    means = {n: v / len(checkpoints) if v.dtype == torch.float64 else v for n, v in sums.items()}
    family.network.load_state_dict(means)
    info = read_info(run / "model") if (run / "model").is_dir() else family.info
    names = [checkpoint.name for checkpoint in checkpoints]
    target.mkdir(parents=True)
    family.save(target, replace(info, provenance={**info.provenance, "averaged": names}))
    return checkpoints
