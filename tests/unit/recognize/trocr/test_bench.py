"""What is kept of lines that are written side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exports import IMAGES, lively_of, same, write_export
from fakes import write_trocr

from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.onnx_folder import TrocrFacts
from quillread.models.trocr.onnx_network import Cache, Next, OnnxTrocr
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr import onnx_backend
from quillread.recognize.trocr.backend import LinePicture
from quillread.recognize.trocr.bench import Bench, bytes_of_line
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.onnx_backend import ExportedTrocr

FACTS = TrocrFacts(
    weights="float32", height=32, width=32, resample=2, layers=2, heads=2, head_width=3, positions=500, vocabulary=9,
    start=0, ends=(0,),
)  # fmt: skip


class Silent:
    """A network that notes what it is told of known tokens."""

    facts = FACTS

    def __init__(self) -> None:
        self.past: Cache = []
        self.seen: Cache = []

    def make_room(self, lines: int) -> Cache:
        return [np.empty((lines, 2, 3, 5), np.float32) for _ in range(4)]

    def look(self, pixels: Any, seen: Cache, at: int) -> None:
        for room, new in zip(seen, pixels, strict=True):
            room[at] = new

    def step(self, tokens: Any, places: Any, mask: Any, past: Cache, seen: Cache) -> Next:
        self.past, self.seen = past, seen
        return Next(np.zeros((0, 0, 0), np.float32), np.zeros((0, 0, 0, 0), np.float32), [])


def size_of(bench: Bench) -> int:
    return sum(past.nbytes for past in bench._past)


def test_room_grows_with_the_texts_and_loses_nothing_of_them():
    network, draws = Silent(), np.random.default_rng(0)
    bench = Bench(network, 2, 2, network.make_room(2))  # type: ignore[arg-type]
    kept: list[list[Cache]] = [[], [], [], []]
    for step in range(150):
        new = [draws.standard_normal((4, 2, 1, 3), dtype=np.float32) for _ in range(4)]
        for row in range(4):
            bench.keep(row, Next(np.empty(0), np.empty(0), new), 1)  # type: ignore[arg-type]
            kept[row].append([each[row] for each in new])
        if step == 0:
            assert size_of(bench) <= 2 * bytes_of_line(FACTS, 2, 64)
    assert size_of(bench) < 2 * bytes_of_line(FACTS, 2, 150 + 64)
    bench.run(2, [[1]] * 4)
    for i, past in enumerate(network.past):
        wanted = np.stack([np.concatenate([each[i] for each in row], axis=1) for row in kept])
        assert np.array_equal(past, wanted)


def test_a_line_that_takes_the_place_of_another_is_seen_there():
    network, draws = Silent(), np.random.default_rng(0)
    bench = Bench(network, 3, 1, network.make_room(4))  # type: ignore[arg-type]
    lines = [[draws.standard_normal((2, 3, 5), dtype=np.float32) for _ in range(4)] for _ in range(4)]
    for at, line in ((0, 0), (1, 1), (2, 2), (0, 3)):
        bench.place(at, lines[line])  # type: ignore[arg-type]
    bench.run(2, [[1], [1]])
    wanted = [np.stack(pair) for pair in zip(lines[3], lines[1], strict=True)]
    assert all(np.array_equal(found, each) for found, each in zip(network.seen, wanted, strict=True))


def test_the_network_writes_what_it_sees_where_it_is_told(tmp_path: Path):
    network = OnnxTrocr(write_export(lively_of(write_trocr(tmp_path / "trocr")), tmp_path / "export"), 1)
    lines = [network.pixels(image) for image in IMAGES[:2]]
    both, alone = network.make_room(3), network.make_room(1)
    for each in both:
        each.fill(7)
    for at, line in ((2, lines[0]), (0, lines[1])):
        network.look(line, both, at)
        network.look(line, alone)
        assert all(np.array_equal(seen[at], one[0]) for seen, one in zip(both, alone, strict=True))
    assert not np.array_equal(both[0][0], both[0][2])
    assert all((each[1] == 7).all() for each in both)


def test_calls_leave_each_other_their_room_and_share_none_while_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    network, made = OnnxTrocr(write_export(lively_of(write_trocr(tmp_path / "trocr")), tmp_path / "export"), 1), []
    make = network.make_room
    monkeypatch.setattr(network, "make_room", lambda lines: made.append(make(lines)) or made[-1])
    pictures = [LinePicture(image, image) for image in IMAGES]
    config = GenerateConfig(max_tokens=12)
    wanted = [[text.tokens for text in line] for line in ExportedTrocr(network, config).write(pictures, 1)]
    assert len({tuple(tokens) for (tokens,) in wanted}) > 1
    made.clear()
    backend, inner = ExportedTrocr(network, config), []

    def interrupted() -> Iterator[LinePicture]:
        yield from pictures[:9]  # the first of them are being written when the next is asked for
        inner.extend(backend.write(pictures, 1))
        yield pictures[9]

    outer = backend.write(interrupted(), 1)
    assert len(made) == 2
    for found in (outer, inner, backend.write(pictures, 1)):
        assert [[text.tokens for text in line] for line in found] == wanted
    assert len(made) == 2


@pytest.mark.parametrize("lines", [1, 2, 8])
def test_lines_with_many_beams_are_written_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int):
    network = OnnxTrocr(write_export(lively_of(write_trocr(tmp_path / "trocr")), tmp_path / "export"), 1)
    config = GenerateConfig(beams=3, max_tokens=70)
    engine = TrocrEngine(ExportedTrocr(network, config), ModelInfo("trocr", "tiny", generate=config))
    plain, made = engine(IMAGES), []

    class Noted(Bench):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self.lines)

    monkeypatch.setattr(onnx_backend, "Bench", Noted)
    monkeypatch.setattr(onnx_backend, "_KNOWN", (lines + 0.5) * bytes_of_line(network.facts, 3, 71))
    same(engine(IMAGES), plain)
    assert made == [lines]
