"""Options of reading with a language, which `quill read` and `quill evaluate` share."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.errors import UsageError

if TYPE_CHECKING:
    from quillread.language.catalog import LanguageConfig


def add_language_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--lm` and `--lexicon`.

    Args:
        parser: Of the command.
        default: What the help says is done without `--lm`.
    """
    group = parser.add_argument_group("reading with a language")
    group.add_argument(
        "--lm",
        action="append",
        metavar="NAME",
        help="none, auto (English or French, line by line), en, fr, or a file of `quill lm train`; may be repeated to "
        f"mix several, as in --lm fr --lm parish.lm@2 (default: {default})",
    )
    group.add_argument(
        "--lexicon",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="names and other words that are to be known, one a line; others stay possible; may be repeated",
    )
    group.add_argument(
        "--correct",
        action="store_true",
        help="correct words that are in doubt to known words near them; what was changed is in the JSON",
    )


def language_config(args: argparse.Namespace, *, auto: bool) -> "LanguageConfig | None":
    """Read the options.

    Args:
        args: Of a parser with the options.
        auto: Whether compact models choose a language by themselves if nothing is said.

    Returns:
        The languages for `load`; None for reading without.

    Raises:
        UsageError: If the options contradict each other.
        ConfigError: If they cannot be used together.
    """
    from quillread.language.catalog import AUTO, LanguageConfig

    names, lexicons = args.lm, tuple(args.lexicon)
    if names is None:
        if lexicons:
            return LanguageConfig((AUTO,), lexicons, correct=args.correct)
        if args.correct and not auto:
            return LanguageConfig((AUTO,), decode=False, correct=True)
        return LanguageConfig((AUTO,), correct=args.correct, only_compact=not args.correct) if auto else None
    if "none" not in names:
        return LanguageConfig(tuple(names), lexicons, correct=args.correct)
    if len(names) > 1:
        raise UsageError(f"--lm none and --lm {next(n for n in names if n != 'none')} contradict each other")
    if args.correct:
        return LanguageConfig((AUTO,), lexicons, decode=False, correct=True)
    if lexicons:
        raise UsageError("--lexicon goes with a language model, and --lm is none", hint="leave out --lm none")
    return None
