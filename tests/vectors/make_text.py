"""Writes the classes of characters that src/value/unicode.rs and sesari.is_text know.

The repertoire is that of Unicode 14, the version of PostgreSQL 15, and so of Python 3.11: what a newer
version adds may be normalised in one place and not in the other. Ideographs and pictographs added later
are let in, as nothing is ever done to them.

    python3.11 tests/vectors/make_text.py rust > src/value/unicode.rs
    python3.11 tests/vectors/make_text.py sql    # the literals of sesari.is_text
"""

import sys
import unicodedata

assert unicodedata.unidata_version == "14.0.0"

JOINERS = {0x200C, 0x200D}
SELECTORS = {0xFE0E, 0xFE0F, *range(0xE0100, 0xE01F0)}
TAGS = set(range(0xE0020, 0xE0080))
DEPENDENT = JOINERS | SELECTORS | TAGS
# Ignored when shown, and of no category that says so.
INVISIBLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0, *range(0xFE00, 0xFE0E)}
SET_ASIDE = [(0x1F300, 0x1FAFF), (0x20000, 0x2F7FF), (0x30000, 0x3FFFD)]


def category(c):
    return unicodedata.category(chr(c))


def refused(c):
    if c in DEPENDENT:
        return False
    if category(c) == "Cn":
        return not any(a <= c <= b for a, b in SET_ASIDE) or c & 0xFFFE == 0xFFFE
    return category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or c in INVISIBLE


def blank(c):
    return category(c) == "Zs" and c != 0x20 or c == 0x2800


def mark(c):
    return category(c)[0] == "M" and c not in DEPENDENT and not refused(c)


def upper(c):
    return category(c) != "Cs" and chr(c).lower() != chr(c)


def ranges(holds):
    out = []
    for c in range(0x110000):
        if holds(c):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


CLASSES = {
    "REFUSED": (refused, "No text holds these: controls, marks of direction, what is not shown, private use, and what\n/// Unicode 14 does not know."),
    "BLANKS": (blank, "Blanks other than the space."),
    "MARKS": (mark, "Marks that stand on the character before them."),
    "UPPER": (upper, "Letters that have a lower case."),
}


def escape(c):
    return f"\\u{c:04X}" if c < 0x10000 else f"\\U{c:08X}"


if sys.argv[1] == "rust":
    print("//! Classes of characters, made by `tests/vectors/make_text.py`: first and last of each range.")
    print("#![allow(clippy::unreadable_literal, reason = \"code points\")]")
    for name, (holds, doc) in CLASSES.items():
        if name == "UPPER":
            continue  # Rust lowers by itself.
        print(f"\n/// {doc}\npub(super) const {name}: &[(u32, u32)] = &[")
        for a, b in ranges(holds):
            print(f"    (0x{a:x}, 0x{b:x}),")
        print("];")
else:
    for name, (holds, _) in CLASSES.items():
        # PostgreSQL's text holds neither NUL nor surrogates.
        pieces = [
            escape(a) if a == b else escape(a) + ("-" if b > a + 1 else "") + escape(b)
            for a, b in ranges(lambda c: c > 0 and holds(c) and not 0xD800 <= c <= 0xDFFF)
        ]
        lines, line = [], ""
        for piece in pieces:
            if len(line) + len(piece) > 100:
                lines.append(line)
                line = ""
            line += piece
        lines.append(line)
        print(f"    {name.lower()} CONSTANT text :=\n        '" + "'\n        '".join(lines) + "';")
