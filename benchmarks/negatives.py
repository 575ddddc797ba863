"""Are negatives told from pages, and pages from negatives?

    python benchmarks/negatives.py --pages DIR

Every page below DIR is looked at as it is and inverted.
"""

import argparse
from pathlib import Path

from quillread.data.page_lines import read_pages
from quillread.images.read import open_document
from quillread.images.tones import is_negative


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, required=True, metavar="DIR", help="pages with a PAGE or ALTO file each")
    args = parser.parse_args()
    count = alarms = noticed = 0
    for path in read_pages(args.pages)[0]:
        with open_document(path) as document:
            image = document.page(0)
        count += 1
        alarms += is_negative(image)
        noticed += is_negative(255 - image)
    print(f"{count} pages: {alarms} taken for negatives; {noticed} of their negatives noticed")


if __name__ == "__main__":
    main()
