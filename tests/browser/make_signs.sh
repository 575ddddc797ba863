#!/usr/bin/env bash
# Make the fonts of special signs that are vendored into the page, from Debian's package of Junicode:
#   tests/browser/make_signs.sh FOLDER        (needs apt-get, dpkg-deb, and fonttools with brotli)
# The same package, fonttools 4.68.0 and brotli 1.2 give the same bytes.
set -euo pipefail
version='2+git20230104+ds-1'
# Letters, marks and abbreviations of medieval hands that common fonts lack, and the signs of MUFI's private-use area
# that the palette begins with; and all of that area that the font has. The style sheet names the same ranges.
# The letters and the space are for the marks above them: a letter and its marks are drawn from one font.
signs='0020,0041-005A,0061-007A,017F,25CC,0363-036F,1DC0-1DFF,2108,2114,211E-211F,2123,2125,2183-2184,20B0,204A,214F,2C60-2C7F,2E00-2E5D,A720-A7FF,FB00-FB06'
signs+=',E8B3,E8B7,E8BF,EADA,EBA2-EBA3,EBA6,EEC5,F149,F160-F161,F1A6,F1AC,F1E1'
mufi='E000-F8FF'

out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq "fonts-junicode=$version"
dpkg-deb -x fonts-junicode_*.deb .
subset() {
  pyftsubset usr/share/fonts/opentype/junicode/JunicodeTwoBeta-Regular.otf --unicodes="$1" --output-file="$out/$2" \
    --flavor=woff2 --layout-features="$3" --no-hinting --desubroutinize
}
subset "$signs" signs.woff2 mark,mkmk
subset "$mufi" mufi.woff2 ''
