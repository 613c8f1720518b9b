"""What an import tells of other organizations' devices: that a DevEUI is taken, and nothing else."""

import re
import secrets

from test_accounts import Rest
from test_jobs import JobTest, csv_of, rows_of

COUNTER = r"^cradle_import_foreign_duplicate_keys_total (\d+)$"
TRY = "format=csv&dry_run=true"


class Neighbours(JobTest):
    def setUp(self):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"n {secrets.token_hex(4)}", "allow_clear_keys": True})[2]
        self.other = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["maker"]})[2])

    def told(self, rows, query="format=csv", rest=None):
        """[(outcome, reason, types of warnings)]"""
        return [(row["outcome"], row.get("reason"), [w["type"] for w in row.get("warnings", [])])
                for row in self.send(csv_of(rows), query, rest)[2]]

    def counted(self):
        return int(re.search(COUNTER, self.stack.activation("GET", "/metrics")[2].decode(), re.M).group(1))

    def test_anothers_key_is_not_told_but_counted(self):
        key = secrets.token_hex(16)
        self.send(csv_of(rows_of(1, app_key=key)))
        rows, before = rows_of(1, app_key=key), self.counted()
        self.assertEqual(self.told(rows, TRY, self.other), [("created", None, [])])
        self.assertEqual(self.counted(), before)
        self.assertEqual(self.told(rows, rest=self.other), [("created", None, [])])
        self.assertEqual(self.counted(), before + 1)
        self.assertEqual(self.told(rows_of(1, app_key=key), rest=self.other), [("created", None, ["duplicate-key"])])

    def test_a_device_is_not_its_own_duplicate(self):
        rows = rows_of(3)
        rows += [dict(row, mac_version="1.1", nwk_key=row["app_key"]) for row in rows_of(1)]
        rows = [dict(row, nwk_key=row.get("nwk_key", "")) for row in rows]
        equal = [("created", None, []) for _ in rows[:3]] + [("created", None, ["equal-root-keys"])]
        self.assertEqual(self.told(rows), equal)
        again = [("exists", "dev-eui-exists", warnings) for _, _, warnings in equal]
        self.assertEqual(self.told(rows), again)
        self.assertEqual(self.told(rows, TRY), again)

    def test_anothers_dev_eui_is_taken_and_ones_own_exists(self):
        rows = rows_of(2)
        self.send(csv_of(rows[:1]))
        tried = self.told(rows, TRY, self.other)
        self.assertEqual(tried, [("refused", "dev-eui-taken", []), ("created", None, [])])
        self.assertEqual(self.told(rows, rest=self.other), tried)
        self.assertEqual(self.told(rows), [("exists", "dev-eui-exists", []), ("refused", "dev-eui-taken", [])])
        _, headers, _ = self.send(csv_of(rows), rest=self.other)
        job = self.other.call("get", headers["Location"])[2]
        self.assertEqual((job["exists"], job["refused"]), (1, 1))

    def test_a_device_that_it_owns_is_its_own(self):
        rows = rows_of(1)
        self.send(csv_of(rows))
        organization = self.stack.psql("SELECT organization_id FROM client WHERE id = "
                                       f"'\\x{self.other.client['client_id']}'")[0][0]
        self.stack.psql(f"UPDATE device SET owner_id = {organization} WHERE dev_eui = '\\x{rows[0]['dev_eui']}'")
        self.assertEqual(self.told(rows, rest=self.other), [("exists", "dev-eui-exists", [])])

    def test_a_dry_run_sees_what_stands_twice_in_a_chunk(self):
        rows = rows_of(2)
        rows += [dict(rows[0]), dict(rows[1], app_key="12"), dict(rows[1])]
        tried = self.told(rows, TRY)
        self.assertEqual([outcome for outcome, _, _ in tried], ["created", "created", "exists", "refused", "exists"])
        self.assertEqual(self.told(rows), tried)

    def test_a_dry_run_leaves_an_event(self):
        _, headers, _ = self.send(csv_of(rows_of(1)), TRY, self.other)
        job = headers["Location"].rpartition("/")[2]
        self.assertEqual(self.stack.psql(f"SELECT action FROM audit_event WHERE object = '{job}'"), [["import.try"]])
