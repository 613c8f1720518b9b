#!/usr/bin/python3
"""systemd_joins.py DEVICES.csv: devices join without end while each unit is restarted, and stands still until its
watchdog ends it. Every answered join must be in the database, and nothing there twice. Run by systemd_try.sh."""
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time

UNITS = ("cradle-joinserver", "cradle-activation", "cradle-keyd@joinserver", "cradle-keyd@activation")
RESTARTS = 3
JOINS_AROUND = 40      # before and after each act
PATIENCE_S = 60
WATCHDOG_S = 5         # in the place of the unit's 30, which would be long to wait for
LIMIT_S = 2            # that a restart may refuse joins for
REST_S = 0.02


class Journal:
    def __init__(self, rows):
        self.changed = threading.Condition()
        self.answers, self.vain, self.stopping = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(row,), daemon=True) for row in rows]

    def run(self, row):
        nonce = 1
        while not self.stopping.is_set():
            began = time.monotonic()
            done = subprocess.run(
                ["cradle-device", "join", "--json", "--url", "http://127.0.0.1:8081/", "--token", "@/root/ns_token",
                 "--ns-kek", "ns=@/root/ns_kek", "--as-kek", "as=@/root/as_kek", "--dev-eui", row["dev_eui"], "--join-eui",
                 row["join_eui"], "--app-key", row["app_key"], "--mac-version", row["mac_version"], "--net-id",
                 row["home_net_id"], "--dev-nonce", str(nonce)], capture_output=True, text=True, check=False)
            with self.changed:
                if done.returncode == 0:
                    self.answers.append((time.monotonic(), row["dev_eui"], nonce, json.loads(done.stdout)["join_nonce"]))
                else:
                    self.vain.append((began, (done.stderr + done.stdout).strip()[-160:]))
                self.changed.notify_all()
            nonce += 1
            self.stopping.wait(REST_S)

    def more(self, count):
        """Waits for so many more answered joins."""
        with self.changed:
            wanted = len(self.answers) + count
            if not self.changed.wait_for(lambda: len(self.answers) >= wanted, PATIENCE_S):
                raise SystemExit(f"no joins: {self.vain[-3:]}")

    def longest(self, since):
        """The longest time without an answered join, since a moment."""
        with self.changed:
            times = [since] + [at for at, *_ in self.answers if at >= since]
        return max(b - a for a, b in zip(times, times[1:]))


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout.strip()


def of(unit, name):
    return systemctl("show", "-p", name, "--value", unit)


def restart(journal, unit):
    worst, vain = 0, len(journal.vain)
    for _ in range(RESTARTS):
        journal.more(JOINS_AROUND)
        before, began = of(unit, "MainPID"), time.monotonic()
        systemctl("restart", unit)
        journal.more(JOINS_AROUND)
        worst = max(worst, journal.longest(began))
        if of(unit, "MainPID") == before:
            raise SystemExit(f"{unit} was not restarted")
    refused = [text for _, text in journal.vain[vain:] if "refused" in text or "connect" in text]
    if refused and unit in UNITS[:2]:
        raise SystemExit(f"a restart of {unit} refused connections: {refused[0]}")
    print(f"{unit}: {RESTARTS} restarts, longest time without an answered join {worst:.2f} s, "
          f"asked in vain {len(journal.vain) - vain}", flush=True)
    if worst > LIMIT_S:
        raise SystemExit(f"that is more than {LIMIT_S} s")


def stand_still(journal, unit):
    folder = f"/run/systemd/system/{unit}.service.d"
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "watchdog.conf"), "w", encoding="utf-8") as file:
        file.write(f"[Service]\nWatchdogSec={WATCHDOG_S}\n")
    systemctl("daemon-reload")
    systemctl("restart", unit)
    journal.more(JOINS_AROUND)
    before, restarts, began = of(unit, "MainPID"), int(of(unit, "NRestarts")), time.monotonic()
    os.kill(int(before), signal.SIGSTOP)
    while of(unit, "ActiveState") != "active" or of(unit, "MainPID") == before or int(of(unit, "NRestarts")) <= restarts:
        if time.monotonic() > began + PATIENCE_S:
            raise SystemExit(f"{unit} stands still, and is not started again: {of(unit, 'ActiveState')}")
        time.sleep(0.1)
    took = time.monotonic() - began
    journal.more(JOINS_AROUND)
    print(f"{unit}: stopped (SIGSTOP), and started again by its watchdog (of {WATCHDOG_S} s) after {took:.1f} s; "
          f"longest time without an answered join {journal.longest(began):.1f} s", flush=True)


def check(journal):
    sql = "SELECT encode(dev_eui, 'hex'), dev_nonce, join_nonce FROM join_event WHERE outcome = 'success'"
    done = subprocess.run(["runuser", "-u", "postgres", "--", "psql", "-XqAtF,", "-d", "cradle", "-c", sql], capture_output=True,
                          text=True, check=True, cwd="/")
    rows = [tuple(line.split(",")) for line in done.stdout.splitlines()]
    known = set(rows)
    lost = [a for a in journal.answers if (a[1], str(a[2]), str(a[3])) not in known]
    twice = len(rows) - len({(eui, join_nonce) for eui, _, join_nonce in rows})
    again = len(rows) - len({(eui, dev_nonce) for eui, dev_nonce, _ in rows})
    print(f"{len(journal.answers)} joins were answered, {len(journal.vain)} asked for in vain; not in the database: {len(lost)}; "
          f"JoinNonces twice: {twice}; DevNonces twice: {again}", flush=True)
    if lost or twice or again:
        raise SystemExit("an answered join was lost, or a nonce was used twice")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    journal = Journal(rows)
    for thread in journal.threads:
        thread.start()
    for unit in UNITS:
        restart(journal, unit)
    for unit in UNITS:
        stand_still(journal, unit)
    journal.stopping.set()
    for thread in journal.threads:
        thread.join()
    check(journal)


if __name__ == "__main__":
    main()
