import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from quillread.data.split import divide, hold_out, leave_out
from quillread.errors import DataError


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.floats(0.05, 0.5), st.integers(0, 99))
def test_every_line_is_on_one_side_and_no_group_on_both(groups, share, seed):
    kept, held = hold_out(groups, share, np.random.default_rng(seed))
    assert sorted(kept + held) == list(range(len(groups)))
    assert kept and held
    if len(set(groups)) > 1:
        assert not {groups[i] for i in kept} & {groups[i] for i in held}


def test_a_single_writer_is_split_by_lines():
    kept, held = hold_out(["me"] * 20, 0.1, np.random.default_rng(0))
    assert (len(kept), len(held)) == (18, 2)


def test_lines_without_group_are_split_one_by_one():
    kept, held = hold_out([""] * 30, 0.2, np.random.default_rng(0))
    assert (len(kept), len(held)) == (24, 6)


def test_the_split_depends_on_the_generator_alone():
    groups = [str(i % 7) for i in range(50)]
    first = hold_out(groups, 0.2, np.random.default_rng(5))
    assert first == hold_out(groups, 0.2, np.random.default_rng(5))
    assert first != hold_out(groups, 0.2, np.random.default_rng(6))


@given(
    st.lists(st.sampled_from(["", *"abcdefgh"]), min_size=20, max_size=60),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 99),
)
def test_three_parts_have_every_line_once_and_no_group_twice(groups, validation, test, seed):
    try:
        parts = divide(groups, {"validation": validation, "test": test}, np.random.default_rng(seed))
    except DataError:
        reject()
    assert sorted(i for part in parts.values() for i in part) == list(range(len(groups)))
    assert all(parts.values())
    if len(set(groups)) > 1:
        named = [{groups[i] for i in part} - {""} for part in parts.values()]
        assert sum(map(len, named)) == len(set.union(*named))


def test_shares_are_of_all_lines():
    parts = divide([str(i) for i in range(100)], {"validation": 0.2, "test": 0.4}, np.random.default_rng(0))
    assert {name: len(part) for name, part in parts.items()} == {"train": 40, "validation": 20, "test": 40}


def test_two_groups_do_not_make_three_parts():
    with pytest.raises(DataError, match="2 groups cannot be split into train and validation and test"):
        divide(["a", "a", "b", "b"], {"validation": 0.2, "test": 0.2}, np.random.default_rng(0))


def test_one_line_cannot_be_divided():
    with pytest.raises(DataError, match="1 line cannot be split"):
        divide(["a"], {"validation": 0.2}, np.random.default_rng(0))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=60), st.integers(2, 4), st.integers(0, 99))
def test_every_line_is_left_out_of_one_fold_and_no_group_is_torn(groups, folds, seed):
    try:
        parts = [leave_out(groups, fold, folds, np.random.default_rng(seed)) for fold in range(1, folds + 1)]
    except DataError:
        reject()
    assert sorted(i for _, held in parts for i in held) == list(range(len(groups)))
    for kept, held in parts:
        assert sorted(kept + held) == list(range(len(groups)))
        assert kept and held
        if len(set(groups)) > 1:
            assert not {groups[i] for i in kept} & {groups[i] for i in held}


def test_more_folds_than_groups_are_refused():
    with pytest.raises(DataError, match="2 groups cannot be dealt to 3 folds"):
        leave_out(["a", "b", "b"], 1, 3, np.random.default_rng(0))


@pytest.mark.parametrize("sizes", [(95, 5), (80, 10, 10), (60, 30, 10), (90, 2, 2, 2, 2, 2)])
def test_a_writer_of_most_lines_is_never_the_one_held_out(sizes):
    groups = [str(writer) for writer, size in enumerate(sizes) for _ in range(size)]
    for seed in range(30):
        _, held = hold_out(groups, 0.1, np.random.default_rng(seed))
        assert 0 < len(held) <= 20
