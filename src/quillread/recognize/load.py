"""From the name of a model to a recogniser."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from quillread.errors import ModelError, UsageError
from quillread.extras import require
from quillread.language.catalog import AUTO, LanguageConfig, LanguageOpener
from quillread.language.decoder import LanguageDecoder, LanguageRescorer
from quillread.models.catalog import ModelEntry, describe
from quillread.models.model_folder import INFO_NAME, ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.models.trocr.onnx_folder import FACTS_NAME, is_exported
from quillread.models.trocr.settings import DEFAULT_TOKENS, GenerateChanges
from quillread.recognize.choosing import ChoosingReader
from quillread.recognize.ctc import CtcDecoder, CtcEngine
from quillread.recognize.ensemble import EnsembleReader, LineReader, VaryingReader
from quillread.recognize.ensemble import variants as variants_of
from quillread.recognize.recognizer import LineEngine, LineRecognizer
from quillread.recognize.trocr.engine import Ranking, TrocrEngine
from quillread.recognize.trocr.onnx_backend import Drafter, ExportedTrocr
from quillread.text.charset import Charset

log = logging.getLogger(__name__)

_CPU_BATCH, _GPU_BATCH = 8, 64
"""Lines that TrOCR reads at once: on a CPU more gain nothing, on a GPU they fill it."""


def load(
    name: str = "builtin",
    *,
    threads: int = 0,
    generate: GenerateChanges | None = None,
    language: LanguageConfig | None = None,
    variants: int = 1,
) -> LineReader:
    """Load a model.

    Args:
        name: That of a model that ships, a model folder, or a model of the hub.
        threads: CPU threads; 0 for all cores.
        generate: How TrOCR generates text, where that is to differ from what is stored with the model; a compact
            model takes `alternatives` of it.
        language: Languages to read with; none if not given.
        variants: How many ways each line is looked at; what is read in them votes.

    Raises:
        ModelError: If there is no such model or language model, or it is damaged.
        DataError: If a lexicon cannot be read.
        MissingExtraError: If it is a TrOCR model and torch or transformers is not installed.
        UsageError: If more of `generate` is given than the model takes.
    """
    entry = describe(name)
    if generate is not None and entry.info.family == "compact":
        if alien := [f"generate.{setting}" for setting in generate.given if setting != "alternatives"]:
            raise UsageError(f"{', '.join(alien)}: only for TrOCR models, and {entry.info.name!r} is a compact model")
    elif generate is not None and generate.given:
        entry = replace(entry, info=replace(entry.info, generate=generate.apply(entry.info.generate)))
    if language is not None and language.only_compact and entry.info.family != "compact":
        language = None
    settings = entry.info.language
    opener = language and LanguageOpener(language, entry.info.charset or None)
    choice = opener.choice(settings) if opener and language and language.decode else None
    correct = opener.corrector(settings) if opener and language and language.correct else None
    if entry.info.family == "compact":
        alternatives = (generate.alternatives or 0) if generate else 0
        decode = LanguageDecoder(Charset(entry.info.charset), choice, settings.beam, alternatives)
        return LineRecognizer(load_compact(entry, threads, decode, variants), entry.info, correct=correct)
    rank = LanguageRescorer(choice) if choice else None
    asked = generate or GenerateChanges()
    if is_exported(entry.folder):
        if asked.precision is not None:
            raise UsageError(
                f"{name}: an exported model computes in the numbers that it was exported with",
                hint="drop generate.precision, or export it with other weights",
            )
        if asked.static_cache is not None:
            raise UsageError(f"{name}: an exported model has its own cache", hint="drop generate.static_cache")
        engine = load_exported(entry, threads, rank, draft=asked.draft)
    else:
        if asked.draft:
            hint = "drop generate.draft, or export the model: quill models export"
            raise UsageError(f"{name}: only exported models follow drafts", hint=hint)
        engine = load_trocr(entry, threads, rank, asked.precision or "fp32", static_cache=bool(asked.static_cache))
    recognizer = LineRecognizer(engine, entry.info, correct=correct)
    return recognizer if variants == 1 else VaryingReader(recognizer, variants_of(variants))


def load_all(
    names: Sequence[str],
    *,
    chooses: bool,
    threads: int,
    generate: GenerateChanges,
    language: LanguageConfig | None,
    variants: int,
) -> LineReader:
    """Load the models of a reading, as `load` does; what is asked of generation goes to those that generate.

    Args:
        names: The models.
        chooses: Whether one of them is chosen for each page; else several vote on each line.
        threads: As for `load`.
        generate: As for `load`. Where several vote, compact models take no more of it than the number of alternatives;
            what none of the models can be told is refused.
        language: As for `load`.
        variants: As for `load`.

    Raises:
        QuillreadError: As `load` does.
    """
    several = len(names) > 1
    families = {name: describe(name).info.family for name in names} if several and not chooses else {}
    of_compact = None if generate.alternatives is None else GenerateChanges(alternatives=generate.alternatives)

    def load_one(name: str) -> LineReader:
        is_alien = families.get(name) == "compact" and "trocr" in families.values()
        told = of_compact if is_alien else generate
        return load(name, threads=threads, generate=told, language=language, variants=variants)

    readers = [load_one(name) for name in names]
    if chooses:
        return ChoosingReader(dict(zip(names, readers, strict=True)))
    return EnsembleReader(readers) if several else readers[0]


def load_compact(
    entry: ModelEntry, threads: int = 0, decode: CtcDecoder | None = None, variants: int = 1
) -> LineEngine:
    """Load a compact network; `decode` turns columns into text, the best class of each if not given.

    Raises:
        ModelError: If it is damaged.
    """
    backend = OnnxBackend(entry.folder / ONNX_NAME, threads)
    told = (entry.info.ink.height, len(Charset(entry.info.charset)))
    if told != (backend.height, backend.classes):
        raise ModelError(
            f"{entry.folder}: {INFO_NAME} and {ONNX_NAME} do not belong together: lines {told[0]} pixels high and "
            f"{told[1]} classes in the one, {backend.height} and {backend.classes} in the other",
            hint="copy both from the same model",
        )
    return CtcEngine(backend, entry.info, decode=decode, variants=variants)


def load_trocr(
    entry: ModelEntry,
    threads: int = 0,
    rank: Ranking | None = None,
    precision: str = "fp32",
    *,
    static_cache: bool = False,
) -> LineEngine:
    """Load a TrOCR network; `rank` orders its readings of a line, the favourite of its search first if not given.

    See `GenerateChanges` for `precision` and `static_cache`.

    Raises:
        ModelError: If it is damaged.
        MissingExtraError: If torch or transformers is not installed.
        UsageError: If it is to compute in fp16 without a GPU.
    """
    torch = require("torch", "train")
    require("transformers", "train")
    from quillread.models.trocr.adapters import open_trocr
    from quillread.models.trocr.pixels import set_canvas
    from quillread.recognize.trocr.torch_backend import TorchTrocr, ends_early

    model = open_trocr(entry.folder)
    if entry.info.canvas is not None:
        set_canvas(model, entry.info.canvas.height, entry.info.canvas.width)
    limit = ends_early(model.network, entry.info.generate)
    if limit is not None:
        _warn_of_cuts(entry, limit)
    on_gpu = torch.cuda.is_available()
    if precision == "fp16" and not on_gpu:
        raise UsageError("fp16 needs a GPU, and there is none", hint="read with bf16 or fp32")
    model.network.to("cuda" if on_gpu else "cpu", {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision))
    batch = _GPU_BATCH if on_gpu else _CPU_BATCH
    backend = TorchTrocr(model, entry.info.generate, batch, threads=threads, static_cache=static_cache)
    return TrocrEngine(backend, entry.info, rank)


def load_exported(
    entry: ModelEntry, threads: int = 0, rank: Ranking | None = None, *, draft: bool | None = None
) -> LineEngine:
    """Load a TrOCR network that was exported; see `load_trocr`, and `GenerateChanges` for `draft`.

    Raises:
        ModelError: If it is damaged, or its files do not belong together.
        UsageError: If drafts are asked for where the search does not follow them.
    """
    from quillread.models.trocr.onnx_network import OnnxTrocr

    network = OnnxTrocr(entry.folder, threads)
    config, canvas = entry.info.generate, entry.info.canvas
    size = (network.facts.height, network.facts.width)
    if canvas is not None and (canvas.height, canvas.width) != size:
        raise ModelError(
            f"{entry.folder}: {INFO_NAME} and {FACTS_NAME} do not belong together: a canvas of {canvas.height} x "
            f"{canvas.width} pixels in the one, of {size[0]} x {size[1]} in the other",
            hint="copy all files of one export",
        )
    if config.max_tokens is None and network.facts.max_tokens <= DEFAULT_TOKENS:
        _warn_of_cuts(entry, network.facts.max_tokens)
    greedy = config.count_beams(network.facts.beams, 1 + config.alternatives) == 1 and rank is None
    if draft and not greedy:
        hint = "drop generate.draft, or read with generate.beams=1, without other readings or a language"
        raise UsageError(f"{entry.name}: only greedy search follows drafts", hint=hint)
    drafts = network.facts.gains_by_drafts if draft is None else draft
    drafter = _open_drafter(threads) if drafts and greedy else None
    return TrocrEngine(ExportedTrocr(network, config, drafter), entry.info, rank)


def _open_drafter(threads: int) -> Drafter:
    """The built-in model with the languages that ship: every word that it has right spares TrOCR's decoder a pass."""
    recognizer = load("builtin", threads=threads, language=LanguageConfig((AUTO,)))
    return lambda images: [read.text for read in recognizer.read(images)]


def _warn_of_cuts(entry: ModelEntry, limit: int) -> None:
    hint = "longer ones are cut, unless generate.max_tokens says otherwise"
    log.warning("%s: its generation settings end a line after %d tokens: %s", entry.name, limit, hint)
