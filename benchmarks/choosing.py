"""How often `--model auto` takes the model that reads a page better, as committed in results/choosing.json.

    python benchmarks/choosing.py --root DIR

DIR holds the collections of `accuracy.py` and medieval, in the hub's parquet layout. The validation lines of each
manuscript, writer or text are taken for pages of up to 25 lines, in the order of the collection; all models read them
as `quill read` does, and the choice is made as on a page. Texts as in `accuracy.py`, those of medieval as they are.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import REWRITTEN, SETS
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.metrics import score_line
from quillread.language.catalog import LanguageConfig
from quillread.models.catalog import CANDIDATES
from quillread.recognize.choosing import FIRST_LINES, ChoosingReader
from quillread.recognize.ensemble import LineReader
from quillread.recognize.load import load
from quillread.types import Sample, Transcript, UInt8Image

PAGE_LINES, FEWEST = 25, 4


@dataclass
class Replay:
    """Gives what a model read before."""

    info: Any
    read_before: Mapping[int, Transcript]
    """By the identity of the image."""

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images."""
        return [self.read_before[id(image)] for image in images]


def pages(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Lines that belong together."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    for members in groups.values():
        for start in range(0, len(members), PAGE_LINES):
            if len(part := members[start : start + PAGE_LINES]) >= FEWEST:
                yield part


def count_errors(samples: Sequence[Sample], read: Sequence[Transcript]) -> tuple[int, int]:
    """Edits and characters, with spacing around punctuation ignored."""
    scores = [score_line(sample.text, got.text).cer_spacing for sample, got in zip(samples, read, strict=True)]
    return sum(score.edits for score in scores), sum(score.length for score in scores)


def measure(source: Any, models: Mapping[str, LineReader]) -> dict[str, Any]:
    """Read a collection with all models, choose for each page, and count."""
    samples = [source.sample(i, np.random.default_rng(0)) for i in range(len(source))]
    images = [sample.image for sample in samples]
    known = {
        name: Replay(model.info, dict(zip(map(id, images), model.read(images), strict=True)))
        for name, model in models.items()
    }
    chooser = ChoosingReader(known)
    right = count = length = chosen_edits = best_edits = 0
    taken = dict.fromkeys(models, 0)
    edits = dict.fromkeys(models, 0)
    for page in pages(samples):
        lines = [sample.image for sample in page]
        errors = {name: count_errors(page, replay.read(lines))[0] for name, replay in known.items()}
        name = chooser.choose(lines).name
        taken[name] += 1
        count += 1
        right += errors[name] == min(errors.values())
        chosen_edits += errors[name]
        best_edits += min(errors.values())
        length += count_errors(page, known[name].read(lines))[1]
        for model, wrong in errors.items():
            edits[model] += wrong
    rates = {model: wrong / length for model, wrong in edits.items()}
    rates |= {"auto": chosen_edits / length, "best": best_edits / length}
    return {"pages": count, "right": right, "taken": taken, "cer_spacing": rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/choosing.json"))
    args = parser.parse_args()
    machine = describe_machine()
    language = LanguageConfig(("auto",), only_compact=True)
    models = {name: load(name, language=language) for name in CANDIDATES}
    results = {}
    for name in (*SETS, "medieval"):
        source = open_source(parse_spec(f"hub:{args.root / name}{REWRITTEN.get(name, '')}"), "validation")
        results[name] = found = measure(source, models)
        rates = ", ".join(f"{model} {100 * rate:.1f} %" for model, rate in found["cer_spacing"].items())
        print(f"{name}: {found['right']} of {found['pages']} pages right; CER {rates}", flush=True)
    facts = {"first_lines": FIRST_LINES, "page_lines": PAGE_LINES, "sets": results}
    save(args.json, "choosing", machine, facts)


if __name__ == "__main__":
    main()
