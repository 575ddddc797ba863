r"""Draw the validation error of runs that go on from each other, over the lines that they saw.

    python benchmarks/curve.py --batch 128 48 32 32 32 --output docs/images/builtin-curve.png \
      benchmarks/results/builtin-training.jsonl benchmarks/results/builtin-training-[2345].jsonl

Each file is the `metrics.jsonl` of a run folder. Where the curve of a run ends and that of the next begins, the figures
may differ a little, as runs may look at other validation lines.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """Read the runs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, nargs="+", required=True, help="lines a step, of each run")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(9, 4.5))
    colours: dict[str, str] = {}
    seen = 0
    for number, (path, batch) in enumerate(zip(arguments.runs, arguments.batch, strict=True), 1):
        entries = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        axes.axvline(seen / 1e3, color="0.8", linewidth=1)
        label = f" run {number}" if number == 1 else f" {number}"  # short runs leave no room for more
        axes.annotate(label, (seen / 1e3, 0.97), xycoords=("data", "axes fraction"), va="top", color="0.4")
        for key in dict.fromkeys(key for entry in entries for key in entry if key.endswith("cer_spacing")):
            name = key.removeprefix("eval_").removesuffix("cer_spacing").strip("_").replace("_", "-") or "all"
            points = [((seen + entry["step"] * batch) / 1e3, 100 * entry[key]) for entry in entries if key in entry]
            label = None if name in colours else name
            (line,) = axes.plot(*zip(*points, strict=True), marker=".", color=colours.get(name), label=label)
            colours[name] = line.get_color()
        seen += max(entry["step"] for entry in entries) * batch
    axes.set(xlabel="lines seen, thousands", ylabel="CER of some validation lines, spacing ignored, %", ylim=(0, None))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=100)


if __name__ == "__main__":
    main()
