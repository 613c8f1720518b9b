"""The commands of README, docs/makers.md, docs/onboarding.md, docs/owners.md, docs/roaming.md and docs/the-things-stack.md,
run as they stand there."""

import json
import os
import re
import subprocess
import tempfile
import unittest

import support

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== end of block"
COMMANDS_SECONDS = 60


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("documents", exportable_keys=True)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def said(self, document, *without, **environment):
        """What each block of a document printed, but for those that begin with one of `without`."""
        with open(os.path.join(support.ROOT, document), encoding="utf-8") as file:
            blocks = [block for block in BLOCK.findall(file.read()) if not block.startswith(without)]
        self.assertTrue(blocks)
        script = f"echo '{MARK}'\n".join(blocks)
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(support.Stack.program(""), os.path.join(folder, "build"))
            os.symlink(os.path.join(support.ROOT, "tests"), os.path.join(folder, "tests"))
            run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env={**self.stack.environment(), **environment},
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                 timeout=COMMANDS_SECONDS)
        self.assertEqual((run.returncode, run.stderr), (0, ""), run.stdout)
        self.assertNotIn('"title":', run.stdout, "a problem document")
        return run.stdout.split(MARK)

    def test_the_readme(self):
        by_hand, over_tls, whole, devices = self.said("README.md", "scripts/run")
        self.assertIn('"ResultCode":"Success"', by_hand.replace(" ", ""))
        self.assertIn('"ResultCode":"Success"', over_tls.replace(" ", ""))
        self.assertIn("Joined", whole)
        self.assertEqual(devices.count('"outcome":"created"'), len(devices.splitlines()) - 1)

    def test_makers(self):
        said = self.said("docs/makers.md")
        block, asked, approved = map(json.loads, said[:3])
        self.assertEqual((block["size"], block["given"]), (1000000, 0))
        self.assertEqual((asked["order"]["state"], asked["order"]["count"], asked["job"]), ("requested", 12, None))
        self.assertEqual((approved["order"]["first"], approved["order"]["last"]), ("20635f0200000000", "20635f020000000b"))
        files, device = map(json.loads, said[3].splitlines()[1:])
        self.assertEqual((files["ready"], files["items"][0]["name"], files["items"][0]["times"]), (True, "delivery.jwe", 0))
        self.assertEqual((device["line"], device["dev_eui"]), (7, "20635f0200000006"))
        *built, refused, again = said[4].splitlines()[1:]
        self.assertEqual([json.loads(line)["outcome"] for line in built], ["activable"] * 10)
        self.assertEqual((json.loads(refused)["dev_eui"], json.loads(refused)["reason"]), ("20635f020000000b", "wrong-pac"))
        self.assertEqual(again, "10")
        self.assertEqual(self.stack.psql("SELECT state FROM batch_order WHERE first = '\\x20635f0200000000'"), [["ready"]])
        self.labels(said)

    def test_owners(self):
        claimed, joined, proven, roams, handed_on, moved = self.said("docs/owners.md")
        self.assertRegex(claimed, r'"outcome":"claimed","code":"[0-9A-F]{16}","generation":2,"ownership_epoch":1')
        self.assertIn('"ready":true', joined)
        self.assertIn("Joined", joined)
        self.assertRegex(proven, r'^\nsigned at .*\n\{"schema":"cradle-custody-v1",')
        statement = json.loads(proven.splitlines()[2])
        # Another document may have exported it before.
        self.assertEqual(self.stack.psql("SELECT exposed_since IS NOT NULL FROM device WHERE dev_eui = "
                                         f"'\\x{statement['dev_eui']}'"), [["t" if statement["exposed"] else "f"]])
        self.assertIn('"roaming":"none"', roams)
        self.assertRegex(handed_on, r'"ownership_epoch":2.*"code":"[0-9A-F]{16}","generation":3')
        self.assertIn("Joined", handed_on)
        self.assertIn("event: end\ndata: {", moved)
        self.assertEqual(moved.count('"outcome":"moved"}'), 1)
        self.assertRegex(moved, r'"serial":[^,]*,"code":"[0-9A-F]{16}","generation":5}')

    def test_the_things_stack(self):
        made, claimed = self.said("docs/the-things-stack.md")
        self.assertIn('"application_server":"demo-as"', made)
        self.assertNotIn("client_secret", made)
        put, got, deleted = map(json.loads, claimed.split())
        self.assertEqual(got, {"homeNetID": "000013", "locked": True})
        self.assertEqual((set(put), set(deleted)), ({*got, "ownerToken"}, {"ownerToken"}))

    def test_roaming(self):
        with support.Stack("documents-visited", demo=False, address="127.0.0.3") as visited:
            said = self.said("docs/roaming.md", HOME_STATE=self.stack.state, VISITED_STATE=visited.state, VISITED_URL=visited.join_url)
        begin, shown, _, visited, told, joined, ended = said
        self.assertEqual((begin, shown), ("", "\n"))
        self.assertIn('"goes_to":"partner"', visited)
        self.assertIn('"HNetID":"000013"', told)
        self.assertIn("Joined", joined)
        self.assertRegex(ended, r'"sender_net_id":"000024","home_net_id":"000013",.*"service":"home_ns","reason":"ended"')

    def labels(self, said):
        labels = next(block for block in said if "dev_eui,join_eui,serial,code,qr" in block).split()
        self.assertTrue(labels[1].startswith("00005e1000000041,00005e1000000040,SN-0041,0123456789ABCDEF,LW:D0:00005E1000000040:"
                                             "00005E1000000041:AABB1122:O0123456789ABCDEF:SSN-0041:C"))
        self.assertTrue(labels[2].startswith("00005e1000000042,00005e1000000040,\"'=0042\",FEDCBA9876543210,LW:D0:"))

    def test_onboarding(self):
        begin, tried, imported, sealed, codes, tested, sigfox, exported, opened = self.said("docs/onboarding.md")
        self.assertEqual(begin, "")
        self.assertEqual(tried.count('"outcome":"created"'), 2)
        self.assertEqual(imported.count('"outcome":"created"'), 4)
        self.assertIn('"state":"done"', imported)
        self.assertEqual(sealed.count('"outcome":"created"'), 1)
        self.assertEqual(re.findall(r'"serial":"(SN-\d+)","code":"[0-9A-F]{16}"', codes), ["SN-0031", "SN-0032"])
        self.assertIn("Joined", tested)
        self.assertRegex(tested, r'"windows":\[\{"net_id":"000024".*"devices":1,"joins":1,"used_up":0\}\]')
        self.assertIn('"dev_eui":"sigfox:5e000031","outcome":"created"', sigfox)
        self.assertIn('"kind":"export","state":"waiting"', exported)
        self.assertIn("event: end\ndata: {", exported)
        self.assertRegex(opened, r"^\n( [0-9a-f]{2}){16}\n$")
