"""Measure the base installation: what is downloaded, and what it takes on the disk, package by package.

    python benchmarks/install_size.py --json benchmarks/results/install_size.json

Builds the wheel of this tree, downloads those of its base dependencies in the versions of `constraints.txt`, and
installs them all into a fresh virtual environment; everything is made in a temporary folder. Needs the network.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from record import describe_machine, save

ROOT = Path(__file__).parents[1]
SIZES = """
import importlib.metadata, json
sizes = {}
for package in importlib.metadata.distributions():
    paths = {path.locate().resolve() for path in package.files or ()}
    sizes[package.name] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""
"""Run by the new environment's interpreter: bytes of the files of each package, byte code included."""


def main() -> None:
    """Build, download, install, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels = collect_wheels(folder)
        python = install(folder, wheels)
        downloaded = {normalise(path.name.split("-")[0]): path.stat().st_size for path in wheels.iterdir()}
        installed = measure_packages(python)
        environment = sum(path.lstat().st_size for path in python.parents[1].rglob("*") if path.is_file())
    packages = {
        package: {"wheel_bytes": size, "installed_bytes": installed[package]}
        for package, size in sorted(downloaded.items(), key=lambda item: -installed[item[0]])
    }
    totals = {
        "wheel_bytes": sum(downloaded.values()),
        "installed_bytes": sum(installed[package] for package in downloaded),
        "environment_bytes": environment,
    }
    print_table(packages, totals)
    if arguments.json:
        save(arguments.json, "install_size", machine, {**totals, "packages": packages})


def collect_wheels(folder: Path) -> Path:
    """Build our wheel and download the others into one folder."""
    tree = folder / "tree"
    # A copy, because setuptools would take what an earlier build has left in `build`.
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    wheels = folder / "wheels"
    run(sys.executable, "-m", "pip", "wheel", str(tree), "-c", str(ROOT / "constraints.txt"), "-w", str(wheels))
    return wheels


def install(folder: Path, wheels: Path) -> Path:
    """Install the wheels into a new environment; return its interpreter."""
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", str(environment))
    python = environment / "bin" / "python"
    run(str(python), "-m", "pip", "install", "--no-index", "--find-links", str(wheels), "quillread")
    return python


def measure_packages(python: Path) -> dict[str, int]:
    """Return the bytes on disk of every package in an environment."""
    sizes: dict[str, int] = json.loads(subprocess.check_output([str(python), "-c", SIZES]))
    return {normalise(name): size for name, size in sizes.items()}


def normalise(name: str) -> str:
    """Bring the name of a package to the one form (PEP 503), which file names and metadata do not keep to."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run(*command: str) -> None:
    """Run a command silently; stop with its messages if it fails."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def print_table(packages: dict[str, dict[str, int]], totals: dict[str, int]) -> None:
    """Print one row per package in megabytes (10^6), the largest first."""
    width = max(map(len, packages))
    print(f"{'package':{width}} {'wheel MB':>9} {'installed MB':>13}")
    for name, row in (*packages.items(), ("sum", totals)):
        print(f"{name:{width}} {row['wheel_bytes'] / 1e6:9.1f} {row['installed_bytes'] / 1e6:13.1f}")
    print(f"\nThe whole environment, pip included: {totals['environment_bytes'] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
