"""Claim codes of 130 bits, where an organization has them made so long: typed by people, and as secret as the others."""

import json
import re
import secrets

import support
from test_accounts import Rest
from test_bulk_moves import HOME, BulkTest
from test_claims import modbus
from test_codes import CodeNeedles, CodesTest, unclaimed

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SHORT, LONG = re.compile("^[0-9A-F]{16}$"), re.compile(f"^[{ALPHABET}]{{26}}$")


def misread(code):
    """The code as somebody types it who takes digits for letters."""
    text = code.replace("0", "O").replace("1", "I", 1).replace("1", "l").lower()
    return "-".join(re.findall(".{1,5}", text))


class LengthTest(BulkTest, CodesTest):
    def organization(self, *roles, length=None):
        rest = super().organization(*roles)
        if length is not None:
            admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
            path = f"/v1/organizations/{rest.organization}"
            status, _, changed = admin.call("patch", path, {"claim_code_length": length})
            self.assertEqual((status, changed["claim_code_length"]), (200, length))
        return rest

    def made_for(self, maker, n):
        """{DevEUI: code} of devices that nobody owns."""
        self.fleet(maker, 0, unclaimed(n))
        status, _, lines = self.make(maker.batch, secrets.token_hex(8), rest=maker)
        self.assertEqual((status, len(lines)), (200, n), lines)
        return {line["dev_eui"]: line["code"] for line in lines}

    def claim(self, owner, dev_eui, code):
        status, _, answer = owner.call("post", "/v1/claims", dict(HOME, dev_eui=dev_eui, code=code))
        self.assertEqual((status, answer.get("outcome")), (200, "claimed"), answer)
        return answer["code"]

    def with_digits(self, maker):
        """A device whose code has a 0 and a 1."""
        return next((dev_eui, code) for dev_eui, code in self.made_for(maker, 40).items() if "0" in code and "1" in code)


class Lengths(LengthTest):
    def test_codes_are_as_long_as_the_organization_has_them(self):
        maker, long_owner, short_owner = (self.organization("maker", length=26), self.organization("owner", length=26),
                                          self.organization("owner"))
        codes = self.made_for(maker, 2)
        self.assertEqual(len(set(codes.values())), 2)
        first, second = codes
        for code in codes.values():
            self.assertRegex(code, LONG)
        self.assertRegex(self.claim(short_owner, first, codes[first]), SHORT)
        self.assertRegex(self.claim(long_owner, second, codes[second]), LONG)
        # Those of before stay as they are.
        short_maker = self.organization("maker")
        dev_eui, code = next(iter(self.made_for(short_maker, 1).items()))
        self.assertRegex(code, SHORT)
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        admin.call("patch", f"/v1/organizations/{short_maker.organization}", {"claim_code_length": 26})
        self.assertRegex(self.claim(long_owner, dev_eui, code.lower()), LONG)

    def test_whatever_makes_an_owners_code_makes_a_long_one(self):
        owner, other = self.organization("maker", "owner", length=26), self.organization("owner")
        offered, moved = self.fleet(owner, 2)
        path = f"/v1/devices/{moved}"
        told = [owner.call("post", f"{path}/{verb}")[2]["code"] for verb in ("rotate-code", "release", "rotate-code")]
        offer = owner.call("post", f"/v1/devices/{offered}/offer", {"to": other.organization})[2]
        self.assertRegex(other.call("post", f"/v1/offers/{offer['id']}/accept")[2]["code"], SHORT)
        fleet = self.fleet(owner, 2)
        job = self.moved(owner, "release", fleet)
        status, lines = self.codes(owner, job, secrets.token_hex(8))
        self.assertEqual((status, len(lines)), (200, 2))
        for code in told + [line["code"] for line in lines]:
            self.assertRegex(code, LONG)
        self.claim(other, moved, told[-1])
        self.claim(other, fleet[0], lines[0]["code"])

    def test_a_long_code_is_read_as_people_type_it(self):
        maker, owner = self.organization("maker", length=26), self.organization("owner")
        dev_eui, code = self.with_digits(maker)
        self.assertNotEqual(misread(code).replace("-", "").upper(), code)
        self.claim(owner, dev_eui, misread(code))
        dev_eui, code = self.with_digits(maker)
        text = f"LW:D0:{support.DEMO_JOIN_EUI.upper()}:{dev_eui.upper()}:00000000:O{code}"
        answer = owner.call("post", "/v1/claims", {"qr": f"{text}:C{modbus(text):04X}"})
        self.assertEqual((answer[0], answer[2].get("outcome")), (200, "claimed"), answer)

    def test_a_files_code_of_that_length_is_taken_as_it_is(self):
        maker, owner = self.organization("maker"), self.organization("owner")
        code = "OIL" + secrets.token_hex(12)[:23].upper()
        rows = unclaimed(2, code=code)
        self.fleet(maker, 0, rows)
        zeros = code.translate(str.maketrans("OIL", "011"))
        self.assertEqual(owner.call("post", "/v1/claims", dict(HOME, dev_eui=rows[0]["dev_eui"], code=zeros))[0], 403)
        self.claim(owner, rows[0]["dev_eui"], code.lower())

    def test_wrong_codes_of_any_length_are_refused_alike(self):
        maker, thief = self.organization("maker", length=26), self.organization("owner", length=26)
        here = next(iter(self.made_for(maker, 1)))
        answers = set()
        for dev_eui, code in ((here, "0" * 26), (secrets.token_hex(8), "0" * 26), (here, "0" * 16), (here, "O" * 32)):
            status, _, problem = thief.call("post", "/v1/claims", dict(HOME, dev_eui=dev_eui, code=code))
            answers.add((status, *sorted((name, value) for name, value in problem.items() if name != "instance")))
        self.assertEqual(len(answers), 1, answers)
        self.assertEqual(self.stack.psql(f"SELECT outcome, count(*) FROM claim_event WHERE dev_eui = {self.literal(here)} GROUP BY 1"),
                         [["code", "3"]])

    def test_no_long_code_is_kept(self):
        maker, owner = self.organization("maker", length=26), self.organization("owner", length=26)
        dev_eui, code = next(iter(self.made_for(maker, 1).items()))
        needles = CodeNeedles([code, self.claim(owner, dev_eui, code)])
        self.assertEqual(needles.of(json.dumps({"code": code}).encode()), {code})
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for root in (cluster, self.stack.path("log")):
            found, n_files = needles.in_tree(root)
            self.assertGreater(n_files, 0)
            self.assertEqual(found, set(), root)
