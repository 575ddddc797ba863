"""Kill the driver, workers and nodes of `quill batch` at random moments, and count the rows that come of it.

    python benchmarks/kills.py --kills 20 --json benchmarks/results/kills.json

Three nodes of Ray run on this machine, of which the first has no room for workers. In each round a batch is read into a
new target: images of lines, and a PDF of 20 of them, which is spread over the workers. Meanwhile something is killed
with SIGKILL, after a random time, again and again until all is read: the driver, which is started again with the same
command; the process of a worker; or a node with all its processes, in whose place another one comes. Then the rows are
compared with what `quill read` reads: each page has one, with the same text.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset
from jobs import EXAMPLES, copy_pages
from PIL import Image
from ray.cluster_utils import Cluster
from record import describe_machine, save

from quillread.images.read import is_readable_name

_QUILL = (sys.executable, "-m", "quillread.cli.main")
_KINDS = ("driver", "worker", "node")
_BOOK = 20
"""Pages of the PDF; more than are read in one go."""
_STORE = 100_000_000
_MOMENTS = (0.5, 8.0)
"""Least and most seconds from one kill to the next."""
_PATIENCE = 900.0
"""Seconds after which a round hangs."""

Texts = dict[tuple[str, int | None], str]
"""By the name of the file, and the number of the page."""


def main() -> None:
    """Kill, count, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, metavar="DIR", help="images of lines (default: those of the examples)")
    parser.add_argument("--images", type=int, default=80, metavar="N", help="copies to read (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    machine = describe_machine()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        prepare(args.root or cut_lines(place / "lines"), args.images, place / "scans")
        expected = read_alone(place)
        with three_nodes() as cluster:
            while (left := args.kills - sum(len(done["kills"]) for done in rounds)) > 0:
                seed = args.seed + len(rounds)
                done = run_round(place, place / f"target-{seed}", cluster, random.Random(seed), left)
                rounds.append({"seed": seed, **done, **compare(place / f"target-{seed}", expected)})
                print(json.dumps(rounds[-1]), flush=True)
    figures = {
        "pages": len(expected),
        "kills": dict(Counter(kill["what"] for done in rounds for kill in done["kills"])),
        **{name: sum(done[name] for done in rounds) for name in ("lost", "doubled", "other_text")},
        "rounds": rounds,
    }
    print(json.dumps({name: value for name, value in figures.items() if name != "rounds"}, indent=2))
    if args.json:
        save(args.json, "kills", machine, figures)
    if figures["lost"] or figures["doubled"] or figures["other_text"]:
        raise SystemExit("the rows are not those of quill read")


def cut_lines(folder: Path) -> Path:
    """Cut the lines out of the examples."""
    subprocess.run([*_QUILL, "data", "lines", str(EXAMPLES), "--output", str(folder)], check=True)
    return folder


def prepare(root: Path, count: int, folder: Path) -> None:
    """Make what is read."""
    originals = sorted(path for path in root.rglob("*") if path.is_file() and is_readable_name(path))
    if not originals:
        raise SystemExit(f"{root}: holds no images")
    copy_pages(originals, count, folder)
    pages = [Image.open(path).convert("RGB") for path in sorted(folder.iterdir())[:_BOOK]]
    pages[0].save(folder / "book.pdf", save_all=True, append_images=pages[1:])


def read_alone(place: Path) -> Texts:
    """What `quill read` reads."""
    command = [*_QUILL, "read", "scans", "--lines", "--output", "alone", "--format", "json"]
    subprocess.run(command, cwd=place, check=True)
    texts: Texts = {}
    for path in (place / "alone").rglob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        for page in document["pages"]:
            text = "\n".join(line["text"] for line in page["lines"])
            texts[Path(document["source"]).name, page["number"]] = text
    return texts


@contextlib.contextmanager
def three_nodes() -> Iterator[Cluster]:
    """A cluster on this machine."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": _STORE})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=_STORE)
        yield cluster
    finally:
        cluster.shutdown()


def run_round(place: Path, target: Path, cluster: Cluster, rng: random.Random, most: int) -> dict[str, Any]:
    """Read a batch to its end, and kill something again and again meanwhile; tell what, and after how many seconds."""
    command = [*_QUILL, "batch", "scans", "--lines", "--output", str(target), "--address", cluster.address]
    command += ["--min-workers", "2", "--max-workers", "2"]
    begin, kills, driver = time.monotonic(), [], start(command, place)
    while driver.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(rng.uniform(*_MOMENTS) if len(kills) < most else _PATIENCE)
            break
        if time.monotonic() - begin > _PATIENCE:
            driver.kill()
            raise SystemExit(f"{target}: the batch has not ended after {_PATIENCE:g} seconds; kills: {kills}")
        what = rng.choice(_KINDS)
        rows = count_rows(target)
        if what == "driver":
            driver.kill()
            driver.wait()
            driver = start(command, place)
        elif what == "worker":
            if not (workers := find_workers(cluster)):
                continue  # none has started yet
            os.kill(rng.choice(workers), signal.SIGKILL)
        else:
            cluster.remove_node(rng.choice(sorted(cluster.worker_nodes, key=str)), allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=_STORE)
        kills.append({"what": what, "after": round(time.monotonic() - begin, 1), "rows": rows})
    if driver.returncode:
        raise SystemExit(f"{target}: the batch ended with exit code {driver.returncode}; kills: {kills}")
    return {"kills": kills, "seconds": round(time.monotonic() - begin, 1)}


def start(command: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start a driver."""
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def find_workers(cluster: Cluster) -> list[int]:
    """The processes of workers: children of the nodes that have become actors."""
    nodes = {entry.process.pid for node in cluster.worker_nodes for entry in node.all_processes["raylet"]}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if parent in nodes and (folder / "cmdline").read_bytes().startswith(b"ray::_Actor"):
                found.append(int(folder.name))
    return sorted(found)


def read_rows(target: Path) -> list[dict[str, Any]]:
    """All rows of a target."""
    table = pyarrow.dataset.dataset(str(target / "pages"), partitioning="hive").to_table(
        ["id", "source", "page", "text"]
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def count_rows(target: Path) -> int:
    """Rows that are there by now; 0 while a part is being put in its place."""
    try:
        return len(read_rows(target))
    except (OSError, pyarrow.ArrowException):
        return 0


def compare(target: Path, expected: Texts) -> dict[str, int]:
    """How many pages have no row, more than one, or another text than `quill read` reads."""
    rows = [((Path(row["source"]).name, row["page"]), row["text"]) for row in read_rows(target)]
    counts, texts = Counter(page for page, _ in rows), dict(rows)
    return {
        "rows": len(rows),
        "lost": len(expected.keys() - texts.keys()),
        "doubled": sum(count - 1 for count in counts.values()) + len(texts.keys() - expected.keys()),
        "other_text": sum(texts[page] != text for page, text in expected.items() if page in texts),
    }


if __name__ == "__main__":
    main()
