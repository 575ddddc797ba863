"""What keeps an archive: backups, checks, deleting for good, use of the disk."""

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.options import whole_number
from quillread.cli.progress import ProgressLine, say
from quillread.cli.serve_options import Actions, add_action, command_actor, make_config, open_archive
from quillread.errors import ExitCode, InputError, UsageError

if TYPE_CHECKING:
    from quillread.serve.archive.backup import Contents
    from quillread.serve.archive.home import Archive


def configure(actions: Actions) -> None:
    """Add the actions."""
    text = "write all of the archive into one file, while the server may run"
    backup = add_action(actions, "backup", text, run_backup)
    backup.add_argument("file", type=Path, metavar="FILE", help="a tar; it must not be there yet")
    text = "put a backup into a new archive, with SQLite or PostgreSQL"
    restore = add_action(actions, "restore", text, run_restore)
    restore.add_argument("file", type=Path, metavar="FILE")
    text = "compare the database with the files; exit code 3 if anything is wrong"
    check = add_action(actions, "check", text, run_check)
    check.add_argument("--quick", action="store_true", help="compare the sizes of files, not their content")
    check.add_argument(
        "--mend", action="store_true", help="count lines anew where that is wrong, delete files that nothing refers to"
    )
    text = "delete for good what is in the bin"
    purge = add_action(actions, "purge", text, run_purge)
    purge.add_argument(
        "--older-than", type=whole_number, default=0, metavar="DAYS", help="only what has been in the bin for so long"
    )
    purge.add_argument("--yes", action="store_true", help="do not ask")
    add_action(actions, "usage", "tell how much of the disk each collection uses", run_usage)


def run_backup(args: argparse.Namespace) -> int:
    """Make a backup."""
    with open_archive(args) as archive:
        from quillread.serve.archive.backup import make_backup
        from quillread.serve.archive.events import audit

        contents = make_backup(archive, args.file, ProgressLine("files"))
        with archive.database.write() as session:
            audit(session, command_actor(), "backup", file=str(args.file.absolute()), files=contents.files)
    print(f"{args.file}: {contents.rows:,} rows, {contents.files:,} files, {contents.bytes:,} bytes")
    if contents.binned:
        say(f"it holds {contents.binned:,} documents of the bin, too: purging them later does not change it")
    return _tell_faults(contents, "quill serve check says what they are")


def run_restore(args: argparse.Namespace) -> int:
    """Restore a backup."""
    config = make_config(args)
    if not args.file.is_file():
        raise InputError(f"{args.file}: there is no such file", hint="name a file that quill serve backup has written")
    # Late, because it takes long to import.
    from quillread.serve.archive.backup import restore

    contents = restore(config, args.file, ProgressLine("files"))
    made = contents.created.strftime("%Y-%m-%d %H:%M UTC")
    print(f"{config.data}: {contents.rows:,} rows, {contents.files:,} files, as they were at {made}")
    return _tell_faults(contents, "they were missing when the backup was made")


def run_check(args: argparse.Namespace) -> int:
    """Check the archive."""
    wrong = 0
    with open_archive(args) as archive:
        from quillread.serve.archive.checking import check

        line = ProgressLine("files")
        for finding in check(archive, quick=args.quick, mends=args.mend, progress=line):
            line.end()
            wrong += not finding.mended
            print(f"{finding.kind}\t{finding.message}" + ("\tmended" if finding.mended else ""))
    if wrong:
        say(f"{wrong:,} things are wrong")
        return ExitCode.INPUT_FAILED
    say("all is well")
    return ExitCode.OK


def run_purge(args: argparse.Namespace) -> int:
    """Delete for good what is in the bin."""
    with open_archive(args) as archive:
        from quillread.serve.archive.purging import binned, purge_collection, purge_document, purge_page

        found = binned(archive, timedelta(days=args.older_than))
        told = ", ".join(f"{len(ids):,} {kind}" for kind, ids in found.items() if ids)
        if not told:
            say("there is nothing in the bin" + (f" for {args.older_than} days" if args.older_than else ""))
            return ExitCode.OK
        if not args.yes and not _agrees(f"delete for good {told}? [y/N] "):
            return ExitCode.USAGE
        purges = {"collections": purge_collection, "documents": purge_document, "pages": purge_page}
        done = [purges[kind](archive, command_actor(), id) for kind, ids in found.items() for id in ids]
        print(f"{told}: {sum(one.files for one in done):,} files, {sum(one.bytes for one in done):,} bytes")
        for note in dict.fromkeys(one.note for one in done):
            say(note)
        for backup in _backups(archive):
            say(f"made earlier: {backup}")
    return ExitCode.OK


def run_usage(args: argparse.Namespace) -> int:
    """Print how much of the disk each collection uses."""
    with open_archive(args) as archive:
        from quillread.serve.archive.purging import use_of_disk

        usage = use_of_disk(archive, command_actor())
        for item in usage.items:
            bin = "\tin the bin" if item.is_deleted else ""
            print(f"{item.collection_id}\t{item.name}\t{item.files:,} files\t{item.bytes / 1e6:,.1f} MB{bin}")
        if usage.free is not None:
            say(f"{usage.free / 1e9:,.1f} GB are free")
    return ExitCode.OK


def _tell_faults(contents: "Contents", hint: str) -> int:
    for fault in contents.faults:
        say(f"{fault}: it is not in the backup")
    if contents.faults:
        say(f"{len(contents.faults):,} files are not in the backup; {hint}")
        return ExitCode.INPUT_FAILED
    return ExitCode.OK


def _agrees(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("deleting for good has to be agreed to", hint="quill serve purge --yes")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _backups(archive: "Archive") -> list[str]:
    """The backups that this archive knows of and that are where they were made."""
    from sqlalchemy import select

    from quillread.serve.database.schema import AuditEntry

    with archive.database.read() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "backup").order_by(AuditEntry.id)).all()
    made = {str(entry.details.get("file")): entry.time for entry in entries}
    return [f"{file} ({time:%Y-%m-%d})" for file, time in made.items() if Path(file).exists()]
