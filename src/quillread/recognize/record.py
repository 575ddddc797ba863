"""What a network says of lines, kept so that readings of it can be tried in many ways."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quillread.decode.ctc import LogProbs, greedy
from quillread.decode.hypothesis import Hypothesis, compose
from quillread.language.choice import LanguageChoice, LanguageSettings
from quillread.language.decoder import LanguageDecoder, LanguageRescorer
from quillread.models.catalog import describe
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.onnx_folder import is_exported
from quillread.recognize.load import load_compact, load_exported, load_trocr
from quillread.recognize.recognizer import LineRecognizer
from quillread.text.charset import Charset
from quillread.types import UInt8Image


@dataclass(frozen=True, slots=True)
class Record:
    """What a network said of one line."""

    views: tuple[LogProbs, ...]
    """Columns of a compact network, (T, classes): those of the line, then those of its variants."""
    readings: tuple[Hypothesis, ...]
    """Of TrOCR, the favourite of its search first; of a compact network the greedy one alone."""


class Recorder:
    """Runs a model over lines and keeps what it says.

    Args:
        name: Name or folder of the model.
        threads: CPU threads; 0 for all cores.
        variants: How many ways a compact network looks at each line.

    Raises:
        ModelError: If there is no such model, or it is damaged.
    """

    def __init__(self, name: str, threads: int = 0, variants: int = 1) -> None:
        entry = describe(name)
        self.info: ModelInfo = entry.info
        self._kept: list[Record] = []
        if entry.info.family == "compact":
            self._charset = Charset(entry.info.charset)
            engine = load_compact(entry, threads, self._keep_columns, variants)
        else:
            # One record a line: rows and parts would be read by themselves.
            whole = replace(entry.info.generate, rows="ignore", split_long=None)
            entry = replace(entry, info=replace(entry.info, generate=whole))
            engine = (
                load_exported(entry, threads, self._keep_readings)
                if is_exported(entry.folder)
                else load_trocr(entry, threads, self._keep_readings)
            )
        self._recognizer = LineRecognizer(engine, entry.info)

    def __call__(self, image: UInt8Image) -> Record:
        """Keep what the network says of a line image, uint8 RGB (H, W, 3)."""
        self._kept.clear()
        self._recognizer.read([image])
        return self._kept[0]

    def _keep_columns(self, views: Sequence[LogProbs]) -> Hypothesis:
        reading = greedy(views[0], self._charset)
        # Half precision: less than a thousandth is lost, and validation sets fit into memory.
        self._kept.append(Record(tuple(view.astype(np.float16) for view in views), (compose(reading),)))
        return reading

    def _keep_readings(self, readings: Sequence[Hypothesis]) -> list[Hypothesis]:
        self._kept.append(Record((), tuple(map(compose, readings))))
        return list(readings)


def read_again(
    records: Sequence[Record],
    info: ModelInfo,
    choice: LanguageChoice | None,
    settings: LanguageSettings,
    variants: int = 1,
) -> list[Hypothesis]:
    """Read recorded lines with a language or without; positions in columns or pixels, as recorded.

    Args:
        records: The lines.
        info: Of the model.
        choice: The languages; None for none.
        settings: How they are used.
        variants: How many of the recorded views vote.
    """
    decoder = LanguageDecoder(Charset(info.charset), choice, settings.beam)
    rank = LanguageRescorer(choice) if choice else list
    return [
        compose(decoder([view.astype(np.float32) for view in record.views[:variants]]))
        if record.views
        else rank(record.readings)[0]
        for record in records
    ]
