"""`quill batch`: many pages from any store into one data set, on this machine or on a cluster of Ray."""

import argparse
import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.batch_target import configure_report, configure_sample, configure_status, summarise
from quillread.cli.options import positive_number
from quillread.cli.progress import LiveLine, say
from quillread.cli.read import read_formats
from quillread.cli.reading_options import add_page_flags, add_reading_flags, check_page_flags, read_options
from quillread.cli.targets import target_name
from quillread.config import read_yaml
from quillread.errors import ExitCode
from quillread.extras import require_installed
from quillread.formats.export import FORMATS
from quillread.worker import usable_cores

if TYPE_CHECKING:
    from quillread.batch.cluster.progress import Progress

_NEEDED = ("ray", "fsspec", "pyarrow")
ACTIONS = {"status": configure_status, "report": configure_report, "sample": configure_sample}
"""What else may follow the name of the command, and what adds the arguments of that."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Read the pages of folders, tables of addresses, archives and IIIF collections, on any store, into a data set "
        "of parquet files. Run it again to go on where it was interrupted."
    )
    parser.epilog = (
        "Exit code 0: all pages were read; 3: some pages could not be read, their rows have a fault. See also: "
        "quill batch status TARGET, quill batch report TARGET, quill batch sample TARGET."
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folder, pattern, file or address; .txt, .csv, .tsv, .jsonl or .parquet with a column of addresses; "
        ".zip or .tar of pages; IIIF manifest or collection; s3://, gs:// and what else fsspec supports",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=target_name,
        required=True,
        metavar="TARGET",
        help="folder or address that the data set is written into",
    )
    parser.add_argument("--column", metavar="NAME", help="column of the tables that holds the addresses")
    add_page_flags(
        parser, "a folder of PAGE or ALTO files, which all machines see, whose lines are read instead of finding lines"
    )
    parser.add_argument(
        "-f",
        "--format",
        type=read_formats,
        default=(),
        metavar="NAME[,NAME]",
        help=f"{', '.join(FORMATS)}: also write files, into the folder files of TARGET, named as quill read names them",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="read pages once more that failed in an earlier run"
    )
    parser.add_argument(
        "--price", type=float, metavar="AMOUNT", help="of a worker for an hour: tells what 1,000 pages cost"
    )
    _add_workers(parser)
    add_reading_flags(parser, "auto with compact models, none with TrOCR", "1 for each worker")
    parser.set_defaults(run=run)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workers")
    group.add_argument(
        "--address", metavar="HOST:PORT", help="of a cluster of Ray, or auto (default: start Ray on this machine)"
    )
    group.add_argument(
        "--min-workers",
        type=positive_number,
        default=1,
        metavar="N",
        help="workers to begin with (default: %(default)s)",
    )
    group.add_argument(
        "--max-workers", type=positive_number, metavar="N", help="workers at most (default: the cores of this machine)"
    )
    group.add_argument(
        "--cpus-per-worker", type=float, default=1.0, metavar="N", help="cores that a worker takes (default: 1)"
    )
    group.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="N", help="GPUs that a worker takes, such as 0.5"
    )
    group.add_argument(
        "--pages-at-once",
        type=positive_number,
        metavar="N",
        help="pages that a worker reads at the same time, whose lines TrOCR reads together (default: 4 with TrOCR on a "
        "GPU, or else 1)",
    )
    group.add_argument(
        "--runtime-env", type=Path, metavar="FILE", help="YAML file of a runtime environment of Ray for the workers"
    )
    group.add_argument(
        "--dashboard", action="store_true", help="start Ray's dashboard, for this machine alone, and say where it is"
    )


def run(args: argparse.Namespace) -> int:
    """Read the batch; a page that fails has its row and stops nothing."""
    require_installed(_NEEDED, "ray")
    check_page_flags(args)
    from quillread.batch.cluster.pool import PoolConfig
    from quillread.batch.cluster.reading import BatchConfig, read_batch

    pool = PoolConfig(
        address=args.address,
        min_workers=args.min_workers,
        max_workers=args.max_workers or max(args.min_workers, usable_cores()),
        cpus_per_worker=args.cpus_per_worker,
        gpus_per_worker=args.gpus_per_worker,
        runtime_env=read_yaml(args.runtime_env) if args.runtime_env else {},
        dashboard=args.dashboard,
    )
    logging.getLogger("quillread.batch.cluster.metrics").setLevel(logging.INFO)  # where the dashboard is
    options = read_options(args)
    config = BatchConfig(
        tuple(args.sources),
        args.output,
        options,
        args.column,
        args.format,
        args.retry_failed,
        pool,
        abreast=args.pages_at_once,
    )
    line = LiveLine()
    last: list[Progress] = []

    def tell(now: "Progress") -> None:
        last[:] = [now]
        line.show(_shown(now, args.price))

    try:
        progress = read_batch(config, tell)
    finally:
        line.end()
        for reached in last:  # also where a part of SOURCE could not be listed: the rest of it is read
            say(summarise(reached, args.price))
    return ExitCode.INPUT_FAILED if progress.failed or progress.faults else ExitCode.OK


def _shown(progress: "Progress", price: float | None) -> str:
    """How far it is, on one line."""
    parts = [f"{progress.pages:,} pages", f"{progress.rate:.3g} pages/s", f"{progress.workers} workers"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    left = progress.seconds_left
    parts.append(f"{progress.planned:,} inputs found" if left is None else f"{timedelta(seconds=round(left))} left")
    if price is not None and (cost := progress.cost(price)) is not None:
        parts.append(f"{cost:.3g} per 1,000 pages")
    return ", ".join(parts)
