"""Reads line images with an exported TrOCR model, without torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from quillread.images.fit import CanvasConfig
from quillread.models.trocr.onnx_network import OnnxTrocr
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr.backend import LinePicture, Written
from quillread.recognize.trocr.beams import Beams
from quillread.recognize.trocr.bench import Bench, Task, Writer, write_lines
from quillread.recognize.trocr.drafts import Draft
from quillread.recognize.trocr.greedy import Greedy
from quillread.recognize.trocr.search import SearchConfig
from quillread.types import UInt8Image

_SEEN = 240e6
"""Bytes that may be taken by what is seen in the lines that are written at the same time."""
_MOST_LINES = 8
_AT_ONCE = 8
"""Lines that are drafted at once."""

Drafter = Callable[[Sequence[UInt8Image]], list[str]]
"""Reads line images, uint8 RGB (H, W, 3) each."""


class ExportedTrocr:
    """A `TrocrBackend`.

    Args:
        network: What is exported.
        config: How text is generated, where that differs from the settings of the model.
        drafter: Reads each line before; greedy search follows what it read as far as it agrees, so that the text is the
            same and comes sooner.
    """

    def __init__(self, network: OnnxTrocr, config: GenerateConfig, drafter: Drafter | None = None) -> None:
        facts = network.facts
        self.canvas = CanvasConfig(facts.height, facts.width)
        self._network = network
        self._config = config
        self._drafter = drafter

    def write(self, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        """Read lines; see `TrocrBackend`."""
        search = self._search(readings)
        tasks = self._tasks(iter(lines), drafts=search.beams == 1)
        first = next(tasks, None)
        if first is None:
            return []
        room = max(1, min(_MOST_LINES, int(_SEEN // sum(each.nbytes for each in first.seen))))
        bench = Bench(self._network, room, search.beams, search.max_tokens + 1)

        def sit(task: Task) -> Writer:
            return Greedy(task, search) if search.beams == 1 else Beams(task, search, readings)

        done = write_lines(bench, chain([first], tasks), sit)
        found = {task.number: task.texts for task in done}
        return [found[number] for number in range(len(found))]

    def spell(self, texts: Sequence[Sequence[int]]) -> list[str]:
        """Turn tokens into characters."""
        spelt: list[str] = self._network.tokenizer.decode_batch(
            [list(text) for text in texts], skip_special_tokens=True
        )
        return spelt

    def _search(self, readings: int) -> SearchConfig:
        facts, config = self._network.facts, self._config
        beams = config.beams or facts.beams
        return SearchConfig(
            beams=max(beams, readings),
            max_tokens=min(config.max_tokens or facts.max_tokens, facts.positions - 1),
            start=facts.start,
            ends=facts.ends,
            length_penalty=facts.length_penalty if config.length_penalty is None else config.length_penalty,
            early_stopping=facts.early_stopping,
            no_repeat_ngram=facts.no_repeat_ngram
            if config.no_repeat_ngram_size is None
            else config.no_repeat_ngram_size,
        )

    def _tasks(self, lines: Iterator[LinePicture], *, drafts: bool) -> Iterator[Task]:
        number = 0
        while part := list(islice(lines, _AT_ONCE)):
            texts = self._drafter([line.image for line in part]) if drafts and self._drafter else [None] * len(part)
            for line, text in zip(part, texts, strict=True):
                draft = Draft(text, self._network.tokenizer) if text else None
                yield Task(number, self._network.look(self._network.pixels(line.padded)), draft)
                number += 1
