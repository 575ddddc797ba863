"""Error rates of a model on the validation splits, as committed in results/accuracy.json and docs/accuracy.md.

    python benchmarks/accuracy.py --root DIR [--model builtin] [--failures docs/images] [--predictions FOLDER]
    python benchmarks/accuracy.py --root DIR --model medieval --set medieval --json FILE

DIR holds iam-line, copiste, timeus, poilus, hooker, lettres, registres in the hub's parquet layout, or the sets that
are named. Greedy, one pass, no language model. Texts of lettres and registres are written as those of the other sets:
no sign for superscripts, no long s.
Prints the rates, then those by writer or document, by length, by kind of character, and the confusions.
`--predictions` keeps what was read, one file a set, for `quill compare`.
"""

import argparse
import json
import unicodedata
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.breakdown import cer_by_length, confusions
from quillread.evaluate.metrics import score_line
from quillread.evaluate.predictions import Prediction, write_predictions
from quillread.evaluate.report import EvaluationRun, evaluation_summary, run_evaluation
from quillread.evaluate.report_text import interval, percent
from quillread.reader import Reader
from quillread.text.align import align

SETS = {
    "iam-line": "IAM, modern English",
    "copiste": "Copiste, modern French",
    "timeus": "Time Us, French 1858-78",
    "poilus": "Poilus, French 1914-18",
    "hooker": "Hooker, English 1850-1911",
    "lettres": "Lettres, French 17th to 19th century, new manuscripts",
    "registres": "Registres, French notaries 1742-1939, new pages",
}
MEDIEVAL = {"medieval": "Medieval, 9th to 16th century, new manuscripts"}
REWRITTEN = {"lettres": "?replace=^:&replace=ſ:s", "registres": "?replace=^:&replace=ſ:s"}
SHOWN = ("copiste", "timeus")
"""Sets whose licence (CC-BY) allows pictures of their lines in the documentation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--set", action="append", choices=(*SETS, *MEDIEVAL), help="default: all but medieval")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/accuracy.json"))
    parser.add_argument("--failures", type=Path, help="folder for a picture of the worst lines of the CC-BY sets")
    parser.add_argument("--predictions", type=Path, help="folder for what was read")
    args = parser.parse_args()
    reader = Reader(model=args.model, lm=("none",), lines=True)
    results = {}
    worst: list[tuple[Prediction, np.ndarray]] = []
    for name in args.set or SETS:
        run = run_evaluation(
            reader, open_source(parse_spec(f"hub:{args.root / name}{REWRITTEN.get(name, '')}"), "validation")
        )
        if run.faults:
            raise SystemExit("\n".join(run.faults))
        summary = evaluation_summary(
            run.rows,
            model=args.model,
            data=name,
            split="validation",
            seconds_per_line=None,
            rng=np.random.default_rng(0),
        )
        results[name] = {
            **summary,
            "by_group": groups(run.rows),
            "by_length": [asdict(b) for b in cer_by_length([score_line(r.reference, r.text) for r in run.rows])],
            "by_character": by_character(run.rows),
            "confusions": {kind: found[:10] for kind, found in asdict(confusions(run.rows)).items()},
        }
        if args.predictions:
            write_predictions(args.predictions / f"{name}.jsonl", run.rows)
        if name in SHOWN:
            worst.extend(worst_lines(run, 5))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for part in (table, group_table, length_table, character_table, confusion_table):
        print(part(results), end="\n\n")
    if args.failures:
        args.failures.mkdir(parents=True, exist_ok=True)
        draw(worst).save(args.failures / "worst-lines.png", optimize=True)


def groups(rows: list[Prediction]) -> dict[str, float]:
    """CER (spacing ignored) of the best, median and worst writer or document with at least 5 lines."""
    by: dict[str, list[Prediction]] = {}
    for row in rows:
        by.setdefault(row.group, []).append(row)
    rates = []
    for members in by.values():
        if len(members) >= 5:
            scores = [score_line(r.reference, r.text).cer_spacing for r in members]
            rates.append(sum(s.edits for s in scores) / max(1, sum(s.length for s in scores)))
    if not rates:
        return {}
    return {"best": min(rates), "median": float(np.median(rates)), "worst": max(rates), "groups": len(rates)}


def by_character(rows: list[Prediction]) -> dict[str, dict[str, float]]:
    """For each kind of character: how many were written, and the share that was not read as what it is."""
    written: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in rows:
        for character, read in align(row.reference, row.text):
            if character:
                written[kind(character)] += 1
                wrong[kind(character)] += character != read
    return {name: {"written": count, "wrong": wrong[name] / count} for name, count in written.most_common()}


def kind(character: str) -> str:
    if character.isspace():
        return "spaces"
    if character.isdigit():
        return "digits"
    if not character.isalpha():
        return "punctuation"
    if unicodedata.decomposition(character) or character in "œæŒÆ":
        return "accented letters"
    return "capitals" if character.isupper() else "small letters"


def table(results: dict[str, dict]) -> str:
    head = "| lines | number | CER | CER, spacing ignored | WER, spacing ignored | exact lines | worst group |\n"
    rows = []
    for name, r in results.items():
        worst = percent(r["by_group"].get("worst"), 1) if r["by_group"] else "-"
        cells = [
            f"{(SETS | MEDIEVAL)[name]} ({name})",
            str(r["lines"]),
            percent(r["cer"], 1),
            f"**{percent(r['cer_spacing'], 1)}** ({interval(r['ci95']['cer_spacing'], 1)})",
            f"{percent(r['wer_spacing'], 1)} ({interval(r['ci95']['wer_spacing'], 1)})",
            percent(r["exact_lines"], 1),
            worst,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return head + "|---|---|---|---|---|---|---|\n" + "\n".join(rows)


def group_table(results: dict[str, dict]) -> str:
    rows = ["| CER by writer or document | number | best | median | worst |", "|---|---|---|---|---|"]
    for name, r in results.items():
        if g := r["by_group"]:
            rates = " | ".join(percent(g[key], 1) for key in ("best", "median", "worst"))
            rows.append(f"| {name} | {g['groups']} | {rates} |")
    return "\n".join(rows)


def length_table(results: dict[str, dict]) -> str:
    """CER by length; classes with fewer than 10 lines are skipped."""
    labels = list(dict.fromkeys(b["label"] for r in results.values() for b in r["by_length"]))
    labels.sort(key=lambda label: int(label.rstrip("+").partition("–")[0]))
    rows = ["| CER by length, characters | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
    for name, r in results.items():
        found = {b["label"]: b for b in r["by_length"] if b["lines"] >= 10}
        cells = [f"{percent(found[k]['cer'], 1)} ({found[k]['lines']})" if k in found else "" for k in labels]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def character_table(results: dict[str, dict]) -> str:
    """Share not read right by kind of character; kinds written fewer than 50 times are skipped."""
    kinds = ("small letters", "accented letters", "capitals", "digits", "punctuation", "spaces")
    rows = ["| not read right | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name, r in results.items():
        found = {k: v for k, v in r["by_character"].items() if v["written"] >= 50}
        cells = [f"{percent(found[k]['wrong'], 1)} of {found[k]['written']:,}" if k in found else "" for k in kinds]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def confusion_table(results: dict[str, dict]) -> str:
    rows = ["| most frequent | taken for another | skipped | put in |", "|---|---|---|---|"]
    for name, r in results.items():
        c = r["confusions"]
        cells = [
            ", ".join(f"{x['reference']} → {x['read']} ({x['count']})" for x in c["substitutions"][:8]),
            ", ".join(f"{visible(x['reference'])} ({x['count']})" for x in c["deletions"][:6]),
            ", ".join(f"{visible(x['read'])} ({x['count']})" for x in c["insertions"][:6]),
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def visible(character: str) -> str:
    return "space" if character == " " else character


def worst_lines(run: EvaluationRun, count: int) -> list[tuple[Prediction, np.ndarray]]:
    """The lines with the highest error rate, at most one of a group, in order of the rate."""
    rated = sorted(run.rows, key=lambda r: -score_line(r.reference, r.text).cer_spacing.rate)
    chosen: dict[str, Prediction] = {}
    for row in rated:
        chosen.setdefault(row.group, row)
    return [(row, run.image_of(row.id)) for row in list(chosen.values())[:count]]


def draw(lines: list[tuple[Prediction, np.ndarray]]) -> Image.Image:
    """A picture of lines, each with what is written and what was read."""
    from matplotlib import font_manager  # its font has all the accents

    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 15)
    sheet = Image.new("L", (1000, 112 * len(lines)), 255)
    pen = ImageDraw.Draw(sheet)
    for i, (row, pixels) in enumerate(lines):
        picture = Image.fromarray(pixels).convert("L")
        picture.thumbnail((980, 56))
        sheet.paste(picture, (10, 112 * i + 6))
        pen.text((10, 112 * i + 64), f"written: {row.reference}", font=font, fill=0)
        pen.text((10, 112 * i + 84), f"read: {row.text}", font=font, fill=90)
    return sheet


if __name__ == "__main__":
    main()
