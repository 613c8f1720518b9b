"""Imports beside joins: while devices join they go in small steps with rests, so that joins find a core."""

import json
import re

import support
from test_jobs import CHUNK_ROWS, JobTest, csv_of, rows_of

SLOW_ROWS = 32
SOON_S = 20   # bound of a wait for the statistics of the database and a look of the service
QUIET_S = 90  # bound of a wait for the pace to be let go after the last join of any test


class Pace(JobTest):
    def is_slow(self, service=None):
        page = support.http("GET", (service.url if service else self.stack.activation_url) + "/metrics")[2].decode()
        return re.search(r"^cradle_import_slow (\d)$", page, re.M).group(1) == "1"

    def chunks(self, rows):
        """How many rows each chunk of their import had."""
        status, headers, _ = self.send(csv_of(rows))
        self.assertEqual(status, 200)
        job = headers["Location"].rpartition("/")[2]
        details = [json.loads(row[0]) for row in self.stack.psql(
            f"SELECT detail FROM audit_event WHERE object = '{job}' AND action = 'import.chunk' ORDER BY id")]
        self.assertEqual(sum(detail["created"] for detail in details), len(rows))
        return [detail["created"] for detail in details]

    def test_an_import_goes_slowly_while_devices_join_and_else_does_not(self):
        support.wait_until(lambda: not self.is_slow(), QUIET_S, "no device has joined for a while")
        self.assertEqual(self.chunks(rows_of(CHUNK_ROWS)), [CHUNK_ROWS])
        device, = rows_of(1)
        self.send(csv_of([device]))
        unmoved = self.stack.second_activation("import.percent_beside_joins=100")
        self.assertEqual(self.join(dict(device, nwk_key=None), 1)["Result"]["ResultCode"], "Success")
        support.wait_until(self.is_slow, SOON_S, "the service has seen the join")
        self.assertFalse(self.is_slow(unmoved))
        self.assertEqual(self.chunks(rows_of(2 * SLOW_ROWS + 3)), [SLOW_ROWS, SLOW_ROWS, 3])
