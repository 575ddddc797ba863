"""Reads line images with an exported TrOCR model, without torch."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from quillread.errors import QuillreadError
from quillread.images.fit import CanvasConfig
from quillread.models.trocr.onnx_network import Cache, OnnxTrocr
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr.backend import LinePicture, Written
from quillread.recognize.trocr.beams import Beams
from quillread.recognize.trocr.bench import Bench, Task, Writer, bytes_of_line, write_lines
from quillread.recognize.trocr.drafts import Draft
from quillread.recognize.trocr.greedy import Greedy
from quillread.recognize.trocr.search import SearchConfig
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_SEEN = 120e6
"""Bytes that may be taken by what is seen in the lines that are written at the same time."""
_KNOWN = 5e8
"""Bytes that may be taken by what is known of their texts if all become as long as they may. With four beams of 512
tokens in TrOCR-base as many lines fit into it as into `_SEEN`."""
_MOST_LINES = 8
_AT_ONCE = 8
"""Lines that are drafted at once."""

_CLEANED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
"""What transformers 5.23 replaces one after the other, in `PreTrainedTokenizerBase.clean_up_tokenization`."""

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
        self._is_told = False
        seen = bytes_of_line(facts, 1, network.states)
        self._places = max(1, min(_MOST_LINES, int(_SEEN // seen)))
        self._rooms: deque[Cache] = deque()
        """Of calls that are over, for the next: a new one costs up to a third of the time of a look at an image."""

    def write(self, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        """Read lines; see `TrocrBackend`."""
        search = self._search(readings)
        tasks = self._tasks(iter(lines), drafts=search.beams == 1)
        longest = bytes_of_line(self._network.facts, search.beams, search.max_tokens + 1)
        room = self._take_room()
        bench = Bench(self._network, max(1, min(self._places, int(_KNOWN // longest))), search.beams, room)

        def sit(task: Task) -> Writer:
            return Greedy(task, search) if search.beams == 1 else Beams(task, search, readings)

        done = write_lines(bench, tasks, sit)
        found = {task.number: task.texts for task in done}
        self._rooms.append(room)
        return [found[number] for number in range(len(found))]

    def _take_room(self) -> Cache:
        try:
            return self._rooms.pop()
        except IndexError:  # the first call, or others are running
            return self._network.make_room(self._places)

    def spell(self, texts: Sequence[Sequence[int]]) -> list[str]:
        """Turn tokens into characters."""
        spelt: list[str] = self._network.tokenizer.decode_batch(
            [list(text) for text in texts], skip_special_tokens=True
        )
        return [_clean_spaces(text) for text in spelt] if self._network.facts.cleans_spaces else spelt

    def _search(self, readings: int) -> SearchConfig:
        facts, config = self._network.facts, self._config
        return SearchConfig(
            beams=config.count_beams(facts.beams, readings),
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
            texts = self._read_before([line.image for line in part]) if drafts else [""] * len(part)
            for line, text in zip(part, texts, strict=True):
                draft = Draft(text, self._network.tokenizer) if text else None
                yield Task(number, self._network.pixels(line.padded), draft)
                number += 1

    def _read_before(self, images: Sequence[UInt8Image]) -> list[str]:
        """Drafts of lines; empty where there are none."""
        if self._drafter is None:
            return [""] * len(images)
        try:
            return self._drafter(images)
        except QuillreadError as error:  # the lines can be read without
            if not self._is_told:
                log.warning("lines are read without drafts, more slowly: %s", error)
            self._is_told = True
            return [""] * len(images)


def _clean_spaces(text: str) -> str:
    for found, replacement in _CLEANED:
        text = text.replace(found, replacement)
    return text
