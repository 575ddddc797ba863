import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quillread.data.split import hold_out


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
