"""What all tables share: their base, the types of their columns, and the clock."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, TypeDecorator
from sqlalchemy.orm import DeclarativeBase


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, UTC; SQLite keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give UTC to the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that what the database gives is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER keys
_Json = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """Of all tables."""

    type_annotation_map = {datetime: UtcTime, dict[str, Any]: _Json, list[Any]: _Json}  # noqa: RUF012
