"""Models of the archive: kept, found for those who may use them, unpacked before use, deleted."""

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quillread.models.catalog import AUTO, SHIPPED
from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import add_blobs, drop_blobs, store, sweep
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.home import Archive
from quillread.serve.archive.model_zip import check_model, packed, unpacked
from quillread.serve.database.schema import Collection, Model
from quillread.serve.faults import ConflictError, NotFoundError

PREFIX = "archive:"
"""Before the name of a model of the archive, in options."""
_MEDIA_TYPE = "application/zip"


def usable(actor: Actor) -> ColumnElement[bool]:
    """The condition on `Model` for those that someone may use: those for all, and of collections that they may read."""
    visible = select(Collection.id).where(actor.visible())
    return or_(Model.collection_id.is_(None), Model.collection_id.in_(visible))


def find_model(session: Session, actor: Actor, id: int) -> Model:
    """Find a model.

    Raises:
        NotFoundError: If there is none, or the actor may not know of it.
    """
    model = session.scalar(select(Model).where(Model.id == id, usable(actor)))
    if model is None:
        raise NotFoundError(f"there is no model {id}")
    return model


def check_models(session: Session, actor: Actor, options: Mapping[str, Any]) -> None:
    """Refuse options that name models of the archive which someone may not use.

    Raises:
        NotFoundError: If there is no such model, or the actor may not know of it.
    """
    names = _names_in(options)
    found = set(session.scalars(select(Model.name).where(Model.name.in_(names), usable(actor)))) if names else set()
    if missing := sorted(names - found):
        message = f"options.models: there is no model {missing[0]!r} in the archive"
        raise NotFoundError(message, hint="see GET /models", code="model-gone", name=missing[0])


def place_models(archive: Archive, session: Session, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the folders of the archive's models in place of their names.

    Raises:
        NotFoundError: If one was deleted.
    """
    if not _names_in(options):
        return dict(options)
    names = [
        str(model_folder(archive, session, name)) if name.startswith(PREFIX) else name for name in options["models"]
    ]
    return {**options, "models": names}


def model_folder(archive: Archive, session: Session, name: str) -> Path:
    """The folder of a model that options name as `archive:NAME`; it is unpacked if it is not yet.

    Raises:
        NotFoundError: If there is no such model.
        InputError: If its file is missing from the storage.
    """
    bare = name.removeprefix(PREFIX)
    blob = session.scalar(select(Model.blob).where(Model.name == bare))
    if blob is None:
        message = f"there is no model {bare!r} in the archive"
        raise NotFoundError(message, hint="choose another for the collection", code="model-gone", name=bare)
    folder = archive.config.data / "models" / blob
    if not folder.is_dir():
        limits = archive.config.limits
        with unpacked(archive.storage.path(blob), folder.parent, limits.upload_bytes) as new:
            _place(new, folder)
    return folder


def add_model(archive: Archive, actor: Actor, name: str, file: BinaryIO) -> Model:
    """Keep a model that was uploaded, for all who may use the archive.

    Args:
        archive: Where it is kept.
        actor: Who uploads it; an editor.
        name: That options give it after `archive:`.
        file: A zip of its folder.

    Raises:
        RequestError: If it is not a zip of a model.
        ModelError: If it is damaged, or names code.
        ConflictError: If there is one of this name.
    """
    actor.check_all("editor")
    limit = archive.config.limits.upload_bytes
    with unpacked(file, archive.config.data / "models", limit) as folder:
        family = check_model(folder).info.family
        return store_model(archive, actor, folder, Model(name=name, family=family))


def store_model(archive: Archive, actor: Actor, folder: Path, model: Model) -> Model:
    """Keep the folder of a model, which was looked at, and note it.

    Args:
        archive: Where it is kept.
        actor: Who brought or taught it.
        folder: Moved into the archive, unless an equal one is there.
        model: What is known of it, but for its blob.

    Raises:
        ConflictError: If there is one of this name.
        NotFoundError: If its collection was deleted meanwhile.
    """
    with packed(folder) as zipped:
        file = store(archive, zipped, _MEDIA_TYPE)
        try:
            with archive.database.write() as session:
                add_blobs(session, archive.storage, [file])
                model.blob = file.stored.sha256
                session.add(model)
                session.flush()
                audit(session, actor, "model.create", model.collection_id, model=model.id, name=model.name)
                tell(session, "model.created", model.collection_id, model=model.id)
        except IntegrityError as error:
            with archive.database.read() as session:
                if session.scalar(select(Model.id).where(Model.name == model.name)) is None:
                    raise NotFoundError("the collection of the model was deleted meanwhile") from error
            raise ConflictError(f"there is a model {model.name!r} already", hint="choose another name") from error
    _place(folder, archive.config.data / "models" / model.blob)
    return model


def delete_model(archive: Archive, actor: Actor, id: int) -> None:
    """Delete a model for good.

    Raises:
        NotFoundError: If there is none, or the actor may not know of it.
        DeniedError: If the actor is not an editor of its collection, or if it is for all, of the archive.
        ConflictError: If a collection is read with it.
    """
    with archive.database.write() as session:
        model = find_model(session, actor, id)
        if model.collection_id is None:
            actor.check_all("editor")
        else:
            actor.check(session, model.collection_id, "editor")
        wanted = PREFIX + model.name
        users = sum(wanted in models_of(collection) for collection in session.scalars(select(Collection)))
        if users:
            many = f"{users} collections are" if users > 1 else "a collection is"
            raise ConflictError(f"{many} read with {model.name!r}", hint="choose another model there first")
        audit(session, actor, "model.delete", model.collection_id, model=id, name=model.name)
        tell(session, "model.deleted", model.collection_id, model=id)
        session.delete(model)
        dropped = drop_blobs(session, [model.blob])
    sweep(archive, dropped)
    for stored in dropped:
        shutil.rmtree(archive.config.data / "models" / stored.sha256, ignore_errors=True)


def models_of(collection: Collection) -> list[str]:
    """The models that a collection is read with, as its settings name them."""
    named = collection.settings.get("options", {}).get("models")
    return list(named) if named else ["builtin"]


def free_name(session: Session, wish: str) -> str:
    """A name that no model has, one that ships neither, after one that would be good."""
    bare = re.sub(r"[^\w .()-]+", " ", wish).strip() or "model"
    name, number = bare[:80], 1
    while name in (*SHIPPED, AUTO) or session.scalar(select(Model.id).where(Model.name == name)) is not None:
        number += 1
        name = f"{bare[:80]} {number}"
    return name


def _names_in(options: Mapping[str, Any]) -> set[str]:
    return {name.removeprefix(PREFIX) for name in options.get("models") or () if str(name).startswith(PREFIX)}


def _place(new: Path, folder: Path) -> None:
    """Put a folder into its place; another may have done so meanwhile, with equal content."""
    with suppress(OSError):
        new.rename(folder)
