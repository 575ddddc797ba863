"""The model card of a trained model: what it is, what it saw, how it was measured."""

from collections.abc import Mapping
from typing import Any

from quillread.models.model_folder import ModelInfo


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
        "left-out steps (gradient not finite)": skipped or None,
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
    return rows
