"""What a join server does when one client, one peer or all of them want more than there is."""
import contextlib
import http.client
import json
import os
import signal
import unittest

import lorawan
import support

GREEDY, MODEST = "127.0.0.2", "127.0.0.3"


class Limits(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()
        self.open = contextlib.ExitStack()
        self.addCleanup(self.open.close)

    def server(self, *settings):
        server = self.stack.second_joinserver(*settings)
        self.addCleanup(server.stop)
        return server

    def connection(self, server, address="127.0.0.1"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, source_address=(address, 0),
                                                timeout=support.HTTP_SECONDS)
        return self.open.enter_context(contextlib.closing(connection))

    def message(self):
        return json.dumps(lorawan.join_req(self.stack.device("1.0.3"), 1, support.HOME))

    def send(self, connection, message, net_id=support.HOME):
        connection.request("POST", "/", message, {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.stack.server(net_id)['token']}"})

    def hear(self, connection):
        """The status; a 503 says when to come again."""
        answer = connection.getresponse()
        answer.read()
        if answer.status == 503:
            self.assertTrue(int(answer.headers["Retry-After"]) > 0)
        return answer.status, answer.headers.get("Connection")

    def post(self, connection, net_id=support.HOME):
        self.send(connection, self.message(), net_id)
        return self.hear(connection)

    def over_limit(self, server, reason):
        _, _, body = support.http("GET", server.url + "metrics")
        name = f'cradle_http_over_limit_total{{reason="{reason}"}} '
        return next(int(line[len(name):]) for line in body.decode().splitlines()
                    if line.startswith(name))

    def test_an_address_at_its_limit_does_not_stop_another(self):
        server = self.server("join.connections_per_address=2")
        greedy = [self.connection(server, GREEDY) for _ in range(2)]
        for connection in greedy:
            self.assertEqual(self.post(connection), (200, None))
        self.assertEqual(self.post(self.connection(server, GREEDY)), (503, "close"))
        self.assertEqual(self.over_limit(server, "address"), 1)
        self.assertEqual(self.post(self.connection(server, MODEST)), (200, None))
        self.assertEqual(self.post(greedy[0]), (200, None))

    def test_a_peer_at_its_limit_does_not_stop_another(self):
        server = self.server("join.connections_per_peer=2")
        held = [self.connection(server, address) for address in (GREEDY, MODEST)]
        for connection in held:
            self.assertEqual(self.post(connection), (200, None))
        self.assertEqual(self.post(self.connection(server)), (503, "close"))
        self.assertEqual(self.over_limit(server, "peer"), 1)
        self.assertEqual(self.post(self.connection(server), support.OTHER), (200, None))
        self.assertEqual(self.post(held[0]), (200, None))
        held[1].close()

        def free_again():
            return self.post(self.connection(server)) == (200, None)
        support.wait_until(free_again, support.READY_SECONDS, "a place is free again")

    def test_beyond_the_queue_a_request_is_told_to_come_again(self):
        server = self.server("join.queue=4")
        connections = [self.connection(server) for _ in range(12)]
        for connection in connections:
            self.assertEqual(self.post(connection), (200, None))
        keyds = [pid for pid in support.descendants(server.process.pid)
                 if support.processes().get(pid, (0, ""))[1].startswith("cradle-keyd")]
        self.assertTrue(keyds)
        messages = [self.message() for _ in connections]
        for pid in keyds:
            os.kill(pid, signal.SIGSTOP)
        try:
            for connection, message in zip(connections, messages):
                self.send(connection, message)
        finally:
            for pid in keyds:
                with contextlib.suppress(ProcessLookupError):  # given up, and another started
                    os.kill(pid, signal.SIGCONT)
        statuses = [self.hear(connection)[0] for connection in connections]
        self.assertIn(503, statuses)
        self.assertIn(200, statuses)
        self.assertLessEqual(set(statuses), {200, 503})
        _, _, page = support.http("GET", server.url + "metrics")
        self.assertIn(f"\ncradle_join_shed_total {statuses.count(503)}\n", page.decode())
        # A full queue is no reason to close: the connections are as good as before.
        for connection in connections:
            self.assertEqual(self.post(connection), (200, None))


if __name__ == "__main__":
    unittest.main()
