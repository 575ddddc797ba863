"""What all actions of `quill serve` share: where the archive is, its settings, and who changes it."""

import argparse
import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from quillread.config import apply_overrides, build, read_yaml
from quillread.errors import UsageError
from quillread.extras import require

if TYPE_CHECKING:  # those of the server take longer to import than most commands run
    from quillread.serve.access.actor import Actor
    from quillread.serve.archive.home import Archive
    from quillread.serve.config import ServeConfig

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "argon2", "fsspec", "python_multipart")
_FLAGS = ("data", "database", "storage", "host", "port", "workers", "root_path", "tls_certificate", "tls_key")
"""Flags whose values are those of the settings of the same names."""


def add_place(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add where the archive is. Those of an action have no default, which would hide what stands before it."""
    group = parser.add_argument_group("the archive")
    group.add_argument(
        "--data", type=Path, default=default, metavar="DIR", help="folder of the archive (default: quillread-data)"
    )
    group.add_argument(
        "--database",
        default=default,
        metavar="URL",
        help="PostgreSQL database, postgresql://USER@HOST/NAME, its password in ~/.pgpass (default: SQLite in DIR)",
    )
    group.add_argument(
        "--storage",
        default=default,
        metavar="URL",
        help="where files are kept, such as s3://BUCKET/PREFIX (default: DIR)",
    )
    group.add_argument("--config", type=Path, default=default, metavar="FILE", help="YAML file with settings")
    group.add_argument(
        "--set",
        action="append",
        default=[] if default is None else default,
        metavar="NAME=VALUE",
        help="a setting, such as limits.pages=10000; may be repeated",
    )


def add_action(
    actions: Actions, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add an action with the options that say where the archive is."""
    action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    add_place(action, argparse.SUPPRESS)
    action.set_defaults(run=run)
    return action


def make_config(args: argparse.Namespace) -> "ServeConfig":
    """The settings: those of `--config`, then `--set`, then flags.

    Raises:
        MissingExtraError: If the packages of the server are not installed.
        ConfigError: If a setting is unknown or wrong.
    """
    for module in _NEEDED:
        require(module, "serve")
    from quillread.serve.config import ServeConfig

    values = apply_overrides(read_yaml(args.config) if args.config else {}, args.set)
    for name in (*_FLAGS, "behind_proxy", "log_format"):
        if (value := getattr(args, name, None)) is not None:
            values[name] = value
    if getattr(args, "allowed_host", None):
        values["allowed_hosts"] = [*values.get("allowed_hosts", []), *args.allowed_host]
    return build(ServeConfig, values, str(args.config or "quill serve"))


@contextmanager
def open_archive(args: argparse.Namespace, *, makes: bool = False) -> "Iterator[Archive]":
    """Open the archive beside the server, which may run.

    Raises:
        UsageError: If there is none, and it is not to be made.
        InputError: If its database cannot be reached, or is damaged.
    """
    config = make_config(args)
    from quillread.serve.archive.home import Archive, is_archive
    from quillread.serve.database.engine import away

    if not makes and not is_archive(config):
        where = config.data if config.database is None else "the database"
        raise UsageError(f"{where}: there is no archive here", hint="name its folder: --data DIR")
    with Archive(config, serves=False) as archive, away(archive.database):
        yield archive


def command_actor() -> "Actor":
    """Whoever runs the command, for the audit log."""
    from quillread.serve.access.actor import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container the number may belong to nobody who has a name
        name = f"user {os.getuid()}"
    return Actor(f"{name} (command line)"[:100])
