"""Models: those that ship, and those of the archive, uploaded or taught."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, UploadFile, status
from pydantic import BaseModel, StringConstraints
from sqlalchemy import select

from quillread.models.catalog import AUTO, CANDIDATES, SHIPPED, describe
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.models import add_model, delete_model, usable
from quillread.serve.database.schema import Model
from quillread.serve.faults import TooLargeError

router = APIRouter(prefix="/models", tags=["models"])

ModelName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[\w][\w .()-]*$")
]


class ModelOut(BaseModel):
    """A model to read with."""

    id: int | None
    """None: it comes with the program."""
    name: str
    """As options name it: that of a model that ships, `auto`, or `archive:NAME`."""
    family: str
    builtin: bool
    collection_id: int | None
    """That it was taught on; None: for all."""
    created: datetime | None
    card: dict[str, Any]
    """Of one that was taught: lines, errors before and after, examples. Of one that ships: what it is for."""


class ModelList(BaseModel):
    """All models that one may use."""

    items: list[ModelOut]
    next: None = None


@router.get("")
def list_models(archive: TheArchive, actor: TheActor) -> ModelList:
    """List the models that one may use: those that ship, what chooses among them, then those of the archive."""
    with archive.database.read() as session:
        found = session.scalars(select(Model).where(usable(actor)).order_by(Model.id.desc())).all()
    shipped = [
        ModelOut(
            id=None,
            name=name,
            family=describe(name).info.family,
            builtin=True,
            collection_id=None,
            created=None,
            card=asdict(shipped),
        )
        for name, shipped in SHIPPED.items()
    ]
    purpose = f"chooses {' or '.join(CANDIDATES)} for each page"
    auto = shipped[0].model_copy(update={"name": AUTO, "card": {"purpose": purpose}})
    return ModelList(items=[*shipped, auto, *map(show_model, found)])


@router.post("", status_code=status.HTTP_201_CREATED)
def create_model(
    archive: TheArchive, actor: TheActor, file: UploadFile, name: Annotated[ModelName, Form()]
) -> ModelOut:
    """Upload a model: a zip of its folder, without pickles and programs."""
    limit = archive.config.limits.upload_bytes
    if (file.size or 0) > limit:
        raise TooLargeError(f"the file has {file.size:,} bytes, {limit:,} are allowed")
    return show_model(add_model(archive, actor, name, file.file))


@router.delete("/{model_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_model(archive: TheArchive, actor: TheActor, model_id: int) -> None:
    """Delete a model of the archive for good; collections that are read with it must be given another first."""
    delete_model(archive, actor, model_id)


def show_model(model: Model) -> ModelOut:
    """A model of the archive as it is answered."""
    return ModelOut(
        id=model.id,
        name=f"archive:{model.name}",
        family=model.family,
        builtin=False,
        collection_id=model.collection_id,
        created=model.created,
        card={key: value for key, value in model.card.items() if not key.startswith("_")},
    )
