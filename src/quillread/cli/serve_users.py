"""quill serve users: the accounts of an archive."""

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quillread.cli.serve_options import Actions, add_action, command_actor, open_archive
from quillread.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from quillread.serve.archive.home import Archive
    from quillread.serve.database.schema import User

_ROLES = ("admin", "editor", "reader", "none")


def configure(actions: Actions) -> None:
    """Add the action with its own."""
    text = "make, list, change and remove accounts; a server that runs knows of it at once"
    users = actions.add_parser("users", help=text, description=f"{text[0].upper()}{text[1:]}.")
    kinds = users.add_subparsers(dest="what", metavar="add|list|role|password|disable|enable|remove", required=True)
    add = add_action(kinds, "add", "make an account; its password is asked for, or read from stdin", _run_add)
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--role", choices=_ROLES, default="editor", help="what it may in all collections (default: %(default)s)"
    )
    add_action(kinds, "list", "list the accounts", _run_list)
    role = add_action(kinds, "role", "change what an account may in all collections", _run_role)
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=_ROLES)
    for name, text, run in (
        ("password", "change the password of an account; its logins end", _run_password),
        ("disable", "let an account no longer in; its logins end", _run_disable),
        ("enable", "let an account in again", _run_enable),
        ("remove", "remove an account with its tokens; what it did keeps its name", _run_remove),
    ):
        add_action(kinds, name, text, run).add_argument("name", metavar="NAME")


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
    from quillread.serve.archive.events import audit

    with archive.database.write() as session:
        audit(session, command_actor(), action, **change(session))


def _ask_password(name: str) -> str:
    """Ask for a new password, twice; without a terminal take the first line of stdin."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("the same again: ") != password:
        raise UsageError("the two passwords differ", hint="try again")
    return password
