from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread import config
from quillread.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Pen:
    width: float = 1.5
    colour: Literal["blue", "black"] = "blue"

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ConfigError(f"pen.width must be above 0, got {self.width}")


@dataclass(frozen=True, slots=True)
class Desk:
    owner: str
    drawers: int = 3
    tidy: bool = True
    pen: Pen = field(default_factory=Pen)
    spare: Pen | None = None
    notes: Path | None = None
    sizes: tuple[int, ...] = (1, 2)
    corner: tuple[int, float] = (0, 0.5)
    labels: dict[str, int] = field(default_factory=dict)
    rest: Any = None


FULL = Desk(
    "Ada",
    drawers=4,
    tidy=False,
    pen=Pen(2.0, "black"),
    spare=Pen(0.5),
    notes=Path("a/b.txt"),
    sizes=(),
    corner=(2, 0.25),
    labels={"x": 1},
    rest={"any": [1, "two"]},
)


def test_values_fill_nested_dataclasses():
    assert config.build(Desk, {"owner": "Ada", "pen": {"width": 2}}) == Desk("Ada", pen=Pen(2.0))


def test_build_reads_back_what_dump_wrote():
    assert config.build(Desk, config.dump(FULL)) == FULL


@given(
    st.builds(
        Desk,
        st.text(),
        st.integers(),
        st.booleans(),
        pen=st.builds(Pen, st.floats(0.1, 9)),
        spare=st.none() | st.builds(Pen, st.floats(0.1, 9)),
        sizes=st.lists(st.integers()).map(tuple),
        labels=st.dictionaries(st.text(), st.integers()),
    )
)
def test_build_inverts_dump(desk: Desk):
    assert config.build(Desk, config.dump(desk)) == desk


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "setting 'owner' is missing"),
        ({"owner": "A", "drawer": 1}, "unknown setting 'drawer' (did you mean 'drawers'?)"),
        ({"owner": "A", "pen": {"witdh": 1}}, "unknown setting 'pen.witdh' (did you mean 'width'?)"),
        ({"owner": 5}, "owner: expected str, got 5"),
        ({"owner": "A", "drawers": 1.5}, "drawers: expected int, got 1.5"),
        ({"owner": "A", "drawers": True}, "drawers: expected int, got True"),
        ({"owner": "A", "tidy": "yes"}, "tidy: expected bool, got 'yes'"),
        ({"owner": "A", "pen": {"colour": "red"}}, "pen.colour: 'red' is not one of 'blue', 'black'"),
        ({"owner": "A", "pen": {"width": 0}}, "pen.width must be above 0, got 0.0"),
        ({"owner": "A", "pen": 3}, "pen: expected settings, got 3"),
        ({"owner": "A", "sizes": 3}, "sizes: expected a list, got 3"),
        ({"owner": "A", "sizes": [1, "b"]}, "sizes[1]: expected int, got 'b'"),
        ({"owner": "A", "corner": [1]}, "corner: expected 2 values, got 1"),
        ({"owner": "A", "labels": [1]}, "labels: expected name: value pairs, got [1]"),
        ({"owner": "A", "labels": {"x": "y"}}, "labels.x: expected int, got 'y'"),
        ({"owner": "A", "spare": {"colour": "red"}}, "spare.colour: 'red' is not one of 'blue', 'black'"),
    ],
)
def test_a_fault_is_named_with_its_path(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        config.build(Desk, values, "desk.yaml")
    assert caught.value.message == f"desk.yaml: {message}"


def test_all_faults_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        config.build(Desk, {"drawers": "many", "pen": {"inks": 1, "width": "wide"}})
    for part in ("'owner' is missing", "drawers: expected int", "'pen.inks'", "pen.width: expected float"):
        assert part in caught.value.message


def test_an_exponent_without_a_dot_is_a_number():
    assert config.build(Desk, {"owner": "A", "pen": {"width": "1e-3"}}).pen.width == 0.001


def test_a_yaml_file_is_read_with_settings_on_top(tmp_path: Path):
    path = tmp_path / "desk.yaml"
    path.write_text("owner: Ada\npen:\n  width: 2\n", encoding="utf-8")
    desk = config.load(Desk, path, ["pen.colour=black", "sizes=[5, 6]", "spare.width=3"])
    assert desk == Desk("Ada", pen=Pen(2.0, "black"), sizes=(5, 6), spare=Pen(3.0))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        config.load(Desk, tmp_path / "none.yaml")


@pytest.mark.parametrize(("text", "message"), [("- a\n", "holds a list"), ("a: [", "cannot be read as YAML")])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "desk.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        config.read_yaml(path)


def test_an_empty_file_sets_nothing(tmp_path: Path):
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    assert config.read_yaml(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("owner", "not of the form name=value"),
        ("=Ada", "not of the form name=value"),
        ("owner.name=x", "'owner' is not a group of settings"),
        ("owner=[", "is not a YAML value"),
        ("age=!!timestamp x", "is not a YAML value"),
        ("age=!!int x", "is not a YAML value"),
        ("born=2020-13-45", "is not a YAML value"),
        ("owner=" + 2000 * "[", "is not a YAML value"),
    ],
)
def test_a_setting_of_another_form_is_refused(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        config.apply_overrides({"owner": "Ada"}, [override])


def test_settings_leave_the_given_values_alone():
    values = {"pen": {"width": 1.0}}
    assert config.apply_overrides(values, ["pen.width=2"]) == {"pen": {"width": 2}}
    assert values == {"pen": {"width": 1.0}}


def test_an_unknown_name_lists_all_if_none_is_near():
    assert config.suggest("zzz", ["pen", "desk"]) == " (known: desk, pen)"


@dataclass(frozen=True, slots=True)
class Place:
    """Is written as text."""

    row: int
    seat: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        row, dash, seat = text.partition("-")
        if not dash:
            raise ConfigError(f"{text!r} is no place", hint="write ROW-SEAT")
        return cls(int(row), int(seat))

    def __str__(self) -> str:
        return f"{self.row}-{self.seat}"


@dataclass(frozen=True, slots=True)
class Bike:
    kind: Literal["bike"] = "bike"
    gears: int = 3


@dataclass(frozen=True, slots=True)
class Train:
    kind: Literal["train"] = "train"
    seats: tuple[Place, ...] = ()
    wagon: Pen | None = None


@dataclass(frozen=True, slots=True)
class Trip:
    goal: str = "home"
    vehicle: Bike | Train = field(default_factory=Bike, metadata={config.TAG: "kind"})


def test_what_is_written_as_text_is_parsed_and_written_back():
    trip = config.build(Trip, {"kind": "train", "seats": ["1-2", Place(3, 4)]})
    assert trip.vehicle == Train(seats=(Place(1, 2), Place(3, 4)))
    assert config.dump(trip)["seats"] == ["1-2", "3-4"]


def test_a_text_that_cannot_be_parsed_is_a_fault_with_its_hint():
    with pytest.raises(ConfigError, match=r"seats\[1\]: 'x' is no place \(write ROW-SEAT\)"):
        config.build(Trip, {"kind": "train", "seats": ["1-2", "x"]})


def test_settings_of_a_tagged_part_stand_among_the_others():
    assert config.build(Trip, {"goal": "x", "gears": 7}) == Trip("x", Bike(gears=7))
    assert config.build(Trip, {"kind": "train", "wagon": {"width": 2}}) == Trip(vehicle=Train(wagon=Pen(2.0)))
    assert config.dump(Trip()) == {"goal": "home", "kind": "bike", "gears": 3}


@pytest.mark.parametrize("trip", [Trip("x", Bike(gears=2)), Trip(vehicle=Train(seats=(Place(0, 1),)))])
def test_build_reads_back_a_tagged_part(trip: Trip):
    assert config.build(Trip, config.dump(trip)) == trip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seats": []}, "setting 'seats' is for kind 'train', while this is kind 'bike' (did you mean 'gears'?)"),
        ({"kind": "train", "gears": 3}, "setting 'gears' is for kind 'bike', while this is kind 'train'"),
        ({"kind": "boat"}, "kind: 'boat' is not one of 'bike', 'train'"),
        ({"seets": []}, "unknown setting 'seets' (did you mean 'seats'?)"),
        ({"vehicle": {}}, "unknown setting 'vehicle'"),
        ({"gears": "many", "gole": "x"}, "gears: expected int, got 'many'; unknown setting 'gole'"),
    ],
)
def test_a_fault_of_a_tagged_part_is_named(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        config.build(Trip, values)
    assert message in caught.value.message


def test_groups_are_merged_and_all_else_replaced():
    below = {"pen": {"width": 1, "colour": "blue"}, "sizes": [1, 2], "spare": None}
    merged = config.merge(below, {"pen": {"width": 2}, "sizes": [3], "spare": {"width": 3}})
    assert merged == {"pen": {"width": 2, "colour": "blue"}, "sizes": [3], "spare": {"width": 3}}
    assert below["pen"] == {"width": 1, "colour": "blue"}


def test_finished_dataclasses_may_stand_among_plain_data():
    assert config.build(Desk, {"owner": "Ada", "pen": Pen(3.0)}) == Desk("Ada", pen=Pen(3.0))
