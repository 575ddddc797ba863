"""How the built-in model reads what it was not made for: print, capitals, numbers, other languages.

    python benchmarks/beyond.py --fonts DIR [--lines 200] [--model builtin]

Lines are rendered from the proverbs beside this script, `--lines` a case, in the handwriting fonts of DIR (which are
those that the model was trained with), so only the differences between the cases tell something: English and French, in
which it was trained, are the measure. Print is in the fonts that matplotlib brings; "numbers, dates, signs" has some
random capitals and signs too, as in training. Each language is 16 proverbs, so intervals, which are over fonts, know
nothing of what other texts would give. Greedy, no language model.
Writes benchmarks/results/beyond.json and prints a table; `--sheet FILE` draws the first lines of each case.
"""

import argparse
import re
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from record import describe_machine, save

from quillread.data.fonts import FontLineConfig, FontSource
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.metrics import score_line, summarise
from quillread.evaluate.report_text import interval, percent
from quillread.recognize.load import load
from quillread.types import Sample

PROVERBS = Path(__file__).parent / "proverbs"
LANGUAGES = {
    "en": "English",
    "fr": "French",
    "de": "German",
    "nl": "Dutch",
    "sv": "Swedish",
    "es": "Spanish",
    "pt": "Portuguese",
    "it": "Italian",
}
WORDS = FontLineConfig(words=(4, 8), accents=0.0, symbols=0.0)
SYMBOLS = FontLineConfig(symbols=1.0)
METRICS = ("cer", "wer_spacing")


def cases(fonts: Path, folder: Path) -> dict[str, FontSource]:
    """The sources, by what they show; `folder` takes texts that are made for it."""
    capitals = folder / "capitals.txt"
    capitals.write_text((PROVERBS / "en.txt").read_text("utf-8").upper(), "utf-8")
    printed = folder / "print"
    printed.mkdir()
    for path in (Path(matplotlib.get_data_path()) / "fonts/ttf").glob("*.ttf"):
        if re.match(r"DejaVu(Sans|Serif)(Mono)?(-|\.)|STIXGeneral", path.name):  # the others are of signs
            (printed / path.name).symlink_to(path)
    return {
        **{name: FontSource(fonts, [PROVERBS / f"{code}.txt"], WORDS) for code, name in LANGUAGES.items()},
        "English in capitals": FontSource(fonts, [capitals], WORDS),
        "numbers, dates, signs": FontSource(fonts, [PROVERBS / "en.txt"], SYMBOLS),
        "English in print": FontSource(printed, [PROVERBS / "en.txt"], WORDS),
        "French in print": FontSource(printed, [PROVERBS / "fr.txt"], WORDS),
    }


def lines_of(source: FontSource, count: int) -> list[Sample]:
    return [source.sample(i, np.random.default_rng((0, i))) for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/beyond.json"))
    parser.add_argument("--sheet", type=Path, help="a picture of some lines")
    args = parser.parse_args()
    machine = describe_machine()
    recognizer = load(args.model)
    results = {}
    shown = []
    print("| lines | CER | WER, spacing ignored |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, source in cases(args.fonts, Path(folder)).items():
            samples = lines_of(source, args.lines)
            read = recognizer.read([sample.image for sample in samples])
            scores = [score_line(s.text, t.text) for s, t in zip(samples, read, strict=True)]
            counts = {metric: [getattr(score, metric) for score in scores] for metric in METRICS}
            ci95 = bootstrap_ci(counts, [sample.group for sample in samples], np.random.default_rng(0))
            rates = summarise(scores)
            results[name] = {"lines": len(samples)} | {m: {"rate": rates[m], "ci95": ci95[m]} for m in METRICS}
            print(
                f"| {name} | " + " | ".join(f"{percent(rates[m], 1)} ({interval(ci95[m], 1)})" for m in METRICS) + " |"
            )
            shown += samples[:2]
    save(args.json, "beyond", machine, {"lines": args.lines, "cases": results})
    if args.sheet:
        draw(shown).save(args.sheet)


def draw(samples: list[Sample]) -> Image.Image:
    sheet = Image.new("L", (1000, 60 * len(samples)), 255)
    for i, sample in enumerate(samples):
        picture = Image.fromarray(sample.image).convert("L")
        picture.thumbnail((980, 52))
        sheet.paste(picture, (10, 60 * i + 4))
    return sheet


if __name__ == "__main__":
    main()
