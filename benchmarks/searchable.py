"""How many words of a searchable PDF do programs lose that take its text?

    python benchmarks/searchable.py --pages DIR

The pages below DIR are read and written as PDF; their text is taken by Poppler's pdftotext (as it is, with -layout and
with -raw), by PDFium and by pypdf. A word is lost if it does not come back whole, as often as it was read.
"""

import argparse
import io
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pypdfium2
from pypdf import PdfReader

from quillread import Reader
from quillread.data.page_lines import read_pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR", help="pages with a PAGE or ALTO file each")
    args = parser.parse_args()
    programs: dict[str, Callable[[Path], str]] = {
        "pdftotext": lambda path: pdftotext(path),
        "pdftotext -layout": lambda path: pdftotext(path, "-layout"),
        "pdftotext -raw": lambda path: pdftotext(path, "-raw"),
        "PDFium": pdfium,
        "pypdf": lambda path: "\n".join(page.extract_text() for page in PdfReader(path).pages),
    }
    lost: Counter[str] = Counter()
    words = 0
    with Reader() as reader, tempfile.TemporaryDirectory() as folder:
        for image in read_pages(args.pages)[0]:
            reading = reader.read(image)
            reading.write("pdf", Path(folder, "page.pdf"))
            read = Counter(reading.text.split())
            words += read.total()
            for name, take in programs.items():
                lost[name] += (read - Counter(take(Path(folder, "page.pdf")).split())).total()
    print(f"{words} words")
    for name in programs:
        print(f"{name}: {lost[name]} lost, {100 * lost[name] / max(words, 1):.2f} %")


def pdftotext(path: Path, *options: str) -> str:
    return subprocess.run(["pdftotext", *options, path, "-"], capture_output=True, check=True, encoding="utf-8").stdout


def pdfium(path: Path) -> str:
    with pypdfium2.PdfDocument(io.BytesIO(path.read_bytes())) as pdf:
        return "\n".join(page.get_textpage().get_text_range() for page in pdf)


if __name__ == "__main__":
    main()
