"""quill serve: an archive of pages for browsers and scripts, its accounts, and what keeps it."""

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.progress import say
from quillread.config import apply_overrides, build, read_yaml
from quillread.errors import ExitCode, UsageError
from quillread.extras import require

if TYPE_CHECKING:  # those of the server take longer to import than most commands run
    from sqlalchemy.orm import Session

    from quillread.serve.archive.home import Archive
    from quillread.serve.config import ServeConfig
    from quillread.serve.database.schema import User

_NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "argon2", "fsspec", "multipart")
_ROLES = ("admin", "editor", "reader", "none")
_FLAGS = ("data", "database", "storage", "host", "port", "workers", "root_path", "tls_certificate", "tls_key")
"""Flags whose values are those of the settings of the same names."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options, and the actions that keep the archive."""
    parser.description = (
        "Serve an archive of pages: open it in a browser, or call its REST API. On this machine there is no login; to "
        "let others in, make accounts and name an address: --host."
    )
    _add_place(parser, None)
    parser.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on; 0 for any (default: 8765)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read pages (default: one a core, 2)")
    parser.add_argument("--root-path", metavar="PATH", help="path below which a proxy shows the server, such as /quill")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name by which the server may be called, beside its address; may be repeated",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        default=None,
        help="believe the proxy before the server who calls, and whether by TLS (X-Forwarded-For, -Proto)",
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="certificate (PEM), to speak TLS")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM)")
    parser.add_argument("--log-format", choices=("lines", "json"), help="how the log is written (default: lines)")
    parser.set_defaults(run=run_serve)
    actions = parser.add_subparsers(dest="action", metavar="users|backup|restore|check|purge|usage")
    _add_users(actions)


def run_serve(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    config = make_config(args)
    # Late, because they take a second.
    from quillread.serve.server import run_server, start_logs

    start_logs(config.log_format, verbose=args.verbose)
    run_server(config, lambda address: say(f"the archive {config.data} is open at {address} (Ctrl-C ends it)"))
    return 0


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
    if args.allowed_host:
        values["allowed_hosts"] = [*values.get("allowed_hosts", []), *args.allowed_host]
    return build(ServeConfig, values, str(args.config or "quill serve"))


def open_archive(args: argparse.Namespace, *, makes: bool = False) -> "Archive":
    """Open the archive beside the server, which may run.

    Raises:
        UsageError: If there is none, and it is not to be made.
    """
    config = make_config(args)
    from quillread.serve.archive.home import Archive, is_archive

    if not makes and not is_archive(config):
        where = config.data if config.database is None else "the database"
        raise UsageError(f"{where}: there is no archive here", hint="name its folder: --data DIR")
    return Archive(config, serves=False)


def _add_place(parser: argparse.ArgumentParser, default: Any) -> None:
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


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    _add_place(action, argparse.SUPPRESS)
    action.set_defaults(run=run)
    return action


def _add_users(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make, list, change and remove accounts; a server that runs knows of it at once"
    users = actions.add_parser("users", help=text, description=f"{text[0].upper()}{text[1:]}.")
    kinds = users.add_subparsers(dest="what", metavar="add|list|role|password|disable|enable|remove", required=True)
    add = _add_action(kinds, "add", "make an account; its password is asked for, or read from stdin", _run_add)
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role", choices=_ROLES, default="editor", help="what it may in all collections (default: %(default)s)"
    )
    _add_action(kinds, "list", "list the accounts", _run_list)
    role = _add_action(kinds, "role", "change what an account may in all collections", _run_role)
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=_ROLES)
    for name, text, run in (
        ("password", "change the password of an account; its logins end", _run_password),
        ("disable", "let an account no longer in; its logins end", _run_disable),
        ("enable", "let an account in again", _run_enable),
        ("remove", "remove an account with its tokens; what it did keeps its name", _run_remove),
    ):
        _add_action(kinds, name, text, run).add_argument("name", metavar="NAME")


def _run_add(args: argparse.Namespace) -> int:
    with open_archive(args, makes=True) as archive:
        from quillread.serve.access import accounts

        name = accounts.check_name(args.name)
        with archive.database.read() as session:
            if any(user.name == name for user in accounts.list_users(session)):
                raise UsageError(f"there is a user {name} already", hint="quill serve users password NAME changes it")
        hashed = accounts.make_hash(name, _ask_password(name))

        def add(session: "Session") -> dict[str, Any]:
            accounts.add_user(session, name, args.role, hashed)
            return {"user": name, "role": args.role}

        _change(archive, "user.create", add)
    print(f"{name}\t{args.role}")
    return ExitCode.OK


def _run_list(args: argparse.Namespace) -> int:
    with open_archive(args) as archive, archive.database.read() as session:
        from quillread.serve.access.accounts import list_users

        for user in list_users(session):
            made = user.created.date().isoformat()
            print(f"{user.name}\t{user.role}\t{made}" + ("\tdisabled" if user.disabled else ""))
    return ExitCode.OK


def _run_role(args: argparse.Namespace) -> int:
    def change(session: "Session", user: "User") -> dict[str, Any]:
        from quillread.serve.access.accounts import set_role

        set_role(session, user, args.role)
        return {"user": user.name, "role": args.role}

    return _change_user(args, "user.change", change)


def _run_password(args: argparse.Namespace) -> int:
    with open_archive(args) as archive:
        from quillread.serve.access import accounts

        with archive.database.read() as session:
            name = accounts.find_user(session, args.name).name
        hashed = accounts.make_hash(name, _ask_password(name))

        def change(session: "Session") -> dict[str, Any]:
            accounts.set_password(session, accounts.find_user(session, name), hashed)
            return {"user": name, "password": True}

        _change(archive, "user.change", change)
    return ExitCode.OK


def _run_disable(args: argparse.Namespace) -> int:
    return _switch(args, disabled=True)


def _run_enable(args: argparse.Namespace) -> int:
    return _switch(args, disabled=False)


def _switch(args: argparse.Namespace, *, disabled: bool) -> int:
    def change(session: "Session", user: "User") -> dict[str, Any]:
        from quillread.serve.access.accounts import set_disabled

        set_disabled(session, user, disabled)
        return {"user": user.name, "disabled": disabled}

    return _change_user(args, "user.change", change)


def _run_remove(args: argparse.Namespace) -> int:
    def change(session: "Session", user: "User") -> dict[str, Any]:
        from quillread.serve.access.accounts import remove_user

        remove_user(session, user)
        return {"user": user.name}

    return _change_user(args, "user.remove", change)


def _change_user(args: argparse.Namespace, action: str, change: "Callable[[Session, User], dict[str, Any]]") -> int:
    with open_archive(args) as archive:
        from quillread.serve.access.accounts import find_user

        _change(archive, action, lambda session: change(session, find_user(session, args.name)))
    return ExitCode.OK


def _change(archive: "Archive", action: str, change: "Callable[[Session], dict[str, Any]]") -> None:
    """Change the archive, and note in the same transaction who did it."""
    from quillread.serve.access.actor import Actor
    from quillread.serve.archive.events import audit

    with archive.database.write() as session:
        audit(session, Actor(f"{getpass.getuser()} (command line)"[:100]), action, **change(session))


def _ask_password(name: str) -> str:
    """Ask for a new password, twice; without a terminal take the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("the same again: ") != password:
        raise UsageError("the two passwords differ", hint="try again")
    return password
