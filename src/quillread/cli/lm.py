"""`quill lm`: make language models, look into them, try them, tune a model for reading with them."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from quillread.cli.options import add_column_options, positive_number, with_columns
from quillread.cli.progress import ProgressLine, say, tell_seen
from quillread.cli.reading_options import add_language_flags, add_model_flags, read_options
from quillread.cli.targets import check_targets, target_path
from quillread.errors import UsageError
from quillread.evaluate.report_text import interval, markdown_table, percent

if TYPE_CHECKING:
    from quillread.decode.hypothesis import Hypothesis
    from quillread.evaluate.language_tuning import TuningLine
    from quillread.language.choice import LanguageSettings
    from quillread.language.scoring import LanguageWeights
    from quillread.models.model_folder import ModelInfo
    from quillread.options import ReadOptions
    from quillread.recognize.record import Record, Recorder

_LITTLE = 100_000
"""Characters of a text below which its model, as heavy as a general one, would drown what that one knows."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command."""
    parser.description = "Language models: list, train, look into, score texts with, tune a recogniser for."
    actions = parser.add_subparsers(dest="action", metavar="list|train|info|score|tune", required=True)
    text = "list the language models that ship with quillread"
    actions.add_parser("list", help=text, description=f"{text[0].upper()}{text[1:]}.").set_defaults(run=run_list)
    _add_train(actions)
    text = "show what a language model was made from, and its size"
    info = actions.add_parser("info", help=text, description=f"{text[0].upper()}{text[1:]}.")
    info.add_argument("model", metavar="NAME", help="en, fr, or a file")
    info.set_defaults(run=run_info)
    text = "tell how well a language model predicts a text, the lower the better"
    score = actions.add_parser("score", help=text, description=f"{text[0].upper()}{text[1:]}.")
    score.add_argument("model", metavar="NAME", help="en, fr, or a file")
    score.add_argument("--text", type=Path, required=True, action="append", metavar="FILE", help="UTF-8 text")
    score.set_defaults(run=run_score)
    add_tune(actions)


def _add_train(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make a language model from text"
    train = actions.add_parser("train", help=text, description=f"{text[0].upper()}{text[1:]}.")
    train.add_argument(
        "--text",
        type=Path,
        required=True,
        action="append",
        metavar="FILE",
        help="UTF-8, a paragraph a line; repeatable",
    )
    train.add_argument("--output", type=target_path, required=True, metavar="FILE", help="such as my.lm")
    train.add_argument("--order", type=positive_number, default=7, metavar="N", help="2 to 8 (default: %(default)s)")
    train.add_argument(
        "--keep",
        type=positive_number,
        default=1_000_000,
        metavar="N",
        help="runs of characters to keep, those that matter most; 3 bytes each, roughly (default: %(default)s)",
    )
    train.add_argument("--language", metavar="CODE", help="such as en; by default found by the shipped models")
    train.set_defaults(run=run_train)


def run_list(args: argparse.Namespace) -> int:
    """Print a line for each shipped language model."""
    from quillread.language.catalog import SHIPPED_LANGUAGES, resolve_language

    for name, purpose in SHIPPED_LANGUAGES.items():
        print(f"{name}\t{resolve_language(name).stat().st_size / 1e6:.1f} MB\t{purpose}")
    return 0


def run_train(args: argparse.Namespace) -> int:
    """Make a language model; say what came of it."""
    from quillread.language.build import BuildConfig, build_language, read_corpus, write_content
    from quillread.language.catalog import guess_language

    check_targets(args, {"output": "language model"})
    config = BuildConfig(order=args.order, keep=args.keep)
    corpus = read_corpus(args.text)
    if corpus.dropped:
        say(f"{corpus.dropped} paragraphs skipped: they hold characters of a text that was decoded wrongly")
    language = args.language if args.language is not None else guess_language(corpus.paragraphs)
    content = build_language(corpus.paragraphs, args.output.stem, language, config)
    write_content(args.output, content)
    size, facts = args.output.stat().st_size, content.facts
    say(
        f"{args.output}: {size / 1e6:.1f} MB, of {facts['characters_read']:,} characters and "
        f"{facts['words_read']:,} words; language: {language or 'unknown'}"
    )
    if facts["characters_read"] < _LITTLE:
        named = quote(f"{args.output}@0.2")
        say(f"that is little text: mixed with others, give it a small weight, as in --lm fr --lm {named}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print what is known of a language model, as JSON."""
    from quillread.language.build import read_language
    from quillread.language.catalog import resolve_language

    path = resolve_language(args.model)
    model = read_language(path)
    facts = {**model.facts, "words_known": len(model.words.words), "bytes": path.stat().st_size}
    print(json.dumps(facts, ensure_ascii=False, indent=2))
    return 0


def run_score(args: argparse.Namespace) -> int:
    """Print how well the model predicts each file, as JSON."""
    from quillread.language.build import read_corpus, read_language
    from quillread.language.catalog import resolve_language
    from quillread.language.scoring import evidence, mean_log_probability

    model = read_language(resolve_language(args.model))
    for path in args.text:
        text = " ".join(read_corpus([path]).paragraphs)
        figures = {
            "text": str(path),
            "characters": len(text),
            "nats_per_character": round(-mean_log_probability(model.characters, text), 4),
            "evidence": round(evidence(model.characters, text), 4),
            "unknown_words": round(model.words.unknown_share(text), 4),
        }
        print(json.dumps(figures, ensure_ascii=False))
    return 0


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
        "--lines",
        dest="line_count",
        type=positive_number,
        default=150,
        metavar="N",
        help="lines of each data set to choose weights on",
    )
    tune.add_argument("--keep-weights", action="store_true", help="choose no weights, fit the confidences only")
    tune.add_argument("--seed", type=int, default=0, help="seed of the split into halves (default: %(default)s)")
    tune.add_argument("--json", type=target_path, metavar="FILE", help="write settings and figures")
    tune.add_argument("--save", action="store_true", help="write the settings into the folder of the model")
    tune.set_defaults(run=run_tune)


def run_tune(args: argparse.Namespace) -> int:
    """Tune, report, and write what is asked for."""
    import numpy as np

    from quillread import config
    from quillread.files import write_json
    from quillread.language.catalog import AUTO
    from quillread.models.catalog import SHIPPED, resolve
    from quillread.models.model_folder import INFO_NAME, write_info
    from quillread.recognize.record import Recorder

    check_targets(args, {"json": "JSON file"})
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
        write_json(args.json, document)
    if args.save:
        write_info(info, folder)
        say(f"settings written into {folder / INFO_NAME}")
    return 0


def _record(recorder: "Recorder", data: str, args: argparse.Namespace) -> "list[TuningLine]":
    from quillread.data.seen import mark
    from quillread.data.source import readable
    from quillread.data.spec import open_source, parse_spec
    from quillread.evaluate.language_tuning import TuningLine

    source = open_source(parse_spec(data), args.split)
    progress, lines, marks = ProgressLine("lines"), [], []
    for i, sample in readable(source, range(len(source))):
        lines.append(TuningLine(sample.group, sample.text, recorder(sample.image)))
        marks.append(mark(sample))
        progress(i + 1, len(source))
    tell_seen(marks, [recorder.info])
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
        parts = [[first[i] for i in rng.permutation(len(first))[: args.line_count]] for first, _ in halves.values()]
        settings = choose_weights(parts, read, settings, _tell_weights)
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


def _tell_weights(weights: "LanguageWeights", loss: float) -> None:
    given = f"characters {weights.characters:g}, words {weights.words:g}, length {weights.length:g}"
    say(f"weights tried: {given}: {percent(loss)} of the errors are left")


def _fit(
    lines: "list[TuningLine]", readings: "list[Hypothesis]", settings: "LanguageSettings", info: "ModelInfo"
) -> "tuple[LanguageSettings, ModelInfo]":
    """Fit confidences of readings with a language, and the errors to be expected of readings with and without.

    Those that a model has stay if there are few lines, which say less of others than what it has.
    """
    from quillread.evaluate.calibration import FEWEST
    from quillread.evaluate.language_tuning import fit_confidences, fit_curve
    from quillread.types import Calibration, ErrorCurve

    read_with = [(x, h) for x, h in zip(lines, readings, strict=True) if h.share is not None]
    if len(read_with) < FEWEST and settings.line_calibration != Calibration():
        few = f"{len(read_with)} lines read with a language are left to fit them to, and it takes {FEWEST}"
        say(f"the confidences of readings with a language stay: {few}")
    else:
        of_lines, of_words = fit_confidences(lines, readings)
        settings = replace(settings, line_calibration=of_lines, word_calibration=of_words)
        curve = fit_curve([x for x, _ in read_with], [h for _, h in read_with], settings)
        settings = replace(settings, error_curve=curve)
    if len(lines) >= FEWEST or info.error_curve == ErrorCurve():
        info = replace(info, error_curve=fit_curve(lines, [x.record.readings[0] for x in lines], info))
    return settings, info


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
    rows = [["data", *_COLUMNS]]
    rows += [[data, *(cell(f) for cell in _COLUMNS.values())] for data, f in figures.items()]
    return markdown_table(rows)
