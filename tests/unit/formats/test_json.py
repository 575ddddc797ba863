import json

import pytest

from quillread.formats.json import to_data, to_json
from quillread.types import Character, Line, Page, Polygon, Reading, Region, Transcript, Word

OUTLINE = Polygon(((1.04, 2.0), (31.26, 2.0), (31.26, 20.0), (1.04, 20.0)))
WORD = Word("né", 0.87654, Polygon(((2.0, 3.0), (12.06, 4.0), (12.0, 19.0), (2.0, 18.0))))
TRANSCRIPT = Transcript(
    text="né",
    confidence=0.123456,
    words=(WORD,),
    characters=(Character("n", 0.98765, 0.0, 5.0), Character("é", 0.5, 5.0, 10.0)),
)


def page(transcript: Transcript | None = TRANSCRIPT) -> Page:
    line = Line(((1.0, 17.0), (31.0, 17.04)), OUTLINE, transcript)
    return Page("a.png", 1, 40, 30, (Region(OUTLINE, (line,)),))


def test_a_document_is_one_line_of_json():
    text = to_json(Reading("a.png", (page(),), provenance={"version": "1"}))
    assert "\n" not in text
    assert json.loads(text) == to_data(Reading("a.png", (page(),), provenance={"version": "1"}))


def test_a_document_has_these_keys():
    data = to_data(Reading("a.png", (page(),), provenance={"version": "1"}))
    assert list(data) == ["source", "text", "pages", "provenance"]
    assert (data["source"], data["text"], data["provenance"]) == ("a.png", "né", {"version": "1"})


def test_a_page_has_its_number_and_size():
    (found,) = to_data(Reading("a.png", (page(),)))["pages"]
    assert list(found) == ["number", "width", "height", "lines"]
    assert (found["number"], found["width"], found["height"]) == (1, 40, 30)


def test_a_line_has_text_confidence_and_places():
    (found,) = to_data(Reading("a.png", (page(),)))["pages"][0]["lines"]
    assert found == {
        "text": "né",
        "confidence": 0.1235,
        "baseline": [[1.0, 17.0], [31.0, 17.0]],
        "polygon": [[1.0, 2.0], [31.3, 2.0], [31.3, 20.0], [1.0, 20.0]],
        "words": [
            {
                "text": "né",
                "confidence": 0.8765,
                "box": [2.0, 3.0, 12.1, 19.0],
                "polygon": [[2.0, 3.0], [12.1, 4.0], [12.0, 19.0], [2.0, 18.0]],
            }
        ],
        "character_confidences": [0.9877, 0.5],
    }


def test_a_line_that_was_not_read_has_no_text():
    (found,) = to_data(Reading("a.png", (page(None),)))["pages"][0]["lines"]
    assert (found["text"], found["confidence"], found["words"], found["character_confidences"]) == ("", 0.0, [], [])


def test_a_blank_page_stays_in_the_document():
    data = to_data(Reading("a.png", (Page("a.png", 1, 40, 30),)))
    assert data["pages"] == [{"number": 1, "width": 40, "height": 30, "lines": []}]


def test_an_input_that_failed_has_its_error():
    data = to_data(Reading("a.png", error="a.png: is empty"))
    assert (data["error"], data["text"], data["pages"]) == ("a.png: is empty", "", [])


def test_a_page_that_failed_has_its_error_beside_the_others():
    pages = (Page("a.tif", 1, 0, 0, error="a.tif, page 1: broken"), page())
    data = to_data(Reading("a.tif", pages))
    assert [p.get("error") for p in data["pages"]] == ["a.tif, page 1: broken", None]
    assert "error" not in data


def test_letters_are_written_as_they_are():
    assert '"né"' in to_json(Reading("a.png", (page(),)))


def test_a_confidence_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Reading("a.png", (page(Transcript("x", float("nan"))),)))
