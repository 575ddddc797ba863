import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from documents import INFO, blank, export, failed, scan

from quillread.errors import Fault
from quillread.formats.json import json_schema, page_data, to_data, to_json
from quillread.types import Alternative, Character, Line, Page, Polygon, Reading, Region, Transcript, Word

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
    assert list(found) == ["number", "width", "height", "lines", "regions"]
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
    assert data["pages"] == [{"number": 1, "width": 40, "height": 30, "lines": [], "regions": []}]


def test_an_input_that_failed_has_its_fault_for_people_and_for_programs():
    data = to_data(Reading("a.png", fault=Fault("image", "a.png: is empty", "scan it again")))
    assert (data["text"], data["pages"]) == ("", [])
    assert data["error"] == "a.png: is empty\n  hint: scan it again"
    assert data["fault"] == {"kind": "image", "message": "a.png: is empty", "hint": "scan it again"}


def test_a_page_that_failed_has_its_fault_beside_the_others():
    pages = (Page("a.tif", 1, 0, 0, fault=Fault("image", "a.tif, page 1: broken")), page())
    data = to_data(Reading("a.tif", pages))
    assert [p.get("error") for p in data["pages"]] == ["a.tif, page 1: broken", None]
    assert data["pages"][0]["fault"] == {"kind": "image", "message": "a.tif, page 1: broken", "hint": None}
    assert "fault" not in data["pages"][1]
    assert "error" not in data
    assert "fault" not in data


def test_letters_are_written_as_they_are():
    assert '"né"' in to_json(Reading("a.png", (page(),)))


def test_a_confidence_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Reading("a.png", (page(Transcript("x", float("nan"))),)))


def test_regions_hold_the_indices_of_their_lines():
    (found,) = to_data(Reading("a.png", (scan().page,)))["pages"]
    assert [region["lines"] for region in found["regions"]] == [[0, 1], [2, 3]]
    assert found["regions"][1]["polygon"][0] == [90, 390]


def test_names_from_a_segmentation_are_kept():
    source = page()
    (region,) = source.regions
    named = replace(source, regions=(replace(region, id="r_1", lines=(replace(region.lines[0], id="l_1"),)),))
    (found,) = to_data(Reading("a.png", (named,)))["pages"]
    assert (found["regions"][0]["id"], found["lines"][0]["id"]) == ("r_1", "l_1")


def test_pages_written_one_by_one_make_the_same_document():
    scans = (scan(1), failed(2), blank(3))
    document = json.loads(export("json", *scans))
    assert document == to_data(Reading(INFO.source, tuple(s.page for s in scans), None, INFO.provenance))
    assert export("json", *scans).count(b"\n") == 1


def test_pages_beyond_what_is_kept_in_memory_are_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quillread.formats.json._IN_MEMORY", 10)
    assert [page["number"] for page in json.loads(export("json", *map(scan, range(1, 31))))["pages"]] == [*range(1, 31)]


def test_a_page_has_its_size_on_paper_where_that_is_known():
    assert json.loads(export("json", scan(points=(595.276, 841.89))))["pages"][0]["points"] == [595.28, 841.89]


def alternatives() -> Page:
    read = Transcript("né", 0.5, (WORD,), TRANSCRIPT.characters, (Alternative("ne", 0.25),), rows=2)
    return page(read)


@pytest.mark.parametrize(
    "document",
    [
        json.loads(export("json", scan(1, (612.0, 792.0)), failed(2), blank(3))),
        json.loads(export("json", fault=Fault("image", "a.pdf: is encrypted"))),
        to_data(Reading("a.png", (alternatives(),), provenance=INFO.provenance)),
    ],
    ids=["pages", "failed", "alternatives"],
)
def test_documents_fit_the_schema(document: dict[str, Any]):
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(document, json_schema())


@pytest.mark.parametrize("key", ["source", "text", "pages", "provenance"])
def test_the_schema_refuses_a_document_that_lacks_a_key(key: str):
    document = json.loads(export("json", scan()))
    del document[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_schema())


def test_the_schema_describes_every_field_that_is_written():
    def described(data: Any, schema: dict[str, Any]) -> None:
        schema = json_schema()["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
        for name, value in data.items() if isinstance(data, dict) and "properties" in schema else ():
            described(value, schema["properties"][name])
        for item in data if isinstance(data, list) and "items" in schema else ():
            described(item, schema["items"])

    described(json.loads(export("json", scan(1, (612.0, 792.0)), failed(2), fault=Fault("image", "x"))), json_schema())
    described(to_data(Reading("a.png", (alternatives(),))), json_schema())


def test_a_page_has_the_label_of_its_input():
    assert "label" not in page_data(page())
    labelled = replace(page(), label="12r")
    assert page_data(labelled)["label"] == "12r"
    assert labelled.title == "Page 1 (12r)"
