import pytest

from quillread.data.iam import join_lines, undo_codes


def join(line: str) -> str:
    """Join one line, its tokens written as in lines.txt."""
    return join_lines([line.split("|")])[0]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("M Ps|tomorrow|.|Mr.|Michael|Foot|has", "M Ps tomorrow. Mr. Michael Foot has"),
        ("Party|(|280,000|members|)|and", "Party (280,000 members) and"),
        ('would|appear|to|"|prop|up|"|an|out-dated', 'would appear to "prop up" an out-dated'),
        ("the|two|main|settlers'|parties|-", "the two main settlers' parties -"),
        ('Wicki\'s|"|Das|Wunder|"|(|"|The', 'Wicki\'s "Das Wunder" ("The'),
        ('to|"|Vogue|,|"|"|Cahiers|du|Cinema|,|"|and', 'to "Vogue," "Cahiers du Cinema," and'),
        ('up|,|then|,|Mrs.|-|er|-|Buttery|?|"|"|Not|yet|,', 'up, then, Mrs. - er - Buttery?" "Not yet,'),
        ("clenched|his|fists|.|'|So|that|'s|what", "clenched his fists. 'So that's what"),
        ("isn't|it|I|'ve|you|'d|they|'re|it|'ll", "isn't it I've you'd they're it'll"),
        ('believes|:|"|It|is', 'believes: "It is'),
        ("say|about|...|yes|,", "say about ... yes,"),
        ("this|property|...|.|But", "this property.... But"),
        ("science|;|...|.", "science; ...."),
        ("life|truly|!|...|It", "life truly!... It"),
    ],
)
def test_tokens_are_joined_as_written(tokens: str, text: str):
    assert join(tokens) == text


def test_a_crossed_out_word_carries_no_text():
    assert join("sentiment|would|#|still|favour|#") == "sentiment would still favour"


def test_a_line_of_crossed_out_words_is_empty():
    assert join("#") == ""


def test_an_empty_token_is_passed_over():
    assert join("one||...|.|*?|...|.") == "one.... ...."


def test_a_quotation_goes_on_in_the_next_line():
    lines = [["was", "a", '"', "poor"], ["show", '"', "compared", "with"]]
    assert join_lines(lines) == ['was a "poor', 'show" compared with']


def test_a_form_may_begin_within_a_quotation():
    lines = [["as", "ever", ".", '"'], ["He", "said", ":", '"', "No"]]
    assert join_lines(lines) == ['as ever."', 'He said: "No']


def test_single_quotes_within_double_ones_are_told_apart():
    lines = [['"', "they", "say", "'", "a"], ["beginning", ".", "'", '"', "Mr."]]
    assert join_lines(lines) == ["\"they say 'a", "beginning.'\" Mr."]


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("fiance*?2's", "fiancé's"),
        ("ro*?5le", "rôle"),
        ("Provenc*?6al", "Provençal"),
        ('nai"vety', "naïvety"),
        ('Du"rrenmatt', "Dürrenmatt"),
        ("Provenc*?", "Provenc"),
        ('"', '"'),
        ("plain", "plain"),
    ],
)
def test_codes_become_accents(token: str, word: str):
    assert undo_codes(token) == word
