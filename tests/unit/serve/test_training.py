import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from serve_lessons import TEXTS, add_lesson, add_tiny_model
from sqlalchemy import select

from quillread.data.source import fixed_sample
from quillread.data.spec import DataSpec, open_source
from quillread.errors import TrainingError, UsageError
from quillread.evaluate.predictions import Prediction
from quillread.images.crop import CropConfig
from quillread.models.catalog import describe
from quillread.serve.archive.home import Archive
from quillread.serve.archive.models import model_folder
from quillread.serve.archive.teaching import checked_lines, work_folder
from quillread.serve.config import ServeConfig
from quillread.serve.database.schema import Collection, Line, Model, Page
from quillread.serve.jobs import running, threads, training
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.evaluation import weigh
from quillread.serve.jobs.training import train
from quillread.serve.jobs.training_lines import digest_of, find_training_lines, write_training_lines


def claim_of(collection_id: int, job: int = 1, **options: Any) -> Claim:
    return Claim(1, 1, job, "train", None, {}, options, collection_id, None, "owner")


@pytest.fixture
def one(tmp_path: Path):
    """An archive on SQLite: what is tested here knows little of the database."""
    with Archive(ServeConfig(data=tmp_path / "data")) as archive:
        yield archive


def lesson_of(archive: Archive, collection: int):
    with archive.database.read() as session:
        return find_training_lines(session, [line.id for line in checked_lines(session, collection)])


@pytest.mark.parametrize("drawn", [False, True])
def test_lines_are_cut_out_of_their_pages(archive: Archive, tmp_path: Path, drawn: bool):
    collection = add_lesson(archive, pages=2, lines=3, drawn=drawn)
    written = write_training_lines(archive, lesson_of(archive, collection), CropConfig(), tmp_path / "lines", "train")
    assert len(written) == 6
    source = open_source(DataSpec("hub", str(tmp_path / "lines")), "train")
    samples = [fixed_sample(source, i) for i in range(len(source))]
    assert [sample.text for sample in samples] == [TEXTS[i] for i in (0, 1, 2, 1, 2, 3)]
    assert len({sample.group for sample in samples}) == 2
    for sample in samples:
        assert 30 <= sample.image.shape[0] <= 70
        assert sample.image.min() < 100


def test_a_line_or_a_page_that_cannot_be_cut_is_skipped(one: Archive, tmp_path: Path):
    collection = add_lesson(one, pages=2, lines=2)
    with one.database.write() as session:
        pages = session.scalars(select(Page).order_by(Page.id)).all()
        one.storage.delete(pages[1].view)
        row = session.scalars(select(Line).where(Line.page_id == pages[0].id)).first()
        row.baseline = [[5.0, 5.0], [5.0, 5.0]]
    written = write_training_lines(one, lesson_of(one, collection), CropConfig(), tmp_path / "lines", "train")
    assert [line.text for line in written] == [TEXTS[1]]


def test_a_lesson_is_another_when_a_text_or_a_place_is(one: Archive):
    collection = add_lesson(one, pages=1, lines=2)
    before = digest_of(lesson_of(one, collection), [], minutes=1.0)
    assert digest_of(lesson_of(one, collection), [], minutes=1.0) == before
    assert digest_of(lesson_of(one, collection), [], minutes=2.0) != before
    with one.database.write() as session:
        session.scalars(select(Line)).first().text = "other"
    assert digest_of(lesson_of(one, collection), [], minutes=1.0) != before


def test_few_lines_are_not_taught(one: Archive):
    collection = add_lesson(one, pages=1, lines=3)
    with pytest.raises(UsageError, match="3 lines are checked, and teaching needs 10"):
        train(one, claim_of(collection), lambda _: None, lambda: False)
    assert not work_folder(one.config.data, collection).exists()


def test_one_model_of_several_has_to_be_chosen(one: Archive):
    collection = add_lesson(one)
    with one.database.write() as session:
        session.get_one(Collection, collection).settings = {"options": {"models": ["builtin", "builtin"]}}
    with pytest.raises(UsageError, match="read with 2 models"):
        train(one, claim_of(collection), lambda _: None, lambda: False)


def predictions(texts: list[str]) -> list[Prediction]:
    return [Prediction(str(i), str(i // 2), "abcd", text, 0.5) for i, text in enumerate(texts)]


def test_an_exam_tells_how_much_better_the_taught_model_is():
    evaluation = weigh(predictions(["abcx", "abxx", "xbcd", "abcd"]), predictions(["abcd", "abcd", "abcd", "abcx"]))
    assert evaluation.is_better
    figures = evaluation.figures
    assert (figures["cer_before"], figures["cer_after"], figures["difference"]) == (0.25, 0.0625, -0.1875)
    assert figures["ci95"][0] <= -0.1875 <= figures["ci95"][1]
    assert [example["before"] for example in figures["examples"]] == ["abxx", "xbcd", "abcd"]
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize("after", [["abcx"] * 4, ["abxx"] * 4])
def test_a_model_that_is_no_better_is_not(after: list[str]):
    assert not weigh(predictions(["abcx"] * 4), predictions(after)).is_better


class Progress:
    """Takes what is told, and asks for a stop once something was learnt."""

    def __init__(self, *, stops: bool = False) -> None:
        self.told: list[Mapping[str, Any]] = []
        self._stops = stops

    def __call__(self, facts: Mapping[str, Any]) -> None:
        self.told.append(facts)

    def cancelled(self) -> bool:
        return self._stops and any(len(facts["history"]) > 2 for facts in self.told)


@pytest.fixture
def taught(one: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Archive, int]:
    """A collection to be taught with a tiny model."""
    monkeypatch.setattr(running, "EPOCH_LINES", 32)
    collection = add_lesson(one, pages=5, lines=4)
    add_tiny_model(one, tmp_path / "tiny", collection)
    return one, collection


@pytest.mark.slow
def test_a_hand_is_taught_even_after_a_stop_and_the_better_model_kept(taught: tuple[Archive, int]):
    archive, collection = taught
    first = Progress(stops=True)
    assert train(archive, claim_of(collection, minutes=0.4), first, first.cancelled) is None
    begun = first.told[-1]["step"]
    assert begun > 0
    progress = Progress()
    result = train(archive, claim_of(collection, job=2, minutes=0.4), progress, progress.cancelled)
    assert result is not None
    assert progress.told[0]["step"] >= begun
    last = progress.told[-1]
    assert last["measuring"] and not any("measuring" in facts for facts in progress.told[:-1])
    assert last["history"][0]["cer"] == last["cer_before"]
    assert len(last["history"]) > 2
    card = result["card"]
    assert (card["lines"], card["held_back"], card["by"], card["start"]) == (16, 4, "page", "archive:tiny")
    assert card["better"]
    assert card["cer_after"] < card["cer_before"]
    assert {example["truth"] for example in card["examples"]} <= set(TEXTS)
    with archive.database.read() as session:
        model = session.get_one(Model, result["model_id"])
        assert result["name"] == f"archive:{model.name}" == "archive:Letters"
        assert model.collection_id == collection
        assert len(model.card["_taught"]) == 16
        info = describe(str(model_folder(archive, session, result["name"]))).info
    assert info.name == "Letters"
    assert not work_folder(archive.config.data, collection).exists()
    # The server was killed before it could note the end: the same job gives the same model.
    assert train(archive, claim_of(collection, job=2), progress, progress.cancelled) == result
    assert "_taught" not in json.dumps(result)


@pytest.mark.slow
def test_a_training_that_a_killed_server_left_is_followed(taught: tuple[Archive, int], monkeypatch: pytest.MonkeyPatch):
    archive, collection = taught
    started: list[Any] = []
    real = running._start

    def start(*args: Any) -> Any:
        started.append(real(*args))
        return started[-1]

    class KilledError(BaseException):
        pass

    def killed() -> bool:
        raise KilledError

    monkeypatch.setattr(running, "_start", start)
    with pytest.raises(KilledError):
        train(archive, claim_of(collection, minutes=0.2), lambda _: None, killed)
    assert len(started) == 1
    result = train(archive, claim_of(collection, minutes=0.2), lambda _: None, lambda: False)
    assert result is not None
    assert started[0].wait() == 0
    assert len(started) == 2  # the second only takes what the first has left


def test_nothing_stays_of_a_training_whose_collection_is_deleted(one: Archive, monkeypatch: pytest.MonkeyPatch):
    collection = add_lesson(one)

    def run_training(*_: Any) -> bool:
        assert (work_folder(one.config.data, collection) / "lines" / "train-00000.parquet").is_file()
        with one.database.write() as session:
            session.delete(session.get_one(Collection, collection))
        return False

    monkeypatch.setattr(training, "run_training", run_training)
    assert train(one, claim_of(collection), lambda _: None, lambda: True) is None
    assert not work_folder(one.config.data, collection).exists()


def test_a_training_that_another_program_ends_is_not_done(one: Archive, monkeypatch: pytest.MonkeyPatch):
    collection = add_lesson(one)
    monkeypatch.setattr(training, "run_training", lambda *_: False)
    with pytest.raises(TrainingError, match="ended by a signal") as caught:
        train(one, claim_of(collection), lambda _: None, lambda: False)
    assert caught.value.kind not in threads._LASTING  # it is tried again
    assert work_folder(one.config.data, collection).exists()


def test_nothing_is_kept_that_is_no_better(one: Archive, monkeypatch: pytest.MonkeyPatch):
    collection = add_lesson(one)
    monkeypatch.setattr(training, "run_training", lambda *_: True)
    monkeypatch.setattr(training, "quantise", lambda *_: None)
    monkeypatch.setattr(training, "evaluate", lambda *_: weigh(predictions(["abcd"] * 4), predictions(["abcx"] * 4)))
    result = train(one, claim_of(collection), lambda _: None, lambda: False)
    assert result is not None
    assert (result["model_id"], result["name"], result["card"]["better"]) == (None, None, False)
    assert result["card"]["difference"] == 0.25
    with one.database.read() as session:
        assert session.scalars(select(Model)).all() == []
    assert not work_folder(one.config.data, collection).exists()


@pytest.mark.slow
def test_a_training_that_fails_says_why(taught: tuple[Archive, int]):
    archive, collection = taught
    with archive.database.read() as session:
        folder = model_folder(archive, session, "archive:tiny")
    (folder / "model.onnx").write_bytes(b"x")
    with pytest.raises(TrainingError, match=r"the training failed: .*model\.onnx"):
        train(archive, claim_of(collection, minutes=0.2), lambda _: None, lambda: False)
