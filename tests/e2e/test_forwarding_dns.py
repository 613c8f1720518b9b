"""Requests that are carried to the join server that DNS names: a name server with zones that are really signed, and
partners that this test plays, with certificates for the hosts that the zones name."""
import os
import re
import signal
import socket
import sys
import tempfile
import threading

import support
from partners import Partner, answer_to, make_server_certificate, server_context
from test_forwarding import ForwardTest
from test_peers import CHANGE_SECONDS

sys.path.insert(0, os.path.join(support.ROOT, "tests", "support"))
from name_server import BOGUS, BROKEN, PLAIN, SIGNED, NameServer  # pylint: disable=wrong-import-position

PREFIX, PREFIX_BITS = "7066666700000000", 32
GOOD, FORGED, UNSIGNED, FAILING, NOBODY, OTHER_HOST, SPARE, DEAD, PRIVATE = (
    f"70666667000000{n:02x}" for n in range(1, 10))


def name_of(join_eui):
    return ".".join(reversed(join_eui))


def log_of(joinserver):
    with open(joinserver.log, encoding="utf-8") as file:
        return file.read()


class DnsForwarding(ForwardTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="cradle-dns-", dir="/tmp")
        cls.addClassCleanup(folder.cleanup)
        # Nobody listens there, and nobody else can.
        nobody = socket.socket()
        cls.addClassCleanup(nobody.close)
        nobody.bind(("127.0.0.1", 0))
        cls.dead_port = nobody.getsockname()[1]
        super().setUpClass()
        cls.joinserver.stop()  # the settings of ours are known when partners and name server are there
        cls.certificates = {host: make_server_certificate(cls.theirs, host, f"DNS:{host}")
                            for host in ("js.signed.example", "js.bogus.example", "js.plain.example")}
        cls.good, cls.forged, cls.plain, cls.spare = (
            cls.partner_of(host) for host in ("js.signed.example", "js.bogus.example", "js.plain.example", "js.signed.example"))
        records = "".join(f'{name_of(eui)} 3600 NAPTR 10 10 "S" "LWNS" "" {srv}.\n' for eui, srv in (
            (GOOD, "good.signed.example"), (FORGED, "good.bogus.example"), (UNSIGNED, "good.plain.example"),
            (FAILING, "good.broken.example"), (OTHER_HOST, "other.signed.example"), (SPARE, "spare.signed.example"),
            (DEAD, "dead.signed.example"), (PRIVATE, "good.signed.example")))
        cls.names = NameServer(folder.name, {
            "joineuis.example": (SIGNED, records),
            "signed.example": (SIGNED, f"good 3600 SRV 10 0 {cls.good.port} js\njs 3600 A 127.0.0.1\n"
                                       f"other 3600 SRV 10 0 {cls.good.port} elsewhere\nelsewhere 3600 A 127.0.0.1\n"
                                       f"dead 3600 SRV 10 0 {cls.dead_port} js\n"
                                       f"spare 3600 SRV 10 0 {cls.dead_port} gone\ngone 3600 A 127.0.0.1\n"
                                       f"spare 3600 SRV 20 0 {cls.spare.port} js\n"),
            # As it is served the address begins with 127, and is the forger's.
            "bogus.example": (BOGUS, f"good 3600 SRV 10 0 {cls.forged.port} js\njs 3600 A 126.0.0.1\n"),
            "plain.example": (PLAIN, f"good 3600 SRV 10 0 {cls.plain.port} js\njs 3600 A 127.0.0.1\n"),
            "broken.example": (BROKEN, "")})
        cls.addClassCleanup(cls.names.stop)
        cls.joinserver = cls.start_joinserver()
        added = support.shared().cradle("route", "add", f"{PREFIX}/{PREFIX_BITS}", "--kind", "dns")
        if added.returncode != 0:
            raise AssertionError(added.stderr)

    @classmethod
    def start_joinserver(cls, *settings):
        return support.shared().second_joinserver(
            f"answers.directory={cls.credentials}", "roaming.instance=here", "roaming.dns_credential=us", "dns.mode=naptr",
            f"dns.servers={cls.names.address}", f"dns.trust_anchor={cls.names.trust_anchor}", "dns.allow_private=true",
            "dns.joineui_suffix=joineuis.example", "dns.timeout_ms=10000", "roaming.dns_timeout_ms=4000", *settings)

    @classmethod
    def partner_of(cls, host):
        partner = Partner(server_context(cls.certificates[host], cls.ours), "1.0")
        partner.port = partner.server.server_port
        cls.addClassCleanup(partner.close)
        return partner

    def setUp(self):
        super().setUp()
        self.wait_known(PREFIX[:-1] + "f")
        self.partners = (self.good, self.forged, self.plain, self.spare)
        for partner in self.partners:
            del partner.requests[:]
            self.addCleanup(lambda p=partner: self.assertEqual(p.faults, []))

    def request(self, join_eui, server=None):
        self.good.join_eui = join_eui
        return self.join_req(server or self.known_server(), self.good)

    def join(self, join_eui):
        """The answer to a join, and who was asked."""
        answer = self.ask(self.known_server(), self.request(join_eui))
        return answer, [partner for partner in self.partners if partner.requests]

    def searches(self, outcome):
        return self.metrics().get(f'cradle_dns_searches_total{{outcome="{outcome}"}}', 0)

    def carried(self, outcome):
        return self.metrics().get(f'cradle_partner_requests_total{{partner="(dns)",id="",outcome="{outcome}"}}', 0)

    def instead(self, *settings):
        """Another join server, for the rest of the test."""
        usual = self.joinserver
        other = self.start_joinserver(*settings)
        type(self).joinserver = other

        def end():
            type(self).joinserver = usual
            other.stop()
        self.addCleanup(end)
        self.wait_known(PREFIX[:-1] + "f")
        return other

    def test_a_join_goes_to_the_server_that_signed_records_name(self):
        found, answered = self.searches("found"), self.carried("answered")
        server = self.known_server()
        request = self.request(GOOD, server)
        answer = self.ask(server, request)
        self.assertEqual(answer, answer_to(request))
        carried = self.good.wait(1)[0]
        self.assertEqual(carried.message | {"TransactionID": request["TransactionID"]}, request)
        self.assertEqual(carried.headers["Via"], "1.1 here")
        self.assertEqual(carried.headers["Host"], f"js.signed.example:{self.good.port}")
        self.assertEqual(carried.certificate["subjectAltName"], (("URI", "urn:example:us"),))
        self.assertEqual((self.searches("found"), self.carried("answered")), (found + 1, answered + 1))

    def test_other_messages_go_there_too(self):
        server = self.known_server()
        answer = self.ask(server, self.message("HomeNSReq", server, GOOD))
        self.assertEqual((self.code(answer), answer["HNetID"]), ("Success", "00002a"))

    def test_a_forged_record_leads_nowhere(self):
        bogus = self.searches("bogus")
        answer, asked = self.join(FORGED)
        self.assertEqual((self.code(answer), asked), ("Other", []))
        self.assertEqual(self.searches("bogus"), bogus + 1)
        self.assertIn("not_found", self.logged())
        # It is the signature that stops it: who has no trust anchor is taken in.
        self.instead("dns.trust_anchor=")
        answer, asked = self.join(FORGED)
        self.assertEqual((self.code(answer), asked), ("Success", [self.forged]))

    def test_unsigned_records_are_taken_unless_signatures_are_required(self):
        answer, asked = self.join(UNSIGNED)
        self.assertEqual((self.code(answer), asked), ("Success", [self.plain]))
        del self.plain.requests[:]
        self.instead("dns.require_signed=true")
        answer, asked = self.join(UNSIGNED)
        self.assertEqual((self.code(answer), asked), ("Other", []))

    def test_a_join_eui_that_dns_does_not_know_has_an_unknown_receiver(self):
        answer, asked = self.join(NOBODY)
        self.assertEqual((self.code(answer), asked), ("UnkownReceiver", []))
        self.assertEqual(self.carried("no_server"), 1)
        server = self.known_server()
        items = support.wait_until(
            lambda: [i for i in self.refusals("operator") if (i.get("outcome"), i["sender_net_id"]) == ("no_server", server["net_id"])],
            CHANGE_SECONDS, "the operator is told")
        self.assertEqual([(i["side"], i["by"], i["partner"], i["result_code"]) for i in items], [("carried", "dns", None, None)])
        # The route's range, whatever JoinEUI was asked for.
        self.assertEqual(items[0]["join_euis"], {"prefix": PREFIX, "bits": PREFIX_BITS})
        self.assertNotIn(NOBODY, str(items))

    def test_a_name_server_that_fails_is_no_proof_that_there_is_none(self):
        answer, asked = self.join(FAILING)
        self.assertEqual((self.code(answer), asked), ("Other", []))

    def test_the_certificate_must_be_of_the_host_that_was_found(self):
        untrusted = self.carried("untrusted")
        answer, asked = self.join(OTHER_HOST)
        self.assertEqual((self.code(answer), asked), ("Other", []))
        self.assertEqual(self.carried("untrusted"), untrusted + 1)

    def test_a_server_that_is_not_there_is_left_alone_after_a_while(self):
        self.instead()
        answers = [self.join(DEAD)[0] for _ in range(6)]
        self.assertEqual([self.code(answer) for answer in answers], ["Other"] * 6)
        self.assertEqual((self.carried("unreachable"), self.carried("open")), (5, 1))

    def test_while_one_is_left_alone_the_next_is_asked(self):
        self.instead()
        answers = [self.join(SPARE)[0] for _ in range(6)]
        self.assertEqual([self.code(answer) for answer in answers], ["Other"] * 5 + ["Success"])
        self.assertEqual(len(self.spare.requests), 1)

    def test_servers_without_a_public_address_are_refused_unless_they_are_let(self):
        self.instead("dns.allow_private=false")
        answer, asked = self.join(PRIVATE)
        self.assertEqual((self.code(answer), asked), ("Other", []))
        self.assertEqual(self.searches("refused"), 1)

    def test_a_token_is_shown_to_those_alone_whom_our_own_cas_know(self):
        for name, suffixes in (("token", ()), ("known", ("ca", "crt", "key"))):
            for suffix in suffixes:
                self.give(name, suffix, os.path.join(self.credentials, f"us.{suffix}"))
            with open(os.path.join(self.credentials, f"{name}.header"), "w", encoding="ascii",
                      opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write("Bearer ours\n")
        self.instead("roaming.dns_credential=token")
        answer, asked = self.join(GOOD)
        self.assertEqual((self.code(answer), asked, self.carried("credential")), ("Other", [], 1))
        self.instead("roaming.dns_credential=known")
        answer, asked = self.join(GOOD)
        self.assertEqual((self.code(answer), asked), ("Success", [self.good]))
        self.assertEqual(self.good.requests[0].headers["Authorization"], "Bearer ours")

    def test_a_search_without_an_answer_ends_in_time(self):
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            self.instead(f"dns.servers=127.0.0.1@{silent.getsockname()[1]}", "dns.timeout_ms=100")
            answer, asked = self.join(GOOD)
        self.assertEqual((self.code(answer), asked), ("Other", []))
        self.assertEqual((self.searches("timeout"), self.carried("not_found")), (1, 1))

    def test_without_dns_such_a_route_leads_nowhere(self):
        other = self.instead("dns.mode=off")
        answer, asked = self.join(GOOD)
        self.assertEqual((self.code(answer), asked), ("Other", []))
        # There is no host to be named.
        line = support.wait_until(lambda: re.search(r"not carried .*", log_of(other)), CHANGE_SECONDS, "it is in the log")[0]
        self.assertIn(f'partner="(dns)" n=1 reason=not_found route={PREFIX}/{PREFIX_BITS} why="dns.mode is off"', line)

    def test_a_frame_of_another_join_eui_is_not_carried(self):
        request = self.request(GOOD)
        answer = self.ask(self.known_server(), {**request, "ReceiverID": NOBODY})
        self.assertEqual(self.code(answer), "UnkownReceiver")
        self.assertEqual(self.good.requests, [])

    def test_a_stop_ends_a_search_and_answers_who_asked(self):
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            silent.settimeout(support.HTTP_SECONDS)
            other = self.instead(f"dns.servers=127.0.0.1@{silent.getsockname()[1]}")
            said = []
            asking = threading.Thread(target=lambda: said.append(self.join(GOOD)[0]))
            asking.start()
            silent.recv(512)  # it is searched for
            other.process.send_signal(signal.SIGTERM)
            asking.join()
            self.assertEqual(other.process.wait(support.STOP_SECONDS), 0)
        self.assertEqual([self.code(answer) for answer in said], ["Other"])
