"""What languages, spelling and voting bring: the table of docs/accuracy.md.

    python benchmarks/language.py --root DIR [--model builtin] [--lines N] --json benchmarks/results/language.json

DIR holds the collections of `accuracy.py` in the hub's parquet layout. `quill lm tune` must have chosen the settings of
the model on the same sets in the same order: it chooses on one half of the groups of each, this reports on the other.
Languages are chosen line by line (--lm auto). Times are those of one core: of decoding alone, and of the line.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import REWRITTEN, SETS
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.decode.hypothesis import Hypothesis
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.language_tuning import TuningLine, count_damage, halve_all, report
from quillread.evaluate.metrics import score_line, summarise
from quillread.evaluate.report_text import interval, percent
from quillread.language.catalog import LanguageConfig, LanguageOpener
from quillread.recognize.recognizer import LineRecognizer
from quillread.recognize.record import Recorder, read_again

VARIANTS = 3
PAPER = np.full((16, 16, 3), 255, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--lines", type=int, help="most lines of each set to report on; all if left out")
    parser.add_argument("--seed", type=int, default=0, help="as of quill lm tune")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/language.json"))
    args = parser.parse_args()
    machine = describe_machine()
    recorder = Recorder(args.model, threads=1, variants=VARIANTS)
    sources = {
        name: open_source(parse_spec(f"hub:{args.root / name}{REWRITTEN.get(name, '')}"), "validation") for name in SETS
    }
    chosen = choose_lines(sources, args.seed, args.lines)
    results: dict[str, Any] = {}
    for name, indices in chosen.items():
        lines, seconds = record(recorder, sources[name], indices)
        results[name] = measure_set(lines, seconds, recorder)
        print(table({name: results[name]}), flush=True)
    save(args.json, "language", machine, {"model": args.model, "variants": VARIANTS, "sets": results})


def choose_lines(sources: dict[str, Any], seed: int, most: int | None) -> dict[str, list[int]]:
    """Numbers of the lines that `quill lm tune` reports on, evenly thinned out to `most`."""
    sets = {
        name: [(i, TuningLine(source.group(i), "", None)) for i in range(len(source))]  # type: ignore[arg-type]
        for name, source in sources.items()
    }
    halves = halve_all({name: [line for _, line in lines] for name, lines in sets.items()}, np.random.default_rng(seed))
    chosen = {}
    for name, lines in sets.items():
        kept = {id(line) for line in halves[name][1]}
        numbers = [i for i, line in lines if id(line) in kept]
        step = 1 if most is None else max(1, len(numbers) / most)
        chosen[name] = [numbers[int(k * step)] for k in range(int(len(numbers) / step))]
    return chosen


def record(recorder: Recorder, source: Any, indices: Sequence[int]) -> tuple[list[TuningLine], float]:
    """The lines, and processor seconds for one with all its variants, image decoding included."""
    lines = []
    start = time.process_time()
    for i in indices:
        sample = source.sample(i, np.random.default_rng((0, i)))
        lines.append(TuningLine(sample.group, sample.text, recorder(sample.image)))
    return lines, (time.process_time() - start) / len(lines)


def measure_set(lines: Sequence[TuningLine], seconds: float, recorder: Recorder) -> dict[str, Any]:
    """Figures of every combination on one set."""
    info, settings = recorder.info, recorder.info.language
    opener = LanguageOpener(LanguageConfig(("auto",)), info.charset)
    characters = replace(settings, weights=replace(settings.weights, words=0.0))
    records = [line.record for line in lines]
    network = seconds / VARIANTS
    combinations: dict[str, Callable[[], list[Hypothesis]]] = {
        "greedy": lambda: read_again(records, info, None, settings),
        "beam": lambda: read_again([replace(r, views=r.views[:1] * 2) for r in records], info, None, settings, 2),
        "+ characters": lambda: read_again(records, info, opener.choice(characters), characters),
        "+ words": lambda: read_again(records, info, opener.choice(settings), settings),
        "+ words, spelling": lambda: read_again(records, info, opener.choice(settings), settings),
        "voting": lambda: read_again(records, info, None, settings, VARIANTS),
        "+ words, voting": lambda: read_again(records, info, opener.choice(settings), settings, VARIANTS),
    }
    figures: dict[str, Any] = {}
    for name, read in combinations.items():
        start = time.process_time()
        readings = read()
        if "spelling" in name:
            texts = corrected(readings, info, opener.corrector(settings))
        else:
            texts = [h.text.strip() for h in readings]
        spent = (time.process_time() - start) / len(lines)
        whole = spent + (seconds if "voting" in name else network)
        figures[name] = measure(lines, texts, spent, whole)
        if name in ("+ words", "+ words, voting"):
            figures[name]["confidence"] = confidence(report(lines, readings, settings, info, np.random.default_rng(0)))
    return figures


def corrected(readings: Sequence[Hypothesis], info: Any, correct: Any) -> list[str]:
    """Texts with their words corrected, line by line."""
    held: list[Hypothesis] = []
    recognizer = LineRecognizer(lambda _: held, info, correct=correct)
    texts = []
    for reading in readings:
        held[:] = [reading]
        texts.append(recognizer.read([PAPER])[0].text)
    return texts


def measure(lines: Sequence[TuningLine], texts: Sequence[str], decoding: float, whole: float) -> dict[str, Any]:
    scores = [score_line(line.reference, text) for line, text in zip(lines, texts, strict=True)]
    plain = [score_line(line.reference, line.plain) for line in lines]
    counts = {"cer_spacing": [s.cer_spacing for s in scores], "wer_spacing": [s.wer_spacing for s in scores]}
    ci = bootstrap_ci(counts, [line.group for line in lines], np.random.default_rng(0))
    damage = count_damage([line.reference for line in lines], [line.plain for line in lines], texts)
    rates, before = summarise(scores), summarise(plain)
    return {
        "lines": len(lines),
        "cer_spacing": rates["cer_spacing"],
        "wer_spacing": rates["wer_spacing"],
        "ci95": ci,
        "gain": 1 - rates["cer_spacing"] / before["cer_spacing"],
        "words_mended": damage.mended,
        "words_broken": damage.broken,
        "decoding_seconds_per_line": decoding,
        "seconds_per_line": whole,
    }


def confidence(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in ("ece_lines", "ece_words", "read_with_language", "review")}


def table(results: dict[str, Any]) -> str:
    rows = [
        "| lines | reading | CER | WER | fewer errors | words mended : broken | decoding, ms | s/line |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, ways in results.items():
        for way, f in ways.items():
            cells = [
                f"{name} ({f['lines']})" if way == "greedy" else "",
                way,
                f"{percent(f['cer_spacing'])} ({interval(f['ci95']['cer_spacing'])})",
                percent(f["wer_spacing"], 1),
                "" if way == "greedy" else percent(f["gain"], 1),
                "" if way == "greedy" else f"{f['words_mended']} : {f['words_broken']}",
                f"{1000 * f['decoding_seconds_per_line']:.1f}",
                f"{f['seconds_per_line']:.3f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
