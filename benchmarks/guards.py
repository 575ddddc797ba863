"""Do the guards of TrOCR's reading leave good lines alone: lines read with them and without.

python benchmarks/guards.py --model MODEL --data SPEC --json benchmarks/results/guards.json
"""

import argparse
from pathlib import Path

import numpy as np
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.models.trocr.settings import GenerateChanges
from quillread.recognize.load import load


def main() -> None:
    """Read all lines twice and count what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a TrOCR model that reads many of the lines right")
    parser.add_argument("--data", required=True, metavar="SPEC")
    parser.add_argument("--split", default="train")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    machine = describe_machine()
    source = open_source(parse_spec(arguments.data), arguments.split)
    samples = [source.sample(i, np.random.default_rng(0)) for i in range(len(source))]
    images = [sample.image for sample in samples]
    plain = load(arguments.model, generate=GenerateChanges()).read(images)
    right = [i for i, sample in enumerate(samples) if plain[i].text == sample.text.strip()]
    results = {"lines": len(samples), "right": len(right)}
    for name, settings in (
        ("guard_repeats", GenerateChanges(guard_repeats=True)),
        ("guard_tail", GenerateChanges(guard_tail=True)),
    ):
        guarded = load(arguments.model, generate=settings).read(images)
        changed = {i for i in range(len(samples)) if guarded[i].text != plain[i].text}
        results[name] = {"changed": len(changed), "right_and_changed": len(changed & set(right))}
    print(results)
    if arguments.json:
        save(arguments.json, "guards", machine, results)


if __name__ == "__main__":
    main()
