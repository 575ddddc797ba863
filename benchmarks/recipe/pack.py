"""Small copies of all that the trainings of `gpu.py` need, in parts of a bounded size, for a machine with a GPU.

    python benchmarks/recipe/pack.py --root DIR --output PACK [--quality 25] [--megabytes 40]

DIR holds the data sets as `make train-builtin` takes them, fonts and texts lie beside it. Images are written as WebP of
that quality, no higher than the network sees them. PACK/1, PACK/2 and so on are folders of at most so many megabytes;
`gpu.py` finds a data set in whichever it lies. They hold data of DIR: what may be done with that holds for them, too.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

HEIGHT = 64
SETS = ("iam-line", "copiste", "timeus", "poilus", "hooker", "lettres", "registres", "medieval")
TEXTS = ("en.txt", "en-modern.txt", "fr.txt")
TEXT_BYTES = 3_000_000
"""Of each text: the lines of a training of minutes say no more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quality", type=int, default=25)
    parser.add_argument("--megabytes", type=int, default=40, help="of a part, at most")
    args = parser.parse_args()
    args.output.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        copies = Path(folder)
        for name in SETS:
            splits = ("--split", "train", "--split", "validation")
            size = ("--height", str(HEIGHT), "--webp", str(args.quality))
            command = ["quill", "data", "convert", f"hub:{args.root / name}", "--output", str(copies / name)]
            subprocess.run([*command, *splits, *size], check=True)
        strokes = copies / "iam-ondb"
        strokes.mkdir()
        shutil.copy(args.root / "iam-ondb" / "strokes.npz", strokes)
        shutil.copytree(args.root.parent / "fonts", copies / "fonts")
        (copies / "text").mkdir()
        for name in TEXTS:
            with (args.root.parent / "text" / name).open("rb") as text:
                whole = text.read(TEXT_BYTES)
            (copies / "text" / name).write_bytes(whole[: whole.rfind(b"\n") + 1])
        for place, part in divide({path: size_of(path) for path in copies.iterdir()}, args.megabytes).items():
            target = args.output / str(part)
            target.mkdir(exist_ok=True)
            place.rename(target / place.name)
    for part in sorted(args.output.iterdir()):
        print(f"{part}: {size_of(part) / 1e6:.1f} MB: {', '.join(sorted(path.name for path in part.iterdir()))}")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def divide(sizes: dict[Path, int], megabytes: int) -> dict[Path, int]:
    """Say for each folder into which part it goes, counted from 1: the largest first, each where it fits first."""
    room, parts = megabytes * 1_000_000, {}
    used: list[int] = []
    for path, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size > room:
            raise SystemExit(f"{path.name} has {size / 1e6:.1f} MB alone: lower --quality or raise --megabytes")
        number = next((i for i, taken in enumerate(used) if taken + size <= room), len(used))
        if number == len(used):
            used.append(0)
        used[number] += size
        parts[path] = number + 1
    return parts


if __name__ == "__main__":
    main()
