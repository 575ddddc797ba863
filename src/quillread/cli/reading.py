"""One call of `quill read`: what is read, where it goes, and what is said of it."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from quillread.batch.executors import Executor
from quillread.batch.inputs import STDIN, Input
from quillread.batch.journal import PageJournal
from quillread.batch.log import ReadLog
from quillread.batch.outputs import OverlayWriter, Tee, file_writer
from quillread.batch.review import ReviewList
from quillread.batch.run import Run
from quillread.cli.progress import ProgressLine, say
from quillread.cli.terminal import ShowWriter, Stdout, StdoutWriter, title_of, uses_colours
from quillread.errors import ExitCode, Fault, ImageError, OutputError
from quillread.formats.export import FORMATS
from quillread.images.read import read_stream
from quillread.options import Provenance, ReadOptions
from quillread.types import PageWriter


class Reading:
    """One call of the command.

    Args:
        args: Its arguments.
        formats: What is written.
        inputs: What is read.
        options: What it is read with.
        log: Of the folder that is written into, if there is one.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        formats: Sequence[str],
        inputs: Sequence[Input],
        options: ReadOptions,
        log: ReadLog | None,
    ) -> None:
        self._args = args
        self._formats = formats
        self._inputs = inputs
        self._options = options
        self._log = log
        self._folders = [folder for folder in (args.output, args.overlay) if folder]
        several = len(inputs) > 1 and not args.output and len(formats) == 1
        self._stdout = Stdout(b"" if formats == ("json",) else b"\n", title_of(formats[0]) if several else None)
        self._review = ReviewList(args.review)
        self._progress = ProgressLine("pages")
        self._skipped = self._begun = 0

    def run(self, executor: Executor) -> int:
        """Read all inputs."""
        read = Run(
            self._options,
            Provenance(self._options),
            executor,
            with_images=self._args.overlay is not None or any(FORMATS[name].shows_images for name in self._formats),
            on_page=self._show_progress,
            began=datetime.now(UTC),
        )
        failed = 0
        for result in read(self._to_read(), self._writer, self._journal):
            for fault in result.faults:
                say(str(fault))
            failed += bool(result.faults)
            if self._log and result.entry.has_results:
                self._log.add(result.entry, result.pages, len(result.faults), result.last)
        self._progress.end()
        self._sum_up(failed)
        return ExitCode.INPUT_FAILED if failed else ExitCode.OK

    def _to_read(self) -> Iterator[Input]:
        for entry in self._inputs:
            if entry.name == STDIN and entry.fault is None:
                entry = _with_content(entry)
            if self._args.resume and self._log and self._log.has(entry):
                self._skipped += 1
            else:
                yield self._kept_from_others(entry)

    def _kept_from_others(self, entry: Input) -> Input:
        """The input, which is refused if its results would take the places of something else."""
        if self._log is None or self._args.overwrite or not entry.has_results:
            return entry
        why = self._log.refusal(entry)
        if why is None:
            return entry
        return entry.refused(why, "write into another folder, move that file away, or write over it with --overwrite")

    def _journal(self, entry: Input) -> PageJournal | None:
        is_noted = self._args.output and entry.has_results
        return self._log.journal(entry, self._args.resume) if self._log and is_noted else None

    def _writer(self, entry: Input, journal: PageWriter | None) -> Tee:
        self._begun += 1
        for folder in self._folders:
            if not folder.is_dir():
                raise OutputError(f"{folder}: is gone", hint="make sure that nothing moves it, and add --resume")
        writers = self._file_writers(entry) if entry.has_results else []
        if not self._args.output:
            writers += [StdoutWriter(self._stdout, FORMATS[name]) for name in self._formats]
        if self._args.show:
            writers.append(ShowWriter(uses_colours()))
        writers.append(self._review.writer())
        return Tee(writers, journal)

    def _file_writers(self, entry: Input) -> list[PageWriter]:
        args, told = self._args, partial(self._log.note, entry) if self._log else None
        writers: list[PageWriter] = []
        if args.output:
            writers += [file_writer(args.output / entry.stem, name, told) for name in self._formats]
        if args.overlay:
            writers.append(OverlayWriter(args.overlay / entry.stem, told))
        return writers

    def _show_progress(self, done: int, total: int) -> None:
        # Inputs that nobody has opened count as one page each.
        self._progress(done, total + len(self._inputs) - self._skipped - self._begun)

    def _sum_up(self, failed: int) -> None:
        """Say what was done, if that does not show itself."""
        count = len(self._inputs)
        if self._args.review is not None:
            self._review.finish(self._args.output, say, self._log.note_review if self._log else None)
        if self._skipped == count:
            what = "the input was" if count == 1 else f"all {count} inputs were"
            say(f"{what} read by an earlier run: there is nothing to do")
            return
        if self._skipped:
            say(f"skipped {self._skipped} of {count} inputs that an earlier run has read")
        if (self._folders or count > 1) and self._review.pages:
            where = f"; results are in {' and '.join(map(str, self._folders))}" if self._folders else ""
            say(f"{self._review.summary()}{where}")
        if failed:
            say(f"{failed} of {count} inputs could not be read in full")


def _with_content(entry: Input) -> Input:
    try:
        content = read_stream(sys.stdin.buffer, STDIN) if sys.stdin else b""
    except ImageError as error:
        return replace(entry, fault=error.fault)
    if content:
        return replace(entry, content=content)
    hint = "pipe an image or PDF into it: cat letter.jpg | quill read -"
    return replace(entry, fault=Fault("input", "-: stdin is empty", hint))
