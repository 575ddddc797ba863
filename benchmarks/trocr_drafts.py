"""How many passes of TrOCR's decoder a line takes with a reading of the built-in model as its draft, on real lines.

    python benchmarks/trocr_drafts.py --root DIR --tokenizers FOLDER --json benchmarks/results/trocr_drafts.json

The published weights were not at hand, but what they would write is nearly what the lines say: here a decoder that
writes a text that is known stands in their place, and the search of quill follows drafts before it, token by token.
Three texts: the reference; the reference with other letters at random places (a CER of 3.4 %, that of trocr-base on
IAM); what the model `open` with its language reads, which errs by itself. Drafts are the built-in model's best classes,
or what it reads with the languages that ship, as `quill` does it. Tokens are those of trocr-base and trocr-small.
Nothing is timed here: `trocr_export.py` has the time of a pass.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from record import describe_machine, save
from tokenizers import Tokenizer

from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.metrics import score_line
from quillread.reader import Reader
from quillread.recognize.trocr.bench import Task
from quillread.recognize.trocr.drafts import Draft
from quillread.recognize.trocr.greedy import Greedy
from quillread.recognize.trocr.search import SearchConfig
from quillread.text.tokenizer import load_tokenizer

SETS = ("iam-line", "copiste", "timeus", "hooker")
NO_PIXELS = np.zeros((3, 0, 0), np.uint8)
"""Nobody looks at the image."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_CER = 0.0342
"""Of trocr-base on IAM, as published."""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="holds the data sets")
    parser.add_argument("--tokenizers", type=Path, required=True, help="holds trocr-base and trocr-small")
    parser.add_argument("--lines", type=int, metavar="N", help="of each set, evenly spread (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    machine = describe_machine()
    results: dict[str, Any] = {}
    for name in SETS:
        source = open_source(parse_spec(f"hub:{args.root / name}"), "validation")
        count = min(args.lines or len(source), len(source))
        chosen = np.linspace(0, len(source) - 1, count).round().astype(int).tolist()
        results[name] = measure(source, chosen, args.tokenizers)
        show(name, results[name])
    if args.json:
        save(args.json, "trocr_drafts", machine, {"split": "validation", "sets": results})


def measure(source: Source, chosen: Sequence[int], tokenizers: Path) -> dict[str, Any]:
    """Follow the drafts of some lines before each of the three texts."""
    truth = [source.text(i) for i in chosen]
    drafts = {
        "best classes": read(source, chosen, "builtin", ("none",)),
        "with languages": read(source, chosen, "builtin"),
    }
    texts = {
        "the reference": truth,
        "the reference, other letters at random": spoilt(truth),
        "open with its language": read(source, chosen, "open"),
    }
    known = {kind: load_tokenizer(tokenizers / kind)._tokenizer for kind in ("trocr-base", "trocr-small")}
    return {
        "lines": len(truth),
        "draft_cer": {kind: cer(truth, draft) for kind, draft in drafts.items()},
        "texts": {
            name: {"cer": cer(truth, written)}
            | {
                f"{kind}, {draft}": follow(tokenizer, written, drafts[draft])
                for kind, tokenizer in known.items()
                for draft in drafts
            }
            for name, written in texts.items()
        },
    }


def show(name: str, found: dict[str, Any]) -> None:
    """Print the figures of a set."""
    print(f"{name}: {found['lines']} lines, CER of drafts {found['draft_cer']}")
    for text, figures in found["texts"].items():
        print(f"  {text} (CER {100 * figures['cer']:.1f} %)")
        for kind, counts in list(figures.items())[1:]:
            print(f"    {kind}:", *(f"{key} {value}" for key, value in counts.items()))


def read(source: Source, chosen: Sequence[int], model: str, lm: tuple[str, ...] | None = None) -> list[str]:
    """Read lines with a model."""
    images = (source.sample(int(i), np.random.default_rng(0)).image for i in chosen)
    with Reader(model=model, threads=1, **({} if lm is None else {"lm": lm})) as reader:
        return [line.text for line in reader.read_lines(list(images))]


def spoilt(texts: Sequence[str]) -> list[str]:
    """Texts with other letters at random places, as many as TrOCR gets wrong."""
    rng = np.random.default_rng(1)
    return [
        "".join(_LETTERS[rng.integers(26)] if c.isalpha() and rng.random() < _CER * 1.25 else c for c in text)
        for text in texts
    ]


def cer(truth: Sequence[str], read: Sequence[str]) -> float:
    """Share of wrong characters, spacing around punctuation ignored."""
    scores = [score_line(t, r).cer_spacing for t, r in zip(truth, read, strict=True)]
    return round(sum(s.edits for s in scores) / sum(s.length for s in scores), 4)


class Known:
    """A decoder that writes a text that is known; in place of a `Bench`, whose caches nobody asks for."""

    def __init__(self, tokens: Sequence[int], end: int, vocabulary: int) -> None:
        self._tokens = [*tokens, end]
        self._vocabulary = vocabulary
        self.passes = 0

    def look(self, known: int, new: Sequence[int]) -> Any:
        """What it says after each of the new tokens, `known` tokens being settled before them."""
        self.passes += 1
        log_probs = np.full((1, len(new), self._vocabulary), -30.0, np.float32)
        for i in range(len(new)):
            log_probs[0, i, self._tokens[min(known + i, len(self._tokens) - 1)]] = 0.0
        return SimpleNamespace(log_probs=log_probs, attention=np.zeros((1, 1, len(new), 1), np.float32))

    def keep(self, row: int, found: Any, count: int) -> None:
        """Nothing is kept."""


def follow(tokenizer: Tokenizer, texts: Sequence[str], drafts: Sequence[str]) -> dict[str, float]:
    """Write each text after its draft; count tokens and passes."""
    end, vocabulary = tokenizer.token_to_id("</s>"), tokenizer.get_vocab_size()
    tokens = passes = from_draft = 0
    each = []
    for text, draft in zip(texts, drafts, strict=True):
        wanted = tokenizer.encode(text, add_special_tokens=False).ids
        known = Known(wanted, end, vocabulary)
        config = SearchConfig(1, 511, end, (end,), 1.0, False, 0)
        search = Greedy(Task(0, NO_PIXELS, Draft(draft, tokenizer) if draft else None), config)
        while not search.is_done:
            (new,) = search.new()
            search.hear(known.look(len(search._tokens), new), 0, known)  # type: ignore[arg-type]
        if search._tokens != wanted:
            raise SystemExit(f"another text was written: {tokenizer.decode(search._tokens)!r}, not {text!r}")
        tokens += len(wanted) + 1
        passes += known.passes
        from_draft += len(wanted) + 1 - known.passes
        each.append(known.passes)
    return {
        "tokens_a_line": round(tokens / len(texts), 2),
        "passes_a_line": round(passes / len(texts), 2),
        "passes_of_nine_in_ten_at_most": int(np.percentile(each, 90)),
        "in_one_pass": round(float(np.mean(np.array(each) == 1)), 3),
        "tokens_from_drafts": round(from_draft / tokens, 3),
    }


if __name__ == "__main__":
    main()
