"""`quill lm`: make language models, look into them, try them, tune a model for reading with them."""

import argparse
import json
from pathlib import Path

from quillread.cli.options import positive_number
from quillread.cli.progress import say
from quillread.errors import OutputError

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
    from quillread.cli.lm_tune import add_tune

    add_tune(actions)


def _add_train(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make a language model of a text"
    train = actions.add_parser("train", help=text, description=f"{text[0].upper()}{text[1:]}.")
    train.add_argument(
        "--text",
        type=Path,
        required=True,
        action="append",
        metavar="FILE",
        help="UTF-8, a paragraph a line; repeatable",
    )
    train.add_argument("--output", type=Path, required=True, metavar="FILE", help="such as my.lm")
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

    if args.output.resolve() in {path.resolve() for path in args.text}:
        raise OutputError(f"{args.output}: what is read here would be written over", hint="name another file")
    config = BuildConfig(order=args.order, keep=args.keep)
    corpus = read_corpus(args.text)
    if corpus.dropped:
        say(f"{corpus.dropped} paragraphs left out: they hold characters of a text that was decoded wrongly")
    language = args.language if args.language is not None else guess_language(corpus.paragraphs)
    content = build_language(corpus.paragraphs, args.output.stem, language, config)
    write_content(args.output, content)
    size, facts = args.output.stat().st_size, content.facts
    say(
        f"{args.output}: {size / 1e6:.1f} MB, of {facts['characters_read']:,} characters and "
        f"{facts['words_read']:,} words; language: {language or 'unknown'}"
    )
    if facts["characters_read"] < _LITTLE:
        say(f"that is little text: mixed with others, give it a small weight, as in --lm fr --lm {args.output}@0.2")
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
    """Print how well the model foresees each file, as JSON."""
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
