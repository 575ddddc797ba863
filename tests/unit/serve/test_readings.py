import pytest
from serve_pages import PROVENANCE, box, found_line, found_page, new_page, read_page
from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread import types
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layouts import live_lines, load_lines, read_layout
from quillread.serve.archive.readings import add_import, apply_reading
from quillread.serve.database.readings import pack_reading, unpack_reading
from quillread.serve.database.schema import Event, Line, LineSearch, LineVersion, Page, Region
from quillread.types import Change, Transcript


def correct(session: Session, row: Line, text: str) -> None:
    """What a person does."""
    version = LineVersion(line_id=row.id, number=9, kind="person", author="anna", text=text)
    session.add(version)
    session.flush()
    row.text, row.current_id, row.checked, row.confidence = text, version.id, True, 1.0
    session.flush()


def texts(session: Session, page: Page) -> list[str]:
    return [row.text for row in live_lines(session, page.id)]


def versions(session: Session, row: Line) -> list[tuple[str, str]]:
    chosen = select(LineVersion.kind, LineVersion.text).where(LineVersion.line_id == row.id)
    return [(kind, text) for kind, text in session.execute(chosen.order_by(LineVersion.number))]


def test_a_reading_is_kept_as_plain_data_without_its_characters():
    line = found_line("Dear Sir", 100.04, others=("Dear Sire",))
    read = line.transcript
    assert read is not None
    again = unpack_reading(read.text, read.confidence, pack_reading(read))
    assert again.words[0].polygon.points[0] == (100.0, 100.0)
    assert [word.text for word in again.words] == ["Dear", "Sir"]
    assert again.alternatives == read.alternatives
    assert again.expected_error == 0.1
    changed = Transcript("the", 0.5, raw_text="teh", changes=(Change(0, "teh", "the", "spelling"),), rows=2)
    assert unpack_reading("the", 0.5, pack_reading(changed)) == changed
    assert pack_reading(Transcript("the", 0.5)) == {}


def test_a_first_reading_fills_the_page_and_tells_of_it(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("two", 200, sure=0.3))
    with archive.database.read() as session:
        page = session.get_one(Page, page.id)
        assert texts(session, page) == ["one", "two"]
        assert (page.state, page.line_count, page.doubtful_count, page.checked_count) == ("read", 2, 1, 0)
        assert page.provenance == PROVENANCE
        assert session.scalars(select(LineSearch.folded)).all() == ["one", "two"]
        (event,) = session.scalars(select(Event))
        assert (event.kind, event.data["lines"], event.data["doubtful"]) == ("page.read", 2, 1)
        layout = read_layout(session, page)
        assert layout.page.text == "one\ntwo"
        assert layout.page.lines[0].transcript.words[0].polygon == box(100, 100, 130, 140)


def test_reading_again_keeps_the_lines_that_are_found_again_and_replaces_the_others(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("gone", 200))
        first, gone = live_lines(session, page.id)
        read_page(session, page, found_line("One", 103), found_line("new", 400), fingerprint="two")
        rows = live_lines(session, page.id)
        assert [row.text for row in rows] == ["One", "new"]
        assert rows[0].id == first.id
        assert rows[0].revision == 2
        assert rows[0].baseline[0][1] == 133
        assert versions(session, first) == [("machine", "one"), ("machine", "One")]
        assert session.scalars(select(LineSearch.folded).order_by(LineSearch.folded)).all() == ["new", "one"]
        assert not session.scalars(select(LineVersion).where(LineVersion.line_id == gone.id)).all()
        assert len(session.scalars(select(Region)).all()) == 1


def test_the_same_reading_again_adds_no_version(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        for _ in range(2):
            read_page(session, page, found_line("one", 100))
        (row,) = live_lines(session, page.id)
        assert versions(session, row) == [("machine", "one")]


def test_a_correction_is_never_overwritten_by_a_later_reading(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("uno", 100), found_line("two", 200), found_line("three", 300))
        corrected = live_lines(session, page.id)[1]
        correct(session, corrected, "zwei")
        place, revision = corrected.baseline, corrected.revision
        read_page(session, page, found_line("One", 104), found_line("Two", 204), fingerprint="two")
        assert texts(session, page) == ["One", "zwei"]
        assert corrected.baseline == place
        assert corrected.revision == revision
        assert versions(session, corrected)[-1] == ("machine", "Two")
        assert (page.checked_count, page.drawn) == (1, True)
        (state,) = load_lines(session, [corrected])
        assert state.read is not None
        assert (state.row.text, state.read.text) == ("zwei", "Two")


def test_a_corrected_line_that_is_not_found_again_stays_in_its_place(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("two", 200), found_line("three", 300))
        correct(session, live_lines(session, page.id)[1], "zwei")
        read_page(session, page, found_line("one", 100), found_line("three", 300), fingerprint="two")
        assert texts(session, page) == ["one", "zwei", "three"]


def test_parts_of_a_corrected_line_that_are_found_as_lines_are_skipped(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one two three four", 100))
        correct(session, live_lines(session, page.id)[0], "Eins zwei drei vier")
        read_page(session, page, found_line("one", 100), found_line("three four", 102, 200), fingerprint="two")
        assert texts(session, page)[0] == "Eins zwei drei vier"
        assert len(texts(session, page)) == 1


def test_reading_along_lines_changes_no_layout_and_no_text_of_a_person(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("two", 200), found_line("three", 300))
        rows = live_lines(session, page.id)
        correct(session, rows[0], "eins")
        version = page.version
        layout = read_layout(session, page)
        again = found_page(found_line("ONE", 100), found_line("TWO", 200), found_line("THREE", 300))
        rows[2].baseline = [[100, 350], [150, 350]]
        apply_reading(session, page, again, PROVENANCE, "two", layout.line_ids)
        assert texts(session, page) == ["eins", "TWO", "three"]  # the third was moved meanwhile
        assert versions(session, rows[0])[-1] == ("machine", "ONE")
        assert page.version == version


def test_an_import_keeps_ids_and_its_text_is_not_overwritten(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        line = found_line("Ground truth", 100)
        known = types.Line(line.baseline, line.polygon, line.transcript, "tl_7")
        region = types.Region(box(50, 50, 900, 900), (known,), "r_main")
        add_import(session, page, types.Page("a.jpg", 1, 1000, 1000, (region,)), "a.xml")
        assert (page.drawn, page.line_count) == (True, 1)
        read_page(session, page, found_line("Grund", 101), found_line("more", 200))
        layout = read_layout(session, page)
        assert [line.id for line in layout.page.lines] == ["tl_7", None]
        assert layout.page.regions[0].id == "r_main"
        assert layout.page.text == "Ground truth\nmore"
        (row, _) = live_lines(session, page.id)
        assert versions(session, row) == [("import", "Ground truth"), ("machine", "Grund")]


def test_lines_that_a_file_has_in_a_picture_are_text(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        region = types.Region(box(50, 50, 900, 900), (found_line("Legend", 100),), "r_map", "picture")
        add_import(session, page, types.Page("a.jpg", 1, 1000, 1000, (region,)), "a.xml")
        assert read_layout(session, page).page.text == "Legend"


def test_a_picture_that_a_file_tells_of_hides_no_lines_that_are_found_later(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        text = types.Region(box(50, 50, 900, 90), (found_line("Known", 60),))
        picture = types.Region(box(0, 0, 1000, 1000), (), "i", "picture")
        add_import(session, page, types.Page("a.jpg", 1, 1000, 1000, (picture, text)), "a.xml")
        read_page(session, page, found_line("Known", 60), found_line("found", 200))
        assert read_layout(session, page).page.text == "Known\nfound"


def test_a_page_of_two_thousand_lines_keeps_them_when_it_is_read_again(archive: Archive):
    lines = [found_line(f"line {i}", 40.0 * (i % 250), 100.0 + 90 * (i // 250), step=8) for i in range(2000)]
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, *lines)
        ids = [row.id for row in live_lines(session, page.id)]
        read_page(session, page, *lines, fingerprint="two")
        assert [row.id for row in live_lines(session, page.id)] == ids
        assert page.line_count == 2000


@pytest.mark.parametrize("kind", ["picture", "ignore"])
def test_lines_that_are_found_in_a_region_that_is_not_text_are_dropped_and_the_region_stays(
    archive: Archive, kind: str
):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("stain", 400))
        shape = [[50, 380], [950, 380], [950, 480], [50, 480]]
        region = Region(page_id=page.id, kind=kind, polygon=shape)
        session.add(region)
        session.flush()
        live_lines(session, page.id)[1].region_id = region.id
        session.flush()
        assert read_layout(session, page).page.text == "one"
        read_page(session, page, found_line("one", 100), found_line("stain", 400), found_line("stains", 430))
        assert texts(session, page) == ["one"]
        assert session.get(Region, region.id) is not None
        kinds = [found.kind for found in read_layout(session, page).page.regions]
        assert kinds == (["text", "picture"] if kind == "picture" else ["text"])


def add_region(session: Session, page: Page, kind: str, top: float, bottom: float) -> Region:
    shape = [[50, top], [950, top], [950, bottom], [50, bottom]]
    region = Region(page_id=page.id, kind=kind, polygon=shape)
    session.add(region)
    session.flush()
    return region


def test_the_text_around_a_picture_leaves_it_and_the_picture_keeps_its_outline(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("two", 200), found_line("stain", 400))
        picture = add_region(session, page, "picture", 380, 480)
        outline = picture.polygon
        for row in live_lines(session, page.id):
            row.region_id = picture.id
        correct(session, live_lines(session, page.id)[1], "zwei")
        assert read_layout(session, page).page.text == ""
        read_page(session, page, found_line("one", 100), found_line("two", 200), found_line("stain", 400))
        assert read_layout(session, page).page.text == "one\nzwei"
        assert session.get_one(Region, picture.id).polygon == outline


def test_a_caption_that_a_person_has_put_into_a_region_of_text_in_a_picture_stays(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        lines = found_line("one", 100), found_line("stain", 400), found_line("caption", 500), found_line("title", 600)
        read_page(session, page, *lines)
        picture, caption = add_region(session, page, "picture", 380, 680), add_region(session, page, "text", 480, 560)
        _, stain, row, title = live_lines(session, page.id)
        stain.region_id = picture.id
        row.region_id = title.region_id = caption.id  # the title lies outside it, and was moved there
        session.flush()
        read_page(session, page, *lines, found_line("below", 518, 700))
        assert texts(session, page) == ["one", "caption", "title", "below"]
        assert [line.region_id == caption.id for line in live_lines(session, page.id)] == [False, True, True, True]
        assert caption.polygon[0] == [50, 480]


def test_a_region_of_text_that_a_picture_has_emptied_brings_no_lines_back(archive: Archive):
    with archive.database.write() as session:
        page = new_page(session)
        read_page(session, page, found_line("one", 100), found_line("stain", 400))
        picture = add_region(session, page, "picture", 380, 480)
        add_region(session, page, "text", 390, 470)
        live_lines(session, page.id)[1].region_id = picture.id
        session.flush()
        read_page(session, page, found_line("one", 100), found_line("stain", 400))
        assert texts(session, page) == ["one"]
