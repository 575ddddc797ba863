import numpy as np
import pytest

from quillread.errors import OutputError
from quillread.images import preprocess as cache_module
from quillread.images.preprocess import StepCache
from quillread.images.steps_tone import MedianConfig, NonLocalMeansConfig

IMAGE = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)


class Invert:
    """A step that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image, settings):
        self.calls += 1
        return 255 - image


@pytest.fixture
def step():
    return Invert()


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("image", [IMAGE, IMAGE[..., 0], IMAGE[:, ::2], IMAGE[:1, :1, 0]])
def test_a_result_is_the_same_from_the_step_and_from_disk(tmp_path, step, image):
    first, second = (StepCache(tmp_path).result(image, MedianConfig(), step) for _ in range(2))
    assert np.array_equal(first, 255 - image)
    assert np.array_equal(second, first)
    assert step.calls == 1


def test_a_result_from_disk_can_be_written_to(tmp_path, step):
    cache = StepCache(tmp_path)
    cache.result(IMAGE, MedianConfig(), step)
    assert cache.result(IMAGE, MedianConfig(), step).flags.writeable


def test_another_image_setting_shape_or_step_is_another_entry(tmp_path, step):
    cache = StepCache(tmp_path)
    other = IMAGE.copy()
    other[3, 4, 1] ^= 1
    for image, settings in (
        (IMAGE, MedianConfig()),
        (other, MedianConfig()),
        (IMAGE, MedianConfig(5)),
        (IMAGE.reshape(30, 20, 3), MedianConfig()),
        (IMAGE, NonLocalMeansConfig()),
    ):
        cache.result(image, settings, step)
    assert step.calls == len(entries(tmp_path)) == 5


def test_another_version_of_opencv_is_another_entry(tmp_path, step, monkeypatch):
    cache = StepCache(tmp_path)
    cache.result(IMAGE, MedianConfig(), step)
    monkeypatch.setattr(cache_module.cv2, "__version__", "9.9")
    cache.result(IMAGE, MedianConfig(), step)
    assert step.calls == 2


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-5], lambda data: data[:9] + b"\0\1" + data[11:], lambda data: b"x"]
)
def test_a_damaged_entry_is_computed_and_written_anew(tmp_path, step, damage):
    cache = StepCache(tmp_path)
    cache.result(IMAGE, MedianConfig(), step)
    (path,) = entries(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(cache.result(IMAGE, MedianConfig(), step), 255 - IMAGE)
    cache.result(IMAGE, MedianConfig(), step)
    assert step.calls == 2


def test_an_entry_of_another_size_is_computed_anew(tmp_path, step):
    cache = StepCache(tmp_path)
    cache.result(IMAGE, MedianConfig(), step)
    cache.result(IMAGE[:5], MedianConfig(), step)
    first, second = entries(tmp_path)
    first.write_bytes(second.read_bytes())
    second.write_bytes(b"")
    assert np.array_equal(cache.result(IMAGE, MedianConfig(), step), 255 - IMAGE)
    assert np.array_equal(cache.result(IMAGE[:5], MedianConfig(), step), 255 - IMAGE[:5])


def test_nothing_but_entries_is_left_behind(tmp_path, step):
    StepCache(tmp_path / "new" / "folder").result(IMAGE, MedianConfig(), step)
    assert not [path for path in entries(tmp_path) if path.suffix == ".part"]


def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(tmp_path, step):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        StepCache(tmp_path / "file").result(IMAGE, MedianConfig(), step)


def test_another_process_that_wrote_the_entry_meanwhile_is_no_error(tmp_path, step, monkeypatch):
    write = cache_module.write_atomic

    def write_and_lose_the_race(path, content):
        write(path, content)
        raise OutputError("the temporary file is gone")

    monkeypatch.setattr(cache_module, "write_atomic", write_and_lose_the_race)
    assert np.array_equal(StepCache(tmp_path).result(IMAGE, MedianConfig(), step), 255 - IMAGE)
