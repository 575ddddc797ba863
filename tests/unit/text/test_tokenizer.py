import json
import shutil

import pytest
from fakes import write_bpe_tokenizer, write_sentencepiece_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from quillread.errors import ModelError
from quillread.text.tokenizer import TokenizerSpeller, decode_tokens, encode_text, load_tokenizer

WRITERS = {"RobertaTokenizer": write_bpe_tokenizer, "XLMRobertaTokenizer": write_sentencepiece_tokenizer}


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    return load_tokenizer(write_bpe_tokenizer(tmp_path_factory.mktemp("bpe")))


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    return load_tokenizer(write_sentencepiece_tokenizer(tmp_path_factory.mktemp("sentencepiece")))


@pytest.fixture(params=["bpe", "sentencepiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=WRITERS)
def folder(request, tmp_path):
    """The files of each kind, in turn."""
    return WRITERS[request.param](tmp_path)


def change_settings(folder, **changes):
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}), encoding="utf-8")


@pytest.mark.parametrize(("name", "write"), WRITERS.items())
def test_class_is_the_one_that_the_settings_name(name, write, tmp_path):
    assert type(load_tokenizer(write(tmp_path))).__name__ == name


def test_special_tokens_have_the_numbers_of_trocr(tokenizer):
    ids = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    assert ids == (0, 1, 2, 3)
    assert tokenizer.mask_token_id == len(tokenizer) - 1


def test_pieces_follow_the_special_tokens_in_the_order_of_the_file(sentencepiece):
    assert sentencepiece.convert_ids_to_tokens([4, 5, 6]) == ["▁the", "▁and", "▁line"]


def test_text_has_no_token_for_its_start_and_one_for_its_end(tokenizer):
    ids = encode_text(tokenizer, "the line")
    assert tokenizer.bos_token_id not in ids
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id


def test_empty_text_is_the_token_for_the_end(tokenizer):
    assert encode_text(tokenizer, "") == [tokenizer.eos_token_id]


def test_text_comes_back_without_special_tokens(tokenizer):
    ids = encode_text(tokenizer, "the line, at 2 o'clock.")
    assert decode_tokens(tokenizer, [2, *ids, 1, 1]) == "the line, at 2 o'clock."


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20))
def test_bytes_spell_any_text(bpe, text):
    if "<" not in text:  # where a special token could begin
        assert decode_tokens(bpe, encode_text(bpe, text)) == text


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert encode_text(again, "the line, 你") == encode_text(tokenizer, "the line, 你")


def test_settings_may_be_missing(folder):
    before = encode_text(load_tokenizer(folder), "the line")
    (folder / "tokenizer_config.json").unlink()
    assert encode_text(load_tokenizer(folder), "the line") == before


def test_fast_name_of_a_class_is_known(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    change_settings(folder, tokenizer_class=f"{settings['tokenizer_class']}Fast")
    assert len(load_tokenizer(folder)) > 50


def test_sentencepiece_class_on_bpe_files_is_refused(tmp_path):
    change_settings(write_bpe_tokenizer(tmp_path), tokenizer_class="XLMRobertaTokenizer")
    with pytest.raises(ModelError, match="names XLMRobertaTokenizer, but its files are those of a RobertaTokenizer"):
        load_tokenizer(tmp_path)


def test_bpe_class_on_sentencepiece_files_is_refused(tmp_path):
    change_settings(write_sentencepiece_tokenizer(tmp_path), tokenizer_class="RobertaTokenizerFast")
    with pytest.raises(ModelError, match="files are those of a XLMRobertaTokenizer"):
        load_tokenizer(tmp_path)


def test_class_that_does_not_fit_tokenizer_json_is_refused(bpe, tmp_path):
    bpe.save_pretrained(tmp_path)
    change_settings(tmp_path, tokenizer_class="XLMRobertaTokenizer")
    with pytest.raises(ModelError, match="names XLMRobertaTokenizer"):
        load_tokenizer(tmp_path)


def test_tokenizer_json_decides_where_other_files_lie_beside_it(sentencepiece, tmp_path):
    sentencepiece.save_pretrained(tmp_path)
    settings = (tmp_path / "tokenizer_config.json").read_bytes()
    write_bpe_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes(settings)
    assert encode_text(load_tokenizer(tmp_path), "the") == [4, 2]


def test_folder_with_the_files_of_both_kinds_takes_the_one_that_is_named(tmp_path):
    write_sentencepiece_tokenizer(tmp_path)
    write_bpe_tokenizer(tmp_path)
    assert type(load_tokenizer(tmp_path)).__name__ == "RobertaTokenizer"


def test_unknown_class_is_refused(folder):
    change_settings(folder, tokenizer_class="BertTokenizer")
    with pytest.raises(ModelError, match="names the tokenizer class 'BertTokenizer', not RobertaTokenizer or"):
        load_tokenizer(folder)


def test_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ModelError, match="has no tokenizer") as caught:
        load_tokenizer(tmp_path)
    assert caught.value.hint


def test_half_of_the_files_is_no_tokenizer(tmp_path):
    write_bpe_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no sentencepiece model", b"\x0a\xff\xff\xff\xff\xff"])
def test_damaged_sentencepiece_file_is_refused(tmp_path, content):
    (write_sentencepiece_tokenizer(tmp_path) / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_damaged_bpe_file_is_refused(tmp_path, name, content):
    (write_bpe_tokenizer(tmp_path) / name).write_bytes(content)
    with pytest.raises(ModelError):
        load_tokenizer(tmp_path)


def test_damaged_tokenizer_json_is_refused(bpe, tmp_path):
    bpe.save_pretrained(tmp_path)
    content = (tmp_path / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("model", [None, [], {"type": "WordPiece"}])
def test_tokenizer_json_of_another_type_is_refused(bpe, tmp_path, model):
    bpe.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    with pytest.raises(ModelError, match="not BPE or Unigram"):
        load_tokenizer(tmp_path)


def test_speller_counts_tokens_with_the_end(bpe):
    assert TokenizerSpeller(bpe, 8).length("the") == 2


def test_speller_keeps_its_limit(bpe):
    assert TokenizerSpeller(bpe, 8).max_length == 8


def test_speller_counts_characters_without_a_piece(sentencepiece):
    assert TokenizerSpeller(sentencepiece, 8).unknown("你 was 你, naïve") == {"你": 2, "ï": 1}


def test_speller_knows_every_character_by_its_bytes(bpe):
    assert not TokenizerSpeller(bpe, 8).unknown("ſ 你 ½ …")


def test_speller_does_not_count_spaces_that_are_taken_for_one(sentencepiece):
    assert not TokenizerSpeller(sentencepiece, 8).unknown(" the  line ")


def test_speller_counts_what_would_become_a_special_token(bpe):
    assert TokenizerSpeller(bpe, 8).unknown("a</s>b") == {"<": 1, "/": 1, "s": 1, ">": 1}


def test_files_are_only_read(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "before"
    shutil.copytree(folder, copy)
    load_tokenizer(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in copy.iterdir()}
