import hashlib
import json
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from quillread.data.imgur5k import cut_word, inspect_imgur5k
from quillread.data.imgur5k_lists import list_images
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError

PAPER = 230


def word_image(text="Hand"):
    """A word upright, dark on paper: 120 x 40 pixels."""
    image = np.full((40, 120, 3), PAPER, np.uint8)
    cv2.putText(image, text, (6, 30), cv2.FONT_HERSHEY_DUPLEX, 1.0, (20, 20, 20), 2, cv2.LINE_AA)
    return image


def photo_with(word, angle, center=(200, 150), size=(400, 300)):
    """A photo with a word turned counterclockwise by Pillow, whose own documentation names that direction."""
    photo = Image.new("RGB", size, (PAPER,) * 3)
    turned = Image.fromarray(word).rotate(angle, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=(PAPER,) * 3)
    photo.paste(turned, (round(center[0] - turned.width / 2), round(center[1] - turned.height / 2)))
    return np.asarray(photo)


def likeness(one, other):
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def official_folder(folder, images, *, split="val", merged=False):
    """Write images {id: (RGB, [(word, box), ...])} in the layout of the official repository."""
    info = folder / "dataset_info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    tables = {"index_id": {}, "index_to_ann_map": {}, "ann_id": {}}
    hashes = ""
    for image_id, (image, words) in images.items():
        path = folder / "images" / f"{image_id}.jpg"
        cv2.imwrite(str(path), image[:, :, ::-1])
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        hashes += f"{image_id}\t{md5}\n"
        tables["index_id"][image_id] = {
            "image_url": f"https://i.imgur.com/{image_id}.jpg",
            "image_path": f"images/{image_id}.jpg",
            "image_hash": md5,
        }
        tables["index_to_ann_map"][image_id] = [f"{image_id}_{i}" for i in range(len(words))]
        tables["ann_id"] |= {f"{image_id}_{i}": {"word": w, "bounding_box": b} for i, (w, b) in enumerate(words)}
    (info / "imgur5k_hashes.lst").write_text(hashes, encoding="utf-8")
    (info / f"{split}_index_ids.lst").write_text("".join(f"{i}\n" for i in images), encoding="utf-8")
    name = "imgur5k_annotations.json" if merged else f"imgur5k_annotations_{split}.json"
    (info / name).write_text(json.dumps(tables, indent=4), encoding="utf-8")
    return folder


PHOTO = photo_with(word_image(), 25)
BOX = "[200.0, 150.0, 120.0, 40.0, 25.0]"


def open_words(folder, options="", split="validation"):
    return open_source(parse_spec(f"imgur5k:{folder}{options}"), split)


def first(source):
    return source.sample(0, np.random.default_rng(0))


@pytest.mark.parametrize("angle", [0, 0.33, 8, 25, -40, 90, -90, 150, 180])
def test_word_turned_counterclockwise_is_cut_upright(angle):
    word = word_image()
    cut = cut_word(photo_with(word, angle), (200, 150, 120, 40, angle))
    assert cut.shape == word.shape
    assert likeness(cut, word) > 0.9


def test_word_without_a_turn_keeps_its_pixels():
    word = word_image()
    photo = photo_with(word, 0)
    np.testing.assert_array_equal(cut_word(photo, (200.2, 150.3, 120, 40, 0.1)), word)


def test_word_at_the_edge_goes_on_with_the_border():
    photo = np.zeros((50, 50, 3), np.uint8)
    photo[:, :10] = 200
    cut = cut_word(photo, (0, 25, 20, 10, 0))
    assert cut.shape == (10, 20, 3)
    assert (cut == 200).all()


def test_sample_has_the_word_its_text_and_its_ids(tmp_path):
    sample = first(open_words(official_folder(tmp_path, {"ab1": (PHOTO, [("Hand", BOX)])})))
    assert (sample.id, sample.text, sample.group) == ("ab1_0", "Hand", "ab1")
    assert likeness(sample.image, word_image()) > 0.9


def test_image_is_of_the_aspect_that_was_said(tmp_path):
    source = open_words(official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])}), "?margin=0.25")
    image = first(source).image
    assert image.shape[:2] == (60, 140)
    assert source.aspect(0) == pytest.approx(140 / 60)


def test_split_is_taken_from_the_merged_annotations_by_its_list(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("one", BOX)]), "b": (PHOTO, [("two", BOX)])}, merged=True)
    # The official list names an image twice, and images that the annotations lack.
    (folder / "dataset_info" / "val_index_ids.lst").write_text("gone\nb\nb\n", encoding="utf-8")
    source = open_words(folder)
    assert [source.text(i) for i in range(len(source))] == ["two"]


@pytest.mark.parametrize(
    ("word", "box", "kind"),
    [
        (".", BOX, "illegible"),
        ("", BOX, "illegible"),
        ("flat", "[200.0, 150.0, 120.0, 0.0, 25.0]", "degenerate"),
        ("nan", "[200.0, NaN, 120.0, 40.0, 25.0]", "degenerate"),
        ("four", "[200.0, 150.0, 120.0, 40.0]", "degenerate"),
        ("text", "200 150", "degenerate"),
        ("off", "[-80.0, 150.0, 120.0, 40.0, 0.0]", "outside"),
        ("huge", "[200.0, 150.0, 1e30, 1e30, 0.0]", "outside"),
    ],
)
def test_word_that_cannot_be_used_is_left_out_and_listed(tmp_path, word, box, kind):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX), (word, box)])})
    assert getattr(inspect_imgur5k(folder, "validation"), kind) == ["a_1"]
    assert len(open_words(folder)) == 1


def test_word_that_leaves_its_image_a_little_is_kept_and_listed(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("edge", "[30.0, 150.0, 80.0, 40.0, 5.0]")])})
    assert inspect_imgur5k(folder, "validation").leaving == ["a_0"]
    assert first(open_words(folder)).image.shape == (40, 80, 3)


def test_word_of_full_width_does_not_leave_its_image(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("all", "[200.0, 150.0, 400.0, 300.0, 0.0]")])})
    assert inspect_imgur5k(folder, "validation").leaving == []


def test_missing_images_are_named_in_a_warning(tmp_path, caplog):
    folder = official_folder(tmp_path, {name: (PHOTO, [("Hand", BOX)]) for name in ("a", "b", "c", "d", "e")})
    for name in ("b", "c", "d", "e"):
        (folder / "images" / f"{name}.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(open_words(folder)) == 1
    assert "4 images are missing (skipped): b, c, d and 1 more" in caplog.text


def test_file_that_is_no_image_is_left_out_and_listed(tmp_path):
    folder = official_folder(tmp_path, {name: (PHOTO, [("Hand", BOX)]) for name in ("a", "b")})
    (folder / "images" / "b.jpg").write_text("<html>", encoding="utf-8")
    assert inspect_imgur5k(folder, "validation", check_hashes=False).unreadable == ["b"]
    assert len(open_words(folder)) == 1


@pytest.mark.parametrize(("options", "words"), [("?check=none", 2), ("", 1)])
def test_a_changed_image_is_left_out_unless_hashes_are_not_checked(tmp_path, options, words):
    folder = official_folder(tmp_path, {name: (PHOTO, [("Hand", BOX)]) for name in ("a", "b")})
    cv2.imwrite(str(folder / "images" / "b.jpg"), PHOTO[:, ::-1])
    assert len(open_words(folder, options)) == words
    assert inspect_imgur5k(folder, "validation").changed == ["b"]


def test_damaged_image_is_an_error_that_names_the_word(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    path = folder / "images" / "a.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"row 0 \(a_0\)"):
        first(open_words(folder, "?check=none"))


def test_png_is_found_too(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    (folder / "images" / "a.jpg").unlink()
    cv2.imwrite(str(folder / "images" / "a.png"), PHOTO)
    assert len(open_words(folder, "?check=none")) == 1
    with pytest.raises(DataError, match="changed: 1 of 1"):
        open_words(folder)


def test_photo_is_decoded_once_for_neighbouring_words(tmp_path, monkeypatch):
    from quillread.data import imgur5k

    opened = []
    monkeypatch.setattr(
        imgur5k, "open_document", lambda path, real=imgur5k.open_document: opened.append(path) or real(path)
    )
    source = open_words(official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)] * 3)}))
    for index in (2, 0, 1):
        source.sample(index, np.random.default_rng(0))
    assert len(opened) == 1


def test_folder_without_any_image_says_how_to_get_them(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    (folder / "images" / "a.jpg").unlink()
    with pytest.raises(DataError, match="quill data fetch imgur5k --output"):
        open_words(folder)


def test_folder_without_lists_says_where_they_are(tmp_path):
    with pytest.raises(DataError, match=r"git clone https://github\.com/facebookresearch/IMGUR5K"):
        open_words(tmp_path)


def test_missing_annotations_are_named(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    with pytest.raises(DataError, match=r"imgur5k_annotations_test\.json: is missing"):
        open_words(folder, split="test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no table 'index_id'"),
        ('{"index_id": {"a": {}}, "index_to_ann_map": {"a": 1}, "ann_id": {}}', "no table 'index_to_ann_map'"),
        ('{"index_id": {"a": {}}, "index_to_ann_map": {"a": ["a_0"]}, "ann_id": {}}', "no entry 'a_0' for image a"),
    ],
)
def test_malformed_annotations_are_refused(tmp_path, content, message):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    (folder / "dataset_info" / "imgur5k_annotations_val.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        open_words(folder)


@pytest.mark.parametrize(
    ("options", "split", "message"),
    [
        ("?margin=2", "validation", "margin must be"),
        ("?margin=wide", "validation", "margin must be"),
        ("?check=all", "validation", "check must be"),
        ("?hashes=1", "validation", "unknown option"),
        ("", "valid", "has no split"),
    ],
)
def test_mistaken_option_is_refused(tmp_path, options, split, message):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    with pytest.raises(DataError, match=message):
        open_words(folder, options, split)


def test_listed_images_are_those_of_both_lists_each_once(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    info = folder / "dataset_info"
    (info / "val_index_ids.lst").write_text("b\na\nb\n", encoding="utf-8")
    with (info / "imgur5k_hashes.lst").open("a", encoding="utf-8") as file:
        file.write(f"b {'0' * 32}\n")
    images = list_images(folder, ["validation"])
    assert [(i.id, i.url) for i in images] == [
        ("b", "https://i.imgur.com/b.jpg"),
        ("a", "https://i.imgur.com/a.jpg"),
    ]


def test_hash_is_taken_from_the_annotations_if_there_is_no_list(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    listed = list_images(folder, ["validation"])
    (folder / "dataset_info" / "imgur5k_hashes.lst").unlink()
    assert list_images(folder, ["validation"]) == listed


def test_id_that_leads_out_of_the_folder_is_refused(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    (folder / "dataset_info" / "val_index_ids.lst").write_text("../../a\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not the id"):
        list_images(folder, ["validation"])


def test_address_that_is_not_of_the_web_is_refused(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    path = folder / "dataset_info" / "imgur5k_annotations_val.json"
    path.write_text(path.read_text(encoding="utf-8").replace("https://i.imgur.com", "file://"), encoding="utf-8")
    with pytest.raises(DataError, match="is not a web address"):
        list_images(folder, ["validation"])


def test_malformed_hash_is_named_with_its_line(tmp_path):
    folder = official_folder(tmp_path, {"a": (PHOTO, [("Hand", BOX)])})
    (folder / "dataset_info" / "imgur5k_hashes.lst").write_text("a\tnone\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        list_images(folder, ["validation"])
