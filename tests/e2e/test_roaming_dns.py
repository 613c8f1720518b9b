"""Where JoinEUIs and NetIDs lead by DNS: `cradle dns`, against a name server with signed zones."""
import os
import subprocess
import sys
import tempfile
import unittest

import support

sys.path.insert(0, os.path.join(support.ROOT, "tests", "support"))
import name_server  # pylint: disable=wrong-import-position
from name_server import BOGUS, BROKEN, PLAIN, SIGNED, STRIPPED

JOIN_EUI, NAME = "00005e100000002f", "f.2.0.0.0.0.0.0.0.1.e.5.0.0.0.0"
RECORDS = f"""{NAME} 3600 NAPTR 100 10 "S" "LWNS" "" _lwns._tcp
0.{NAME[2:]} 3600 NAPTR 100 10 "U" "LWNS" "!.*!https://js.{{zone}}:8443/join!" .
1.{NAME[2:]} 3600 NAPTR 100 10 "" "LWNS" "" 1.{NAME[2:]}
2.{NAME[2:]} 3600 NAPTR 100 10 "A" "LWN" "" js
3.{NAME[2:]} 3600 NAPTR 100 10 "S" "LWNS" "" _many._tcp
4.{NAME[2:]} 3600 A 198.51.100.4
5.{NAME[2:]} 3600 NAPTR 100 10 "A" "LWN" "" local
000013 3600 NAPTR 100 10 "A" "LWNS" "" js
_lwns._tcp 1800 SRV 20 0 9443 spare
_lwns._tcp 1800 SRV 10 0 8443 js
js 300 A 198.51.100.1
js 300 AAAA 2001:db8::1
spare 3600 A 198.51.100.2
local 3600 A 127.0.0.1
""" + "".join(f"_many._tcp 3600 SRV 10 0 {port} js\n" for port in range(1, 18))


class RoamingDns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="cradle-dns-", dir="/tmp")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        zones = {f"{how}.example": (how, RECORDS.format(zone=f"{how}.example")) for how in (SIGNED, PLAIN, BOGUS, STRIPPED, BROKEN)}
        cls.names = name_server.NameServer(os.path.join(folder.name), zones)
        cls.addClassCleanup(cls.names.stop)

    def dns(self, *arguments, zone="signed.example", status=0, **settings):
        """What `cradle dns` prints, in lines; settings are those of [dns]."""
        settings = {"servers": self.names.address, "trust_anchor": self.names.trust_anchor, "allow_private": "true",
                    "joineui_suffix": zone, "netid_suffix": zone, "timeout_ms": 10000, **settings}
        path = os.path.join(self.folder, "cradle.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write("[dns]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        run = subprocess.run([support.Stack.program("cli/cradle"), "--config", path, "dns", *arguments],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return (run.stdout + run.stderr).splitlines()

    def test_each_step_is_shown(self):
        lines = self.dns(JOIN_EUI)
        self.assertEqual(lines[0], f"NAPTR {NAME}.signed.example: found, validated, TTL 3600")
        self.assertEqual(lines[1], '    order 100 preference 10 "S" LWNS _lwns._tcp.signed.example')
        self.assertEqual(lines[2], "SRV _lwns._tcp.signed.example: found, validated, TTL 1800")
        self.assertEqual(set(lines[3:5]), {"    priority 20 weight 0 port 9443 spare.signed.example",
                                           "    priority 10 weight 0 port 8443 js.signed.example"})
        self.assertEqual(lines[5:], [
            "A js.signed.example: found, validated, TTL 300", "    198.51.100.1",
            "AAAA js.signed.example: found, validated, TTL 300", "    2001:db8::1",
            "A spare.signed.example: found, validated, TTL 3600", "    198.51.100.2",
            "AAAA spare.signed.example: none, validated",
            "server https://js.signed.example:8443/ at 198.51.100.1 2001:db8::1",
            "server https://spare.signed.example:9443/ at 198.51.100.2",
            "found, validated, for 300 s"])

    def test_a_net_id_is_one_label(self):
        lines = self.dns("000013")
        self.assertEqual(lines[0], "NAPTR 000013.signed.example: found, validated, TTL 3600")
        self.assertIn("server https://js.signed.example/ at 198.51.100.1 2001:db8::1", lines)

    def test_a_url_is_taken_from_the_record(self):
        self.assertIn("server https://js.signed.example:8443/join at 198.51.100.1 2001:db8::1", self.dns("00005e1000000020"))

    def test_the_simple_form_asks_for_the_name_itself(self):
        lines = self.dns("00:00:5E:10:00:00:00:24", "--mode", "address")
        self.assertEqual(lines, [f"A 4.{NAME[2:]}.signed.example: found, validated, TTL 3600", "    198.51.100.4",
                                 f"AAAA 4.{NAME[2:]}.signed.example: none, validated",
                                 f"server https://4.{NAME[2:]}.signed.example/ at 198.51.100.4", "found, validated, for 3600 s"])

    def test_what_is_not_there_is_none_and_proven(self):
        for eui in ("00005e1000000fff", "000014"):
            lines = self.dns(eui, status=1)
            self.assertRegex(lines[0], r"^NAPTR \S+: none, validated$")
            self.assertRegex(lines[-1], r"^none: NAPTR of \S+: there is none$")

    def test_a_forged_answer_is_bogus_and_leads_nowhere(self):
        lines = self.dns(JOIN_EUI, zone="bogus.example", status=1)
        self.assertRegex(lines[-1], r"^bogus: A of js\.bogus\.example: ")
        self.assertFalse([line for line in lines if line.startswith("server")], lines)
        # It is the signature: without a trust anchor the same answer is taken.
        self.assertIn("found, not validated, for 300 s", self.dns(JOIN_EUI, zone="bogus.example", trust_anchor=""))

    def test_signatures_that_were_taken_away_are_missed(self):
        self.assertRegex(self.dns(JOIN_EUI, zone="stripped.example", status=1)[-1], r"^bogus: NAPTR of ")

    def test_what_no_anchor_covers_is_taken_unless_signatures_are_required(self):
        self.assertEqual(self.dns(JOIN_EUI, zone="plain.example")[-1], "found, not validated, for 300 s")
        lines = self.dns(JOIN_EUI, zone="plain.example", status=1, require_signed="true")
        self.assertEqual(lines[-1], f"bogus: NAPTR of {NAME}.plain.example: it is not signed")

    def test_a_name_server_that_cannot_answer_is_failed(self):
        self.assertRegex(self.dns(JOIN_EUI, zone="broken.example", status=1)[-1], r"^failed: .* answers with code 2$")

    def test_a_loop_ends(self):
        lines = self.dns("00005e1000000021", status=1)
        self.assertEqual(len([line for line in lines if line.startswith("NAPTR")]), 12)
        self.assertRegex(lines[-1], r"^failed: .* it takes more than dns\.max_steps look-ups$")

    def test_too_many_records_are_refused(self):
        self.assertRegex(self.dns("00005e1000000023", status=1)[-1], r"^refused: SRV of .* it has too many records$")

    def test_addresses_that_are_not_public_are_refused_unless_they_are_let(self):
        lines = self.dns("000013", status=1, allow_private="false")
        self.assertRegex(lines[-1], r"^refused: A of js.signed.example: addresses that are not public are not used$")

    def test_http_goes_to_this_machine_only(self):
        self.assertRegex(self.dns("00005e1000000022", status=1)[-1], r"^refused: .* used on loopback only$")
        self.assertIn("server http://127.0.0.1/ at 127.0.0.1", self.dns("00005e1000000025"))

    def test_bad_settings_and_arguments_are_named(self):
        for settings, said in (({"servers": "nonsense"}, 'dns.servers: "nonsense" is no address'),
                               ({"trust_anchor": "/nowhere"}, "dns.trust_anchor: cannot read /nowhere"),
                               ({"trust_anchor": os.path.join(self.folder, "cradle.ini")}, "dns.trust_anchor"),
                               ({"trust_anchor": "", "require_signed": "true"}, "dns.require_signed wants a dns.trust_anchor"),
                               ({"joineui_suffix": "a..b"}, "dns.joineui_suffix is no suffix"),
                               ({"netid_suffix": ""}, "dns.netid_suffix is no suffix"),
                               ({"mode": "srv"}, "dns.mode is naptr, address or off"),
                               ({"max_lookups": "0"}, "dns.max_lookups"),
                               ({"servers": " ".join(["127.0.0.1"] * 9)}, "dns.servers has more than 8")):
            self.assertIn(said, "\n".join(self.dns(JOIN_EUI, status=1, **settings)))
        self.assertIn('not "00005e10"', self.dns("00005e10", status=1)[-1])
        self.dns(status=2)
        for mode in ("off", "foo", ""):
            self.assertEqual(self.dns(JOIN_EUI, "--mode", mode, status=1), ["cradle: --mode is naptr or address"])

    def test_what_is_off_is_said_to_be_and_shown_nevertheless(self):
        usual = self.dns(JOIN_EUI)
        self.assertFalse([line for line in usual if "off" in line])
        self.assertEqual(self.dns(JOIN_EUI, mode="off")[0], "mode is off in [dns]: so it would be with mode = naptr")
        self.assertEqual(self.dns(JOIN_EUI, mode="off")[-1], usual[-1])
        self.assertEqual(self.dns("00005e1000000024", "--mode", "address", mode="off")[0],
                         "mode is off in [dns]: so it would be with mode = address")


if __name__ == "__main__":
    unittest.main()
