"""The model folder that a run ends with: weights, confidences, provenance, card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from quillread import config as configs
from quillread.data.seen import all_marks, mark_lines
from quillread.data.spec import SYNTHETIC_KINDS
from quillread.evaluate.calibration import fit_calibrations
from quillread.files import write_atomic
from quillread.models.catalog import describe
from quillread.models.model_folder import CARD_NAME, ModelInfo
from quillread.train.arguments import precision_name
from quillread.train.config import TrainConfig
from quillread.train.lines import RunLines, pair_up
from quillread.train.trainer import LineTrainer
from quillread.types import Calibration, Transcript
from quillread.version import __version__


def write_model(
    config: TrainConfig,
    folder: Path,
    lines: RunLines,
    trainer: LineTrainer,
    metrics: Mapping[str, float],
    read: Sequence[Sequence[Transcript]],
    *,
    limited: bool,
    finished: bool,
) -> None:
    """Write the model folder, with its card.

    Confidences, with languages and without, are those of the model that the run started from, or fitted to what was
    read in the validation lines; not where that was `limited`: users read otherwise. That of a run that was interrupted
    says so: it is not `finished`.
    """
    origin = describe(config.start).info if config.start else None
    provenance = {**_provenance(config, trainer, lines, metrics), "validation_limited": limited, "finished": finished}
    provenance["trained_on"] = all_marks([provenance, *([origin.provenance] if origin else [])])
    own, start = trainer.family.info, None
    if origin and not config.allow_partial and origin.line_calibration != Calibration():
        start = origin  # its confidences still hold
    known = (start.line_calibration, start.word_calibration) if start else None
    if limited:
        of_lines, of_words = known or (own.line_calibration, own.word_calibration)
    else:
        of_lines, of_words = fit_calibrations(pair_up(lines.validation, read), known)
    info = replace(own, provenance=provenance, line_calibration=of_lines, word_calibration=of_words)
    if start:
        info = replace(info, error_curve=start.error_curve, language=start.language)
    trainer.family.save(folder, info)
    write_atomic(folder / CARD_NAME, model_card(info).encode())


def _provenance(
    config: TrainConfig, trainer: LineTrainer, lines: RunLines, metrics: Mapping[str, float]
) -> dict[str, Any]:
    steps = trainer.state.global_step
    return {
        "version": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "training": configs.dump(config.public()),
        "sources": list(lines.report),
        "remark": lines.remark,
        "precision": precision_name(trainer.args),
        "parameters": trainer.family.parameters(),
        "steps": steps,
        "skipped_steps": trainer.skips.skipped,
        "lines_seen": steps * config.batch_size,
        "trained_on": _marks(config, lines),
        "validation": dict(metrics),
        "validation_lines": {part.name: len(part.samples) for part in lines.validation},
    }


def _marks(config: TrainConfig, lines: RunLines) -> list[str]:
    """Marks of real lines that the run was trained on."""
    real = [i for i, spec in enumerate(config.data) if spec.kind not in SYNTHETIC_KINDS and spec.kind != "recombined"]
    return mark_lines([lines.sources[i] for i in real], [lines.usable[i] for i in real])


def model_card(info: ModelInfo) -> str:
    """Write a card from the provenance of a model, in Markdown with the front matter of the Hugging Face hub."""
    training = info.provenance["training"]
    measured = info.provenance["validation"]
    start = training["start"]
    lines = ["---", "library_name: quillread", "pipeline_tag: image-to-text"]
    # A folder's name, which has no slash, is none of the hub.
    lines += [f"base_model: {start.partition('@')[0]}"] if start and "/" in start else []
    lines += ["---", "", f"# {info.name}", ""]
    kind = "A TrOCR model" if info.family == "trocr" else "A compact CTC model"
    size = f"{info.provenance['parameters']:,} parameters"
    lines += [f"{kind} for lines of handwriting, {size}, trained with quillread {info.provenance['version']}.", ""]
    part = ", in part" if start and training.get("allow_partial") else ""
    lines += [f"Started from: {start or 'random weights'}{part}."]
    lines += [f"Taught by: {training['teacher']}."] if training.get("teacher") else []
    if training.get("tuning", {}).get("distil"):
        lines += ["Taught by the texts, and by the model that it started from, as that reads on its own canvas."]
    lines += ["", "## Training data", ""]
    lines += [f"- {source}" for source in info.provenance["sources"]]
    lines += [
        "",
        "The licences of these data, and of the models that it started from or was taught by, bind this model too.",
        "",
    ]
    lines += ["## Training", "", *_recipe(info, training), "", "## Measured", "", *_measured(info.provenance, measured)]
    lines += ["", "## Use", "", "```sh", "quill read --model DIR page.jpg", "```", ""]
    return "\n".join(lines)


def _recipe(info: ModelInfo, training: Mapping[str, Any]) -> list[str]:
    schedule = training["schedule"]
    skipped = info.provenance["skipped_steps"]
    facts = {
        "steps": f"{info.provenance['steps']:,} of {training['batch_size']} lines",
        "skipped steps (gradient not finite)": skipped or None,
        "learning rate": f"{schedule['learning_rate']:g}, warm-up {schedule['warmup']:g}, {schedule['shape']}",
        "precision": info.provenance["precision"],
        "preprocessing": ", ".join(training["preprocess"]["steps"]) or "none",
        "canvas": f"{info.canvas.height} x {info.canvas.width}, {info.canvas.fit}" if info.canvas else None,
        "lines on it": info.provenance["remark"],
        "seed": training["seed"],
    }
    return [f"- {name}: {value}" for name, value in facts.items() if value is not None]


def _measured(provenance: Mapping[str, Any], measured: Mapping[str, float]) -> list[str]:
    if not measured:
        return ["Not measured: the run had no validation lines."]
    rows = ["| validation lines | number | CER, spacing ignored |", "|---|---|---|"]
    for name, count in provenance["validation_lines"].items():
        rows.append(f"| {name} | {count} | {100 * measured[f'eval_{name}_cer_spacing']:.1f} % |")
    rows += [
        "",
        f"All, as the text is: CER {100 * measured['eval_cer']:.1f} %, WER {100 * measured['eval_wer']:.1f} %.",
    ]
    rows += ["The best checkpoint was chosen on these lines: on others it will do a little worse."]
    if provenance.get("validation_limited"):
        rows += [
            "",
            "The run was interrupted, and measured as its validations are: with the numbers of the training, and "
            "little further than the longest of the texts. Confidences are not fitted. `quill train --resume` goes on.",
        ]
    return rows
