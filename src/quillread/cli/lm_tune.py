"""`quill lm tune`: chooses how much a language counts for a recogniser, on lines with known text."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.options import add_column_options, positive_number, with_columns
from quillread.cli.progress import ProgressLine, say
from quillread.cli.reading_options import add_language_flags, add_model_flags, read_options
from quillread.errors import UsageError
from quillread.evaluate.report_text import interval, percent

if TYPE_CHECKING:
    from quillread.decode.hypothesis import Hypothesis
    from quillread.evaluate.language_tuning import TuningLine
    from quillread.language.choice import LanguageSettings
    from quillread.models.model_folder import ModelInfo
    from quillread.options import ReadOptions
    from quillread.recognize.record import Record, Recorder


def add_tune(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action."""
    tune = actions.add_parser(
        "tune",
        help="choose for a recogniser how much a language counts",
        description="Weights and confidences are chosen on one half of the groups (writers, documents) of each data "
        "set, and what they bring is reported on the other half.",
    )
    tune.add_argument("--data", required=True, action="append", metavar="SPEC", help="lines with text; may be repeated")
    tune.add_argument("--split", default="validation", help="default: %(default)s")
    add_column_options(tune)
    add_model_flags(tune, several=False)
    add_language_flags(tune, "auto", corrects=False)
    tune.add_argument(
        "--lines", type=positive_number, default=150, metavar="N", help="lines of each data set to choose weights on"
    )
    tune.add_argument("--keep-weights", action="store_true", help="choose no weights, fit the confidences only")
    tune.add_argument("--seed", type=int, default=0, help="of the split into halves (default: %(default)s)")
    tune.add_argument("--json", type=Path, metavar="FILE", help="write settings and figures")
    tune.add_argument("--save", action="store_true", help="write the settings into the folder of the model")
    tune.set_defaults(run=run_tune)


def run_tune(args: argparse.Namespace) -> int:
    """Tune, report, and write what is asked for."""
    import numpy as np

    from quillread import config
    from quillread.files import write_atomic
    from quillread.language.catalog import AUTO
    from quillread.models.catalog import SHIPPED, resolve
    from quillread.models.model_folder import INFO_NAME, write_info
    from quillread.recognize.record import Recorder

    options = read_options(args)
    name = options.models[0]
    folder = resolve(name)
    if args.save and name in SHIPPED:
        raise UsageError(
            f"{name}: ships with quillread, so its settings are those of all who use it",
            hint=f"copy {folder}, and name the copy with --model",
        )
    if args.save and not (folder / INFO_NAME).is_file():
        raise UsageError(f"{folder}: has no {INFO_NAME} to write the settings into", hint="drop --save")
    recorder = Recorder(name, options.threads)
    sets = {data: _record(recorder, data, args) for data in with_columns(args.data, args)}
    info, figures = _tune(sets, recorder, args, options, np.random.default_rng(args.seed))
    settings = config.dump(info.language)
    document = {"model": name, "lm": list(options.lm or (AUTO,)), "settings": settings, "data": figures}
    print(_table(figures), end="")
    if args.json:
        write_atomic(args.json, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
    if args.save:
        write_info(info, folder)
        say(f"settings written into {folder / INFO_NAME}")
    return 0


def _record(recorder: "Recorder", data: str, args: argparse.Namespace) -> "list[TuningLine]":
    from quillread.data.source import readable
    from quillread.data.spec import open_source, parse_spec
    from quillread.evaluate.language_tuning import TuningLine

    source = open_source(parse_spec(data), args.split)
    progress, lines = ProgressLine("lines"), []
    for i, sample in readable(source, range(len(source))):
        lines.append(TuningLine(sample.group, sample.text, recorder(sample.image)))
        progress(i + 1, len(source))
    return lines


def _tune(
    sets: "dict[str, list[TuningLine]]",
    recorder: "Recorder",
    args: argparse.Namespace,
    options: "ReadOptions",
    rng: Any,
) -> "tuple[ModelInfo, dict[str, Any]]":
    from quillread.evaluate.language_tuning import choose_weights, halve_all, report
    from quillread.language.catalog import AUTO, LanguageConfig, LanguageOpener
    from quillread.recognize.record import read_again

    info = recorder.info
    opener = LanguageOpener(LanguageConfig(options.lm or (AUTO,), options.lexicons), info.charset or None)

    def read(records: "Sequence[Record]", settings: "LanguageSettings") -> "list[Hypothesis]":
        return read_again(records, info, opener.choice(settings), settings)

    halves = halve_all(sets, rng)
    settings = info.language
    if not args.keep_weights:
        parts = [[first[i] for i in rng.permutation(len(first))[: args.lines]] for first, _ in halves.values()]
        settings = choose_weights(parts, read, settings, lambda w, loss: say(f"{w}: {loss:.4f} of the errors"))
    fitted_on = [line for first, _ in halves.values() for line in first]
    settings, info = _fit(fitted_on, read([line.record for line in fitted_on], settings), settings, info)
    figures, all_lines, all_readings = {}, [], []
    for data, (_, second) in halves.items():
        readings = read([line.record for line in second], settings)
        figures[data] = report(second, readings, settings, info, rng)
        all_lines += second
        all_readings += readings
    if len(figures) > 1:
        figures["all"] = report(all_lines, all_readings, settings, info, rng)
    return replace(info, language=settings), figures


def _fit(
    lines: "list[TuningLine]", readings: "list[Hypothesis]", settings: "LanguageSettings", info: "ModelInfo"
) -> "tuple[LanguageSettings, ModelInfo]":
    """Fit confidences of readings with a language, and the errors to be expected of readings with and without."""
    from quillread.evaluate.language_tuning import fit_confidences, fit_curve

    of_lines, of_words = fit_confidences(lines, readings)
    settings = replace(settings, line_calibration=of_lines, word_calibration=of_words)
    read_with = [(x, h) for x, h in zip(lines, readings, strict=True) if h.share is not None]
    curve = fit_curve([x for x, _ in read_with], [h for _, h in read_with], settings)
    plain = fit_curve(lines, [x.record.readings[0] for x in lines], info)
    return replace(settings, error_curve=curve), replace(info, error_curve=plain)


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "lines": lambda f: str(f["lines"]),
    "CER without": lambda f: percent(f["cer_spacing_without"]),
    "CER with": lambda f: percent(f["cer_spacing"]),
    "gain": lambda f: f"{percent(f['gain'], 1)} ({interval(f['gain_ci95'])})",
    "mended : broken": lambda f: f"{f['words_mended']} : {f['words_broken']}",
    "ECE lines": lambda f: f"{f['ece_lines']:.3f}",
    "ECE words": lambda f: f"{f['ece_words']:.3f}",
    "accepted at 5 %": lambda f: percent(f["review"]["accepted"], 0),
    "their CER": lambda f: percent(f["review"]["cer_of_accepted"]),
}


def _table(figures: dict[str, Any]) -> str:
    rows = [["data", *_COLUMNS], ["---"] * (len(_COLUMNS) + 1)]
    rows += [[data, *(cell(f) for cell in _COLUMNS.values())] for data, f in figures.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
