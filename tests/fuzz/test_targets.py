"""What docs/assurance.md says of fuzzing is so: its table of readers of foreign bytes has each target
that there is, and each header that declares such a reader. Argument: the checkout."""
import glob
import os
import re
import sys
import unittest

ROOT = sys.argv[1]
# Not db: its rows are the services' own, and sealed keys are judged by keyd.
ROOMS = ("base", "lorawan", "device", "hsm", "api", "joinserver", "activation", "cli")
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<files>`[^|]+) \| (?P<target>[^|]+) \|$", re.M)
# A function that takes bytes or text apart says so by its name.
READER = re.compile(r"\b([a-z0-9_]+_(?:read|parse|decode|feed|parse_claim|check_url|receive|check_line))\(")
# What has such a name and reads nothing of anybody else's.
OWN = {
    "base/bytes.h": "the cursor that readers are made of",
    "base/audit_key.h": "a key that the operator names",
    "base/keyed.h": "a number behind a hash, held against a key in the HSM",
    "hsm/ceremony.h": "options of the command line",
    "hsm/escrow.h": "the operator's own file",
    "hsm/p11_exchange.h": "what the token says",
    "device/moves.h": "one of a list of words",
    "device/record.h": "one of a list of words",
    "device/signal.h": "one of a list of words",
    "api/listen.h": "a setting",
    "api/stream.h": "bytes as they came",
    "activation/call.h": "a body by json_read",
    "activation/home.h": "a body by json_read",
    "activation/move_call.h": "a body by json_read",
    "activation/peer_body.h": "a body by json_read",
    "activation/delivery_record.h": "rows that the service wrote",
    "activation/import_parse.h": "the inside of import_reader",
    "activation/label_draw.h": "a label that was read",
    "cli/backup_files.h": "the operator's own file, by jansson",
    "cli/files.h": "a key that the operator names",
    "cli/members.h": "options of the command line",
    "cli/device_options.h": "options of the command line",
}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def rows():
    """[(files, targets)] of the table."""
    text = read("docs", "assurance.md")
    text = text[text.index("## Fuzzing"):]
    return [(re.findall(r"`([^`]+)`", row["files"]), re.findall(r"`([a-z0-9_]+)`", row["target"]))
            for row in ROW.finditer(text[:text.index("\n## ", 3)])]


def headers():
    """(path, readers that it declares) of each header."""
    for room in ROOMS:
        for path in glob.glob(os.path.join(ROOT, room, "*.h")):
            text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
            yield os.path.relpath(path, ROOT), READER.findall(text)


def made():
    """The targets of tests/fuzz/meson.build."""
    return set(re.findall(r"\{'name': '([a-z0-9_]+)'", read("tests", "fuzz", "meson.build")))


class Targets(unittest.TestCase):
    def test_each_target_is_built_has_a_corpus_and_stands_in_the_table(self):
        sources = {os.path.basename(path)[len("fuzz_"):-len(".c")]
                   for path in glob.glob(os.path.join(ROOT, "tests", "fuzz", "fuzz_*.c"))}
        corpora = {name for name in os.listdir(os.path.join(ROOT, "tests", "fuzz", "corpus"))
                   if os.listdir(os.path.join(ROOT, "tests", "fuzz", "corpus", name))}
        runner = set(re.findall(r'^    "([a-z0-9_]+)": \(', read("scripts", "lib", "fuzz_targets.py"), re.M))
        self.assertTrue(sources)
        self.assertEqual(made(), sources)
        self.assertEqual(made(), corpora)
        self.assertEqual(made(), runner)
        self.assertEqual(made(), {target for _, targets in rows() for target in targets})

    def test_files_of_the_table_are_there_and_are_fuzzed_or_said_not_to_be(self):
        self.assertTrue(rows())
        for files, targets in rows():
            for path in files:
                self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)
            runner = read("scripts", "lib", "fuzz_targets.py")
            for target in targets:
                covered = re.search(rf'"{target}": \(\s*((?:"[^"]*"\s*)+),', runner).group(1)
                self.assertTrue(any(path in covered for path in files), f"{target} covers none of {files}")

    def test_no_reader_is_left_out(self):
        named = {os.path.splitext(path)[0] for files, _ in rows() for path in files}
        readers = {name: found for name, found in headers() if found}
        left = {name: found for name, found in readers.items()
                if name not in OWN and os.path.splitext(name)[0] not in named}
        self.assertEqual(left, {})
        self.assertEqual(OWN.keys() - readers.keys(), set(), "excepted, and no reader")


unittest.main(argv=sys.argv[:1])
