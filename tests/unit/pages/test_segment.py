import pytest

from quillread.errors import UsageError
from quillread.pages.classical import ClassicalSegmenter
from quillread.pages.segment import SEGMENTERS, load_segmenter


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_name_leads_to_a_line_finder(name):
    assert callable(load_segmenter(name))


def test_classical_is_the_classical_one():
    assert isinstance(load_segmenter("classical"), ClassicalSegmenter)


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(UsageError, match="did you mean 'classical'"):
        load_segmenter("clasical")
