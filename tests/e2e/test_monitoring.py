"""Alert rules and dashboards ask for metrics and labels that exist; and each alert fires when it should, and says what to do."""
import json
import os
import re
import unittest

import monitoring

NEEDS_PROMTOOL = unittest.skipUnless(monitoring.promtool(), "promtool (Debian package prometheus) is not installed")
SEVERITIES = {"page", "ticket"}
DASHBOARD_VARIABLES = {"$__rate_interval", "$instance"}


def runbooks():
    """The anchors that GitHub and others make of the headings of docs/metrics.md."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", monitoring.read(monitoring.DOCUMENT), re.MULTILINE)}


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.metrics = monitoring.documented()
        cls.rules = monitoring.rules()
        # What a recording rule groups by are its labels.
        cls.recorded = {rule["record"]: monitoring.promql(rule["expr"])[1] for rule in cls.rules if "record" in rule}

    def test_rules_ask_for_what_there_is(self):
        self.assertGreater(len(self.rules), 20)
        for rule in self.rules:
            self.assertEqual(monitoring.faults(rule["expr"], self.metrics, self.recorded), [], rule)

    def test_alerts_have_a_severity_a_summary_and_something_to_do(self):
        anchors = runbooks()
        names = [rule["alert"] for rule in self.rules if "alert" in rule]
        self.assertEqual(len(names), len(set(names)))
        for rule in self.rules:
            if "record" in rule:
                continue
            self.assertIn(re.search(r"severity: (\w+)", rule["labels"])[1], SEVERITIES)
            self.assertRegex(rule["annotations"], r'summary: ".{10,}"')
            document, anchor = re.search(r'runbook: "([^"#]+)#([^"]+)"', rule["annotations"]).groups()
            self.assertEqual(document, monitoring.DOCUMENT)
            self.assertIn(anchor, anchors)
            # Labels that a summary shows exist.
            for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]):
                known = monitoring.TARGET_LABELS | {label for name, _ in monitoring.promql(rule["expr"])[0]
                                                    for label in self.metrics.get(name, ("", set()))[1]}
                self.assertIn(label, known, rule["alert"])

    def test_each_alert_is_tried_both_ways(self):
        tried = monitoring.read("monitoring/alerts_test.yaml")
        for rule in self.rules:
            for how in ("fires", "is quiet"):
                if "alert" in rule:
                    self.assertEqual(len(re.findall(rf"^  - name: {rule['alert']} {how}$", tried, re.MULTILINE)), 1, rule["alert"])

    @NEEDS_PROMTOOL
    def test_promtool_takes_the_rules(self):
        status, said = monitoring.run_promtool("check", "rules", "--lint-fatal", monitoring.RULES)
        self.assertEqual(status, 0, said)

    @NEEDS_PROMTOOL
    def test_alerts_fire_when_they_should(self):
        status, said = monitoring.run_promtool("test", "rules", os.path.join(monitoring.FOLDER, "alerts_test.yaml"))
        self.assertEqual(status, 0, said)

    def test_dashboards_ask_for_what_there_is(self):
        for name in monitoring.DASHBOARDS:
            board = monitoring.dashboard(name)
            targets = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
            self.assertGreater(len(targets), 15)
            for title, target in targets:
                expression = target["expr"]
                self.assertEqual(set(re.findall(r"\$\w+", expression)) - DASHBOARD_VARIABLES, set(), title)
                self.assertEqual(monitoring.faults(expression, self.metrics, self.recorded), [], (name, title))
                # What a legend shows is a label of what is asked for.
                selectors, groups = monitoring.promql(expression)
                known = groups or monitoring.TARGET_LABELS | {
                    label for metric, _ in selectors for label in self.metrics.get(metric, ("", set()))[1]}
                self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])), known, (name, title))

    def test_dashboards_are_whole(self):
        uids = set()
        for name in monitoring.DASHBOARDS:
            board = monitoring.dashboard(name)
            uids.add(board["uid"])
            self.assertGreaterEqual(board["schemaVersion"], 39)
            self.assertNotIn("id", board)
            ids = [panel["id"] for panel in board["panels"]]
            self.assertEqual(len(ids), len(set(ids)))
            sources = set(re.findall(r'"uid": "([^"]*)"', json.dumps([board["panels"], board["templating"]])))
            self.assertEqual(sources, {"${datasource}"}, "no data source of one Grafana")
            self.assertIn("datasource", [variable["type"] for variable in board["templating"]["list"]])
            taken = set()
            for panel in board["panels"]:
                at = panel["gridPos"]
                self.assertLessEqual(at["x"] + at["w"], 24)
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertEqual(cells & taken, set(), f"{panel['title']} lies on another")
                taken |= cells
        self.assertEqual(len(uids), len(monitoring.DASHBOARDS))

    def test_what_is_wrong_is_seen(self):
        """The checks above, on pieces that are wrong."""
        for expression in ("rate(cradle_no_such_total[5m])", 'cradle_ready{color="red"}', "sum by (color) (cradle_ready)",
                           "rate(cradle_join_seconds[5m])", "rate(cradle_join_queue[5m])", "1 + 1",
                           'cradle_ready == 0 and cradle_jobs{stat="x"}'):
            self.assertTrue(monitoring.faults(expression, self.metrics, self.recorded), expression)
        for expression in ('sum by (outcome) (rate(cradle_join_requests_total{outcome=~"a|b", job="x"}[5m]))',
                           "histogram_quantile(0.99, sum by (le) (rate(cradle_join_seconds_bucket[5m]))) > 1e-3",
                           "max(cradle_job_still_seconds) > 900 or vector(0)"):
            self.assertEqual(monitoring.faults(expression, self.metrics, self.recorded), [], expression)
