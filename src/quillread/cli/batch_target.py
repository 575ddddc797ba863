"""What is done with the target of `quill batch` while it is read, or afterwards."""

import argparse
import json
import random
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from quillread.cli.options import positive_number, whole_number
from quillread.cli.progress import say
from quillread.cli.targets import target_path
from quillread.config import build
from quillread.errors import DataError, ExitCode, UsageError
from quillread.extras import require_installed
from quillread.files import write_text

if TYPE_CHECKING:
    from quillread.batch.cluster.progress import Progress


def configure_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `quill batch status`."""
    parser.description = "Tell how far a batch is, from any machine that reaches its target."
    parser.add_argument("target", metavar="TARGET", help="folder or address that the batch is written into")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    parser.add_argument("--price", type=float, metavar="AMOUNT", help="of a worker for an hour")
    parser.set_defaults(run=status)


def status(args: argparse.Namespace) -> int:
    """Tell how far a batch is."""
    require_installed(("fsspec", "pyarrow"), "ray")
    from quillread.batch.cluster.ledger import Ledger, is_alive
    from quillread.batch.cluster.progress import Progress
    from quillread.batch.cluster.store import Store

    ledger = Ledger(Store(args.target))
    told = ledger.run()
    if told is None:
        raise UsageError(f"{args.target}: holds no batch", hint="name the folder or address of --output")
    progress = Progress.of_plain(told)
    state = "ended" if told.get("ended") else "running" if is_alive(told) else "lost"
    if args.json:
        facts = {name: told[name] for name in ("host", "process", "time")}
        figures = {"rate": progress.rate, "seconds_left": progress.seconds_left}
        print(json.dumps({"state": state, **facts, **figures, **progress.plain()}))
        return ExitCode.OK
    where = f"process {told['process']} of {told['host']}"
    meaning = {
        "ended": "no run works on it",
        "running": f"{where} works on it",
        "lost": f"{where} worked on it, and gives no sign of life: run the command again to go on",
    }
    say(f"{meaning[state]}; {summarise(progress, args.price)}")
    return ExitCode.OK


def summarise(progress: "Progress", price: float | None) -> str:
    """What was read, for people; several lines if pages killed their workers or files are missing."""
    text = f"{_count(progress.pages, 'page')} with {_count(progress.lines, 'line')} in the data set"
    if progress.earlier:
        text += f", {progress.earlier:,} of them read by earlier runs"
    if progress.rate:
        text += f"; {progress.rate:.3g} pages/s"
    if progress.failed:
        text += f"; {progress.failed:,} failed ({_kinds(progress)})"
    if progress.doubles:
        text += f"; {_count(progress.doubles, 'input')} named twice and read once"
    if price is not None and (cost := progress.cost(price)) is not None:
        text += f"; {cost:.3g} per 1,000 pages"
    lost = (f"a worker was lost again and again with {name}" for name in progress.deadly)
    unwritten = (f"a file could not be written: {message}" for message in progress.unwritten)
    return "\n  ".join([text, *lost, *unwritten])


def _kinds(progress: "Progress") -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in sorted((+progress.faults).items()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def configure_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `quill batch report`."""
    parser.description = "Write a report of a batch as an HTML page: speed, faults, confidences, and the worst pages."
    parser.add_argument("target", metavar="TARGET", help="folder or address that the batch is written into")
    parser.add_argument("-o", "--output", type=target_path, required=True, metavar="FILE", help="the page")
    parser.add_argument("--price", type=float, metavar="AMOUNT", help="of a worker for an hour")
    parser.set_defaults(run=report)


def report(args: argparse.Namespace) -> int:
    """Write the report."""
    require_installed(("fsspec", "pyarrow"), "ray")
    from quillread.batch.cluster.finished import Finished
    from quillread.batch.cluster.report import write_report
    from quillread.images.document import ReadConfig

    batch = Finished(args.target)
    config = build(ReadConfig, batch.settings["reading"]["settings"]["read"])
    write_text(args.output, write_report(batch, config, args.price))
    say(f"the report is {args.output}")
    return ExitCode.OK


def configure_sample(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `quill batch sample`."""
    parser.description = (
        "Draw lines of a batch for proofreading, and estimate from them the character error rate of all lines. Draw "
        "with --output, fill the column truth, then estimate with --measure."
    )
    parser.add_argument("target", nargs="?", metavar="TARGET", help="folder or address that the batch is written into")
    parser.add_argument("--lines", type=positive_number, default=200, metavar="N", help="to draw (default: 200)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="another one draws other lines")
    parser.add_argument("-o", "--output", type=target_path, metavar="FILE", help="CSV file of the lines")
    parser.add_argument("--measure", type=Path, metavar="FILE", help="the same file, proofread")
    parser.add_argument("--json", action="store_true", help="the estimate as JSON")
    parser.set_defaults(run=sample)


def sample(args: argparse.Namespace) -> int:
    """Draw a sample, or estimate from one."""
    if (args.measure is None) == (args.output is None) or (args.output and not args.target):
        raise UsageError(
            "a sample is drawn from TARGET with --output, or measured with --measure", hint="give one of both"
        )
    from quillread.batch.cluster import sample as samples

    if args.measure is not None:
        return _measure(args.measure, args.json)
    require_installed(("fsspec", "pyarrow"), "ray")
    from quillread.batch.cluster.finished import Finished

    samples.check_count(args.lines)
    rows = Finished(args.target).rows(("id", "source", "page", "lines"))
    drawn = samples.draw(rows, args.lines, random.Random(args.seed))
    write_text(args.output, samples.to_csv(drawn))
    say(
        f"{_count(len(drawn), 'line')} drawn: fill the column truth of {args.output}, with {samples.EMPTY} where "
        f"nothing is written, then: quill batch sample --measure {quote(str(args.output))}"
    )
    return ExitCode.OK


def _measure(path: Path, as_json: bool) -> int:
    from quillread.batch.cluster import sample as samples

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}", hint="save it as CSV in UTF-8") from error
    found = samples.estimate(samples.from_csv(text, str(path)))
    if as_json:
        facts = {"cer": found.cer, "ci95": {"cer": [found.low, found.high]}}
        print(json.dumps({**facts, "lines": found.lines, "lines_of_all": found.lines_of_all}))
    else:
        span = f"{100 * found.low:.2f} to {100 * found.high:.2f} %"
        print(f"CER of all {found.lines_of_all:,} lines: {100 * found.cer:.2f} % (95 % interval {span})")
    return ExitCode.OK
