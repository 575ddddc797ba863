"""Which columns of a table hold image, text, group and id."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from quillread.data.spec import DataSpec
from quillread.errors import DataError

COLUMN_OPTIONS = ("image-column", "text-column", "group-column", "id-column")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of one table."""

    image: str
    text: str
    group: str
    id: str
    split: str

    @classmethod
    def of(cls, spec: DataSpec, image: str = "image") -> "Columns":
        """The names that a source asks for, or the usual ones."""
        return cls(
            spec.option("image-column", image),
            spec.option("text-column", "text"),
            spec.option("group-column", "group"),
            spec.option("id-column", "id"),
            spec.option("split-column", "split"),
        )

    def check(self, name: str, found: Sequence[str], spec: DataSpec) -> None:
        """Refuse a table without image or text, or without a column that the source asks for by name.

        Raises:
            DataError: Naming the column and those found.
        """
        for role in fields(self):
            column, option = getattr(self, role.name), f"{role.name}-column"
            if column not in found and (role.name in ("image", "text") or option in spec.options):
                raise DataError(
                    f"{name}: has no column {column!r}; its columns are {', '.join(found)}",
                    hint=f"name the right one with ?{option}=NAME",
                )
