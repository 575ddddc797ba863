import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.images.geometry import (
    AffineMap,
    ChainedMap,
    CurveMap,
    PerspectiveMap,
    normals_at,
    outline,
    points_at,
    polyline_length,
    resample,
)

WAVE = np.column_stack((np.arange(0.0, 600.0), 100 + 12 * np.sin(np.arange(600) / 70)))
coordinates = st.floats(-1000, 1000)


def test_scaling_maps_a_corner_back_to_the_source():
    assert AffineMap.scaling(200 / 400, 50 / 100).back(400, 100) == (200, 50)


def test_shift_maps_the_origin_to_its_corner():
    assert AffineMap.shift(7, 9).back(0, 0) == (7, 9)


@given(coordinates, coordinates)
def test_inverse_of_a_matrix_undoes_it(x, y):
    forward = np.array([[1.5, -0.4, 30], [0.2, 0.8, -12]])
    moved = forward @ (x, y, 1)
    assert AffineMap.inverse_of(forward).back(*moved) == pytest.approx((x, y), abs=1e-6)


def test_chain_goes_back_through_its_steps_in_reverse():
    chain = ChainedMap((AffineMap.shift(10, 20), AffineMap.scaling(0.5, 0.5)))  # cut out, then doubled in size
    assert chain.back(8, 4) == (14, 22)


def test_empty_chain_changes_nothing():
    assert ChainedMap(()).back(3, 4) == (3, 4)


def test_points_and_single_points_agree():
    curve = CurveMap(WAVE, 4, 30)
    assert curve.back_points([(50, 10)])[0].tolist() == list(curve.back(50, 10))


def test_no_points_map_to_no_points():
    assert CurveMap(WAVE, 4, 30).back_points(np.empty((0, 2))).shape == (0, 2)


@given(st.floats(-50, 650), st.floats(-40, 40))
def test_curve_map_leads_there_and_back(x, y):
    curve = CurveMap(WAVE, 0, 0)
    there = curve.back_points([(x, y)])
    assert np.abs(curve.forward_points(there) - (x, y)).max() < 0.5


def test_curve_map_of_a_straight_line_is_exact():
    line = np.array([(10, 100), (310, 100)])
    assert CurveMap(line, x=5, y=40).back(25, 45) == pytest.approx((30, 105))


def test_curve_goes_straight_on_beyond_its_ends():
    line = np.array([(0, 0), (30, 40)])
    assert points_at(line, [-5, 55]) == pytest.approx(np.array([(-3, -4), (33, 44)]))


def test_normal_of_a_line_of_writing_points_down():
    assert normals_at(np.array([(0, 0), (10, 0)]), [5]).tolist() == [[0, 1]]


def test_normal_in_a_corner_is_halfway_between_its_sides():
    corner = np.array([(0, 0), (10, 0), (10, 10)])
    assert normals_at(corner, [10])[0] == pytest.approx((-(0.5**0.5), 0.5**0.5))


def test_length_sums_the_segments():
    assert polyline_length([(0, 0), (3, 4), (3, 10)]) == 11


def test_resampled_points_are_evenly_spaced_and_keep_the_ends():
    points = resample([(0, 0), (7, 0), (7, 5)], step=1)
    assert len(points) == 13
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [7, 5]
    assert np.linalg.norm(np.diff(points, axis=0), axis=1) == pytest.approx(1)


def test_polyline_without_length_cannot_be_resampled():
    with pytest.raises(ValueError, match="length 0"):
        resample([(3, 3), (3, 3)], step=1)


def test_repeated_points_do_no_harm():
    assert points_at([(0, 0), (0, 0), (10, 0), (10, 0)], [4, 12]).tolist() == [[4, 0], [12, 0]]


def test_outline_keeps_corners_and_closes():
    square = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    points = outline(square, step=2)
    assert len(points) == 8
    assert all(corner in points.tolist() for corner in map(list, square))


def test_a_perspective_map_undoes_its_matrix():
    matrix = np.array([(1.1, 0.2, 30.0), (-0.1, 0.9, 12.0), (1e-4, 2e-4, 1.0)])
    points = np.array([(0.0, 0.0), (100.0, 0.0), (300.0, 700.0)])
    moved = np.column_stack((points, np.ones(3))) @ matrix.T
    assert PerspectiveMap.inverse_of(matrix).back_points(moved[:, :2] / moved[:, 2:]) == pytest.approx(points)
