"""Write src/ui/text_table.h: which characters take no cell of a terminal and which take two.

Usage: python tools/text_table.py > src/ui/text_table.h
"""

import sys
import unicodedata

HANGUL_MEDIAL_FINAL = range(0x1160, 0x1200)  # drawn inside the cell of the leading consonant


def cells(code):
    """Cells that terminals give to the character: 0, 1 or 2."""
    char = chr(code)
    if 0xD800 <= code < 0xE000:
        return 1
    if code in HANGUL_MEDIAL_FINAL or (unicodedata.category(char) in ("Mn", "Me", "Cf") and code != 0xAD):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def ranges(wanted):
    """Pairs (first, last) of the characters beyond ASCII that take `wanted` cells."""
    found = []
    for code in range(0x80, sys.maxunicode + 1):
        if cells(code) != wanted:
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def write_table(name, pairs):
    print(f"static const struct text_range {name}[] = {{")
    texts = [f"{{0x{first:x}, 0x{last:x}}}" for first, last in pairs]
    line = "   "
    for text in texts:
        if len(line) + len(text) + 2 > 118:
            print(line)
            line = "   "
        line += f" {text},"
    print(f"{line}\n}};")


def main():
    print("/*")
    print(" * text_table.h - cells that characters take in a terminal, first and last of each range.")
    print(f" * Made by tools/text_table.py from Unicode {unicodedata.unidata_version}; do not edit.")
    print(" */")
    print("#ifndef HASTEN_TEXT_TABLE_H\n#define HASTEN_TEXT_TABLE_H\n")
    print('#include "base/base.h"\n')
    print("/* clang-format off: a table */\n")
    print("struct text_range {\n    uint32_t first;\n    uint32_t last;\n};\n")
    write_table("no_cell", ranges(0))
    print()
    write_table("two_cells", ranges(2))
    print("\n#endif")


main()
