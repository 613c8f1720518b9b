"""cradle label as a program: what it draws is rendered (rsvg-convert) and read by a decoder that
knows nothing of us (zbarimg); what it lists is read by Python's own csv. Argument: the program."""
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

PROGRAM = sys.argv[1]
SVG = "{http://www.w3.org/2000/svg}"
JOIN_EUI = "70b3d57ed0000002"
LAYOUTS = {"a4-3x8": 24, "a4-5x13": 65, "a4-3x7": 21, "letter-3x10": 30}
PAPER = {"a4": ("210.000mm", "297.000mm"), "letter": ("215.900mm", "279.400mm")}
QUIET = 4
UNIT = 10


def label(*arguments, lines, status=0):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([PROGRAM, "label", *arguments], input=text.encode(), capture_output=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"exit {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode() if status == 0 else (done.stdout.decode(), done.stderr.decode())


def scan(svg):
    """What each QR code in a drawing says."""
    png = subprocess.run(["rsvg-convert", "--dpi-x", "300", "--dpi-y", "300", "--background-color", "white"],
                         input=svg.encode(), capture_output=True, check=True).stdout
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(png)
        file.flush()
        done = subprocess.run(["zbarimg", "--nodbus", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", file.name],
                              capture_output=True, check=False)
    return done.stdout.decode().splitlines()


def device(i, code=None, **more):
    return {"line": i, "dev_eui": f"70b3d57ed005{i:04x}", "join_eui": JOIN_EUI, "generation": 1,
            "code": code or hashlib.sha256(b"%d" % i).hexdigest()[:16].upper(), **more}


def listed(*arguments, lines):
    return list(csv.DictReader(io.StringIO(label("csv", *arguments, lines=lines), newline=""), strict=True))


def words(element):
    """What people read, without what parts it into lines and groups."""
    return ["".join(text.text or "") for text in element.iter(SVG + "text")]


def inner(element):
    """A place on a page as a drawing of its own."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{int(element.get("width")) / 1000}mm" '
            f'height="{int(element.get("height")) / 1000}mm" viewBox="{element.get("viewBox")}">'
            + "".join(ElementTree.tostring(child, encoding="unicode") for child in element) + "</svg>")


LINES = [
    device(1, serial="SN-0001"),
    device(2, serial=None, profile_id="aabb1122"),
    device(3, code="0123456789ABCDEFGHJKMNPQRS", serial="A.1/2 $%*+"),
    device(4, code="A" * 32, serial="Z" * 64),
    device(5, code="1"),
    device(6, serial="small <&> \"letters\", and a colon:"),
    device(7, serial="=1+1"),
    {"dev_eui": "0011aabb", "code": "00112233445566AA", "serial": "-1"},
    {"dev_eui": "sigfox:fedcba98", "join_eui": None, "code": "ffeeddccbbaa9988"},
]


class Drawings(unittest.TestCase):
    def test_a_decoder_reads_from_each_label_what_was_to_be_on_it(self):
        for i, row in enumerate(listed(lines=LINES), 1):
            svg = label("svg", "--line", str(i), lines=LINES)
            with self.subTest(line=i):
                self.assertEqual(scan(svg), [row["qr"]])

    def test_people_read_identifier_code_and_serial_number(self):
        for i, line in enumerate(LINES, 1):
            shown = words(ElementTree.fromstring(label("svg", "--line", str(i), lines=LINES)))
            sigfox = len(line["dev_eui"]) != 16
            heads = ["ID" if sigfox else "DevEUI", "PAC" if sigfox else "Code"]
            serial = line.get("serial") or ""
            heads += ["S/N"] if serial else []
            self.assertEqual([head for head in shown if head in ("ID", "PAC", "DevEUI", "Code", "S/N")], heads)
            at = [shown.index(head) for head in heads] + [len(shown)]
            values = ["".join(shown[a + 1:b]) for a, b in zip(at, at[1:])]
            self.assertEqual(values[0].replace(" ", ""), line["dev_eui"].removeprefix("sigfox:").upper())
            self.assertEqual("".join(values[1].split()), line["code"].upper())
            self.assertEqual(values[2:], [serial] if serial else [])

    def test_codes_stand_in_groups_of_four(self):
        shown = words(ElementTree.fromstring(label("svg", lines=[device(1, code="0123456789ABCDEFGHJKMNPQRS")])))
        self.assertEqual(shown, ["DevEUI", "70B3 D57E D005 0001", "Code", "0123 4567 89AB CDEF", "GHJK MNPQ RS"])

    def test_the_quiet_zone_is_four_modules(self):
        root = ElementTree.fromstring(label("svg", lines=LINES))
        path = root.find(SVG + "path").get("d")
        width = int(root.get("viewBox").split()[2]) // UNIT
        columns, rows = set(), set()
        for row in path.split("M")[1:]:
            x, y = row.split("h")[0].split()
            x, steps = int(x), row.split("m")
            rows.add(int(y.split(".")[0]))
            for step in steps:
                where, run = step.split("h")
                x += int(where.split()[0]) if step is not steps[0] else 0
                columns.update(range(x, x + int(run)))
                x += int(run)
        for used in (columns, rows):
            self.assertEqual((min(used), max(used)), (QUIET, width - QUIET - 1))
        self.assertLess(QUIET * UNIT + (width - 2 * QUIET) * UNIT, int(root.get("viewBox").split()[3]))


class Pages(unittest.TestCase):
    def page(self, layout, *arguments, lines):
        root = ElementTree.fromstring(label("sheet", "--layout", layout, *arguments, lines=lines))
        self.assertEqual((root.get("width"), root.get("height")), PAPER[layout.split("-")[0]])
        return root, root.findall(SVG + "svg")

    def test_a_decoder_reads_a_whole_page(self):
        lines = LINES[:2]
        svg = label("sheet", "--layout", "letter-3x10", lines=lines)
        self.assertEqual(sorted(scan(svg)), sorted(row["qr"] for row in listed(lines=lines)))

    def test_a_decoder_reads_labels_of_each_size(self):
        for layout, n in LAYOUTS.items():
            lines = [device(i, serial=f"SN-{i}") for i in range(n)]
            lines[-1] = LINES[3]  # the longest
            rows = listed(lines=lines)
            places = self.page(layout, lines=lines)[1]
            for i in (0, n // 2, n - 1):
                with self.subTest(layout=layout, place=i):
                    self.assertEqual(scan(inner(places[i])), [rows[i]["qr"]])

    def test_labels_stand_on_the_paper_row_by_row_and_apart(self):
        lines = [device(i) for i in range(max(LAYOUTS.values()) + 1)]
        for layout, n in LAYOUTS.items():
            root, places = self.page(layout, lines=lines)
            boxes = [[int(place.get(name)) for name in ("x", "y", "width", "height")] for place in places]
            self.assertEqual(len(boxes), n)
            self.assertEqual(sorted(boxes, key=lambda box: (box[1], box[0])), boxes)
            width, height = (int(size) for size in root.get("viewBox").split()[2:])
            for x, y, w, h in boxes:
                self.assertTrue(x >= 0 and y >= 0 and x + w <= width and y + h <= height)
            for i, (x, y, w, h) in enumerate(boxes):
                for other_x, other_y, _, _ in boxes[i + 1:]:
                    self.assertTrue(other_x >= x + w or other_y >= y + h or other_x + w <= x)

    def test_the_next_page_begins_with_the_line_asked_for(self):
        lines = [device(i) for i in range(1, 31)]
        places = self.page("a4-3x8", "--line", "25", lines=lines)[1]
        self.assertEqual([words(place)[2] for place in places],
                         [f"D005 {i:04X}"[-9:] for i in range(25, 31)])


class Lists(unittest.TestCase):
    def test_a_list_says_what_came_in_and_is_csv(self):
        text = label("csv", lines=LINES)
        self.assertTrue(text.endswith("\r\n"))
        rows = listed(lines=LINES)
        self.assertEqual(len(rows), len(LINES))
        for row, line in zip(rows, LINES):
            serial = line.get("serial") or ""
            bare = line["dev_eui"].removeprefix("sigfox:")
            self.assertEqual(row["dev_eui"], "sigfox:" + bare if len(bare) == 8 else bare)
            self.assertEqual(row["join_eui"], line.get("join_eui") or "")
            self.assertEqual(row["code"], line["code"].upper())
            self.assertEqual(row["serial"], "'" + serial if serial[:1] in ("=", "-") else serial)
        for field in (field for row in rows for field in row.values()):
            self.assertNotIn(field[:1] or "x", "=+-@\t\r")

    def test_any_number_of_devices_is_listed(self):
        lines = [device(i, code=f"{i:016X}") for i in range(5000)]
        self.assertEqual([row["code"] for row in listed(lines=lines)], [line["code"] for line in lines])

    def test_a_sigfox_id_is_one_however_it_is_spelled(self):
        for spelling in ("0011aabb", "0011AABB", "sigfox:0011aabb", "SIGFOX:0011AABB", "000000000011aabb"):
            row = listed(lines=[{"dev_eui": spelling, "code": "00112233445566AA"}])[0]
            self.assertEqual((row["dev_eui"], row["qr"]), ("sigfox:0011aabb", "SIGFOX:0011AABB:00112233445566AA"))

    def test_what_lines_do_not_say_is_an_option(self):
        line = {"dev_eui": "70b3d57ed0050001", "code": "AB"}
        row = listed("--join-eui", "11-22-33-44-55-66-77-88", "--profile-id", "aabb1122", lines=[line])[0]
        self.assertTrue(row["qr"].startswith("LW:D0:1122334455667788:70B3D57ED0050001:AABB1122:OAB:C"))
        row = listed("--join-eui", "1122334455667788", lines=[dict(line, join_eui=JOIN_EUI)])[0]
        self.assertEqual(row["join_eui"], JOIN_EUI)


class Refusals(unittest.TestCase):
    def test_a_wrong_line_is_named_and_no_code_is(self):
        good = device(1)
        for member, value in (("dev_eui", "70b3"), ("dev_eui", None), ("join_eui", None), ("join_eui", "1"),
                              ("code", None), ("code", 12), ("code", "SECRET_1"), ("serial", "x" * 65),
                              ("serial", 7), ("profile_id", "1"), ("serial", "ä")):
            out, error = label("csv", lines=[good, dict(device(2, code="SECRETCODE"), **{member: value})], status=1)
            self.assertIn("serial number" if value == "ä" else member, error)
            self.assertIn("70B3D57ED0050002" if value == "ä" else "line 2", error)
            self.assertNotIn("SECRET", error + out)
        for line in ("[]\n", "{\n", '{"dev_eui":"1","dev_eui":"2"}\n', "x" * 5000 + "\n"):
            self.assertIn("line 1", label("svg", lines=[line], status=1)[1])

    def test_a_line_that_is_not_there_is_told(self):
        for verb in ("svg", "sheet"):
            self.assertIn("line 3", label(verb, "--line", "3", lines=LINES[:2], status=1)[1])

    def test_a_wrong_option_is_told(self):
        self.assertIn("a4-5x13", label("sheet", "--layout", "a4", lines=LINES, status=1)[1])
        for option in (("--line", "0"), ("--line", "x"), ("--line", "-1"), ("--join-eui", "1"), ("--profile-id", "1")):
            label("sheet", *option, lines=LINES, status=2)
        label("svg", "more", lines=LINES, status=2)


if __name__ == "__main__":
    os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
    unittest.main(argv=sys.argv[:1])
