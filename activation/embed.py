#!/usr/bin/python3
"""Merges the fragments of an OpenAPI description and embeds it as a C array of bytes.

embed.py FIRST.json MORE.json... OUTPUT.c NAME HEADER: no member may stand in two fragments, objects apart.
"""
import json
import sys


def merge(into, part, where):
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value, f"{where}/{name}")
        elif name in into:
            sys.exit(f"{where}/{name} stands in two fragments")
        else:
            into[name] = value


def main():
    *fragments, output, name, header = sys.argv[1:]
    whole = {}
    for path in fragments:
        with open(path, encoding="utf-8") as file:
            merge(whole, json.load(file), path)
    data = json.dumps(whole, indent=2, ensure_ascii=False).encode() + b"\n"
    rows = [" ".join(f"{byte}," if byte < 128 else f"(char){byte}," for byte in data[at:at + 16])
            for at in range(0, len(data), 16)]
    with open(output, "w", encoding="ascii") as file:
        file.write(f'#include "{header}"\n\nconst char {name}[] = {{\n')
        file.write("".join(f"    {row}\n" for row in rows) + "    0};\n\n")
        file.write(f"const size_t {name}_len = {len(data)};\n")


main()
