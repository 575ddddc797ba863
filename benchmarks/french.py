"""What the lines of the collections bring to the French that ships, as committed in results/french.json.

    python benchmarks/french.py --root DIR --texts TEXTS --output build/french

TEXTS holds fr.txt, DIR the collections of `accuracy.py` and peraire. Languages are made of the prose alone, with the
training lines of lettres, registres and poilus (`ships.lm` is the one that ships), then with those of timeus and of
copiste, too; of these lines, the ones without signs of abbreviation. The built-in model reads all validation lines with
each, with the weights of languages that it has. Besides, it is counted how many of the runs of 20 characters of a
collection's validation lines its training lines hold.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import REWRITTEN
from record import describe_machine, save

from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.language_tuning import TuningLine
from quillread.evaluate.metrics import score_line, total
from quillread.language.build import BuildConfig, build_language, read_corpus, write_content
from quillread.language.catalog import LanguageConfig, LanguageOpener
from quillread.recognize.record import Recorder, read_again
from quillread.text.charset import WESTERN_EUROPEAN
from quillread.types import Sample

SETS = ("copiste", "timeus", "poilus", "lettres", "registres", "peraire")
LANGUAGES = {
    "prose": (),
    "ships": ("lettres", "registres", "poilus"),
    "timeus": ("lettres", "registres", "poilus", "timeus"),
    "copiste": ("lettres", "registres", "poilus", "timeus", "copiste"),
}
"""Name -> collections whose training lines are part of it."""
RUN = 20
ORDER, KEEP = 7, 800_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for the texts and languages")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/french.json"))
    args = parser.parse_args()
    machine = describe_machine()
    args.output.mkdir(parents=True, exist_ok=True)
    train, validation = ({name: open_set(args.root, name, split) for name in SETS} for split in ("train", "validation"))
    known = {name: held(texts_of(train[name]), texts_of(validation[name])) for name in SETS if name != "peraire"}
    print(known)
    languages = {
        name: make(args.texts, args.output, name, [train[part] for part in parts]) for name, parts in LANGUAGES.items()
    }
    recorder = Recorder("builtin", threads=1)
    rates: dict[str, dict[str, float]] = {name: {} for name in languages}
    for name, source in validation.items():
        lines = [TuningLine(s.group, s.text, recorder(s.image)) for s in samples(source)]
        for language, path in languages.items():
            rates[language][name] = rate(lines, path, recorder)
        print(name, {language: f"{100 * found[name]:.2f} %" for language, found in rates.items()}, flush=True)
    results = {"model": "builtin", "known_runs": known, "cer_spacing": rates}
    save(args.json, "french", machine, results)


def open_set(root: Path, name: str, split: str) -> Source:
    return open_source(parse_spec(f"hub:{root / name}{REWRITTEN.get(name, '')}"), split)


def samples(source: Source) -> Iterator[Sample]:
    return (source.sample(i, np.random.default_rng((0, i))) for i in range(len(source)))


def texts_of(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def held(known: Sequence[str], texts: Sequence[str]) -> float:
    """The share of the runs of characters in some texts that others hold."""
    runs = {text[i : i + RUN] for text in known for i in range(len(text) - RUN + 1)}
    found = [text[i : i + RUN] in runs for text in texts for i in range(len(text) - RUN + 1)]
    return float(np.mean(found))


def make(texts: Path, folder: Path, name: str, sources: Sequence[Source]) -> Path:
    """Make a language of the prose and of the training lines of some collections."""
    lines = folder / f"{name}.txt"
    kept = [text for source in sources for text in texts_of(source) if set(text) <= set(WESTERN_EUROPEAN)]
    lines.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
    corpus = read_corpus([texts / "fr.txt", lines] if kept else [texts / "fr.txt"])
    path = folder / f"{name}.lm"
    write_content(path, build_language(corpus.paragraphs, "fr", "fr", BuildConfig(order=ORDER, keep=KEEP)))
    print(f"{path}: {len(kept)} lines of collections")
    return path


def rate(lines: Sequence[TuningLine], path: Path, recorder: Recorder) -> float:
    """CER with spacing ignored."""
    info: Any = recorder.info
    choice = LanguageOpener(LanguageConfig((str(path),)), info.charset).choice(info.language)
    read = read_again([line.record for line in lines], info, choice, info.language)
    return total(score_line(x.reference, h.text).cer_spacing for x, h in zip(lines, read, strict=True)).rate


if __name__ == "__main__":
    main()
