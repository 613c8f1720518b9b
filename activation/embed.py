"""Writes the bytes of a file as a C array: embed.py INPUT OUTPUT NAME HEADER."""
import sys

source, target, name, header = sys.argv[1:5]
with open(source, "rb") as file:
    data = file.read()
lines = [f'#include "{header}"', "", f"const char {name}[] = {{"]
for at in range(0, len(data), 16):
    lines.append("    " + " ".join(f"{byte}," if byte < 128 else f"(char){byte}," for byte in data[at:at + 16]))
lines += ["    0};", "", f"const size_t {name}_len = {len(data)};", ""]
with open(target, "w", encoding="ascii") as file:
    file.write("\n".join(lines))
