"""The recogniser that `quill read` and `quill evaluate` are asked for: a model, or several that vote."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from quillread.cli.generate_options import generate_config
from quillread.cli.language_options import add_language_options, language_config

if TYPE_CHECKING:
    from quillread.recognize.ensemble import LineReader

_MOST_VARIANTS = 7


class _Several(argparse.Action):
    """Keeps all values in `models`, and the first in `model`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.models = (*(getattr(namespace, "models", None) or ()), values)
        namespace.model = namespace.models[0]


def add_reader_options(parser: argparse.ArgumentParser, default_language: str) -> None:
    """Add the options of languages and voting, and let `--model` be repeated.

    Args:
        parser: With the options of `cli.options.add_model_options`.
        default_language: What the help says is done without `--lm`.
    """
    for action in parser._actions:
        if action.dest == "model":
            action.__class__ = _Several
            action.help = f"{action.help}; repeat it to let several vote, one after another"
    parser.set_defaults(models=())
    add_language_options(parser, default_language)
    parser.add_argument(
        "--variants",
        type=int,
        default=1,
        choices=range(1, _MOST_VARIANTS + 1),
        metavar="N",
        help=f"look at each line in N ways, sheared and stretched a little, up to {_MOST_VARIANTS}, and let them vote: "
        "about N times as long",
    )


def load_reader(args: argparse.Namespace, *, auto: bool) -> "LineReader":
    """Load what is to read.

    Args:
        args: Of a parser with the options of this module, of models and of `generate_options`.
        auto: Whether compact models choose a language by themselves if nothing is said.

    Raises:
        UsageError: If options contradict each other or a model.
        ModelError: If a model or language model is missing or damaged.
        DataError: If a lexicon cannot be read.
    """
    from quillread.models.catalog import describe
    from quillread.recognize.ensemble import EnsembleReader
    from quillread.recognize.load import load

    language = language_config(args, auto=auto)
    loads = []
    for name in args.models or (args.model,):
        # How text is generated is asked of the models that generate; with a single model a wrong option is refused.
        asked = len(args.models) < 2 or describe(name).info.family == "trocr"
        generate = generate_config(args, name) if asked else None
        loads.append(
            partial(load, name, threads=args.threads, generate=generate, language=language, variants=args.variants)
        )
    return loads[0]() if len(loads) == 1 else EnsembleReader(loads)


def reading_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What results say of how lines were read, beside the model; what is not asked for is left out."""
    settings: dict[str, Any] = {}
    if len(args.models) > 1:
        settings["models"] = list(args.models)
    if args.lm is not None:
        settings["lm"] = list(args.lm)
    if args.lexicon:
        settings["lexicon"] = [str(path) for path in args.lexicon]
    if args.correct:
        settings["correct"] = True
    if args.variants > 1:
        settings["variants"] = args.variants
    return settings
