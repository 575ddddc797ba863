"""What is done with the target of `quill batch` while it is read, or afterwards."""

import argparse
import json
from typing import TYPE_CHECKING

from quillread.cli.progress import say
from quillread.errors import ExitCode, UsageError
from quillread.extras import require_installed

if TYPE_CHECKING:
    from quillread.batch.cluster.batch import Progress


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
    from quillread.batch.cluster.batch import Progress
    from quillread.batch.cluster.ledger import Ledger, is_alive
    from quillread.batch.cluster.store import Store

    ledger = Ledger(Store(args.target))
    told = ledger.run()
    if told is None:
        raise UsageError(f"{args.target}: holds no batch", hint="name the folder or address of --output")
    progress = Progress.of_plain(told)
    state = "ended" if told["ended"] else "running" if is_alive(told) else "lost"
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
    """What was read, for people; several lines if pages killed their workers."""
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
    return "\n  ".join([text, *(f"a worker was lost again and again with {name}" for name in progress.deadly)])


def _kinds(progress: "Progress") -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in sorted((+progress.faults).items()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
