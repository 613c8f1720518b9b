"""Holds a client's journal against the database: what was promised, and whether it was kept whatever failed meanwhile.

    check(fault_journal.read(path), facts_of(stack))     the violations, none of them if all is well

Each has its own rule (RULES), which looks at the exchanges of the journal, at the facts of the database, or at both;
test_fault_check.py forges both for each rule and wants it found.
"""

import os
import typing

import support
from test_secrecy import Needles

CLOCK_S = 0.001  # what the two readings of one clock may differ by
JOIN = "255"
LATER = (None, "Other")  # ResultCodes of an answer that says: ask again
FD_SLACK, THREAD_SLACK, MEMORY_FACTOR, MEMORY_SLACK_KIB = 8, 2, 1.5, 32 * 1024
# AddressSanitizer keeps what was freed until it is so much (quarantine_size_mb).
SANITIZER_SLACK_KIB = 256 * 1024
SETTLE_S = 20
FOUND_MAX = 20  # violations of one rule that are told one by one


class Violation(typing.NamedTuple):
    invariant: str
    device: str
    text: str

    def __str__(self):
        return f"{self.invariant}: {self.device}: {self.text}"


class Event(typing.NamedTuple):
    """Of join_event, those that came through."""
    at: float
    dev_eui: str
    join_eui: str
    join_type: str
    dev_nonce: int
    join_nonce: int
    net_id: str
    nonce_epoch: int


class Device(typing.NamedTuple):
    home_net_id: str
    owner: str
    ownership_epoch: int
    is_whole: bool  # with a sealed key and a join state
    join_nonce: int


class Facts(typing.NamedTuple):
    events: list
    devices: dict  # by DevEUI
    claims: list  # (DevEUI, organization, outcome) in their order


def facts_of(stack):
    """What the database says now."""
    events = [Event(float(at), eui, join_eui, kind, int(nonce), int(join_nonce), net_id, int(epoch or 0))
              for at, eui, join_eui, kind, nonce, join_nonce, net_id, epoch in stack.psql(
                  "SELECT extract(epoch FROM at), encode(dev_eui, 'hex'), encode(join_eui, 'hex'), join_type, dev_nonce, "
                  "join_nonce, encode(net_id, 'hex'), nonce_epoch FROM join_event WHERE outcome = 'success' ORDER BY at")]
    devices = {eui: Device(home, owner, int(epoch), whole == "t", int(join_nonce or 0))
               for eui, home, owner, epoch, whole, join_nonce in stack.psql(
                   "SELECT encode(d.dev_eui, 'hex'), encode(d.home_net_id, 'hex'), encode(o.public_id, 'hex'), d.ownership_epoch, "
                   "k.dev_eui IS NOT NULL AND j.dev_eui IS NOT NULL, j.join_nonce FROM device d "
                   "LEFT JOIN (SELECT DISTINCT dev_eui FROM device_key) k USING (dev_eui) LEFT JOIN device_join j USING (dev_eui) "
                   "LEFT JOIN organization o ON o.id = d.owner_id")}
    claims = [tuple(row) for row in stack.psql(
        "SELECT encode(dev_eui, 'hex'), encode(o.public_id, 'hex'), outcome FROM claim_event e "
        "JOIN organization o ON o.id = e.organization_id ORDER BY e.id")]
    return Facts(events, devices, claims)


def joins(exchanges):
    return [e for e in exchanges if e["op"] == "join"]


def accepted(exchanges):
    return [e for e in joins(exchanges) if e["answer"] and e["answer"].get("code") == "Success"]


def dev_nonce_twice(exchanges, facts):
    seen = {}
    for event in facts.events:
        if event.join_type != JOIN:
            continue
        key = (event.dev_eui, event.join_eui, event.dev_nonce, event.nonce_epoch)
        if key in seen:
            yield event.dev_eui, f"DevNonce {event.dev_nonce} was accepted at {seen[key]} and at {event.at}"
        seen[key] = event.at
    told = {}
    for e in accepted(exchanges):
        key = (e["dev_eui"], e["join_eui"], e["dev_nonce"])
        if told.setdefault(key, e["answer"]["accept"]) != e["answer"]["accept"]:
            yield e["dev_eui"], f"DevNonce {e['dev_nonce']} was answered with another Join-Accept at {e['answer']['at']}"


def join_nonce_back(exchanges, facts):
    last = {}
    for event in facts.events:
        if event.join_nonce <= last.get(event.dev_eui, -1):
            yield event.dev_eui, f"JoinNonce {event.join_nonce} at {event.at} after {last[event.dev_eui]}"
        last[event.dev_eui] = max(last.get(event.dev_eui, -1), event.join_nonce)
    for eui, join_nonce in last.items():
        if eui in facts.devices and facts.devices[eui].join_nonce < join_nonce:
            yield eui, f"its row has JoinNonce {facts.devices[eui].join_nonce}, a join had {join_nonce}"
    told = {}
    for e in accepted(exchanges):
        if e["answer"]["join_nonce"] is None:
            yield e["dev_eui"], f"a Join-Accept with a wrong MIC at {e['answer']['at']}"
            continue
        used = told.setdefault((e["dev_eui"], e["answer"]["join_nonce"]), e["dev_nonce"])
        if used != e["dev_nonce"]:
            yield e["dev_eui"], f"JoinNonce {e['answer']['join_nonce']} was answered for DevNonces {used} and {e['dev_nonce']}"


def answered_and_not_there(exchanges, facts):
    there = {(v.dev_eui, v.dev_nonce, v.join_nonce): v.at for v in facts.events}
    for e in accepted(exchanges):
        at = there.get((e["dev_eui"], e["dev_nonce"], e["answer"]["join_nonce"]))
        if at is None:
            yield e["dev_eui"], f"the join of DevNonce {e['dev_nonce']}, answered at {e['answer']['at']}, is not there"
        elif at > e["answer"]["at"] + CLOCK_S:
            yield e["dev_eui"], f"the join of DevNonce {e['dev_nonce']} is of {at}, its answer of {e['answer']['at']}"


def import_rows(exchanges, facts):
    for e in exchanges:
        if e["op"] != "import" or not e["answer"]:
            continue
        for eui, outcome in e["answer"]["outcomes"].items():
            device = facts.devices.get(eui)
            if outcome in ("created", "exists") and (device is None or not device.is_whole):
                yield eui, f"{outcome} was answered at {e['answer']['at']}, and it is {'half ' if device else 'not '}there"
            if outcome == "refused" and device is not None:
                yield eui, f"refused was answered at {e['answer']['at']}, and it is there"
    for eui, device in facts.devices.items():
        if not device.is_whole:
            yield eui, "a device without key or join state"


def one_claimant(exchanges, facts):
    winners, refusals = {}, {}
    for e in exchanges:
        if e["op"] != "claim" or not e["answer"]:
            continue
        if e["answer"]["status"] == 200:
            winners.setdefault(e["dev_eui"], set()).add(e["organization"])
        elif e["answer"]["status"] == 403:
            refusals.setdefault((e["answer"]["type"], tuple(e["answer"]["members"])), e["dev_eui"])
    for eui, organizations in winners.items():
        if len(organizations) > 1:
            yield eui, f"claimed by {', '.join(sorted(organizations))}"
        elif eui not in facts.devices or facts.devices[eui].owner not in organizations:
            yield eui, f"{organizations} was told that it has it, and has not"
    if len(refusals) > 1:
        yield ", ".join(refusals.values()), f"losers are told different things: {list(refusals)}"


def code_twice(_, facts):
    won = {}
    for eui, organization, outcome in facts.claims:
        if outcome == "claimed":
            won.setdefault(eui, []).append(organization)
    for eui, organizations in won.items():
        epoch = facts.devices[eui].ownership_epoch if eui in facts.devices else 0
        if len(organizations) > epoch:  # an import may have given it an owner, too
            yield eui, f"{len(organizations)} claims with codes in ownership epoch {epoch}"


def not_authorised(exchanges, facts):
    for e in accepted(exchanges):
        if not e["allowed"]:
            yield e["dev_eui"], f"answered to another network at {e['answer']['at']}"
    for event in facts.events:
        device = facts.devices.get(event.dev_eui)
        if device is None or device.home_net_id != event.net_id:
            yield event.dev_eui, f"a join in network {event.net_id} at {event.at}, its home is {device and device.home_net_id}"


def same_answer(exchanges, _):
    asked = {}
    for e in joins(exchanges):
        asked.setdefault(e["request"], []).append(e)
    for same in asked.values():
        answers = {e["answer"]["whole"] for e in accepted(same)}
        if len(answers) > 1:
            yield same[0]["dev_eui"], f"DevNonce {same[0]['dev_nonce']}, asked again to the byte, was answered differently"
        # A client that was told nothing asks again: what was spent on it must be its own.
        refused = [e for e in same if e["allowed"] and e["answer"] and e["answer"]["status"] == 200
                   and e["answer"]["code"] not in ("Success", *LATER)]
        for e in refused:
            yield e["dev_eui"], f"DevNonce {e['dev_nonce']} was refused at {e['answer']['at']}: {e['answer']['code']}"


RULES = {"I1": dev_nonce_twice, "I2": join_nonce_back, "I3": answered_and_not_there, "I4": import_rows, "I5": one_claimant,
         "I6": code_twice, "I8": not_authorised, "I9": same_answer}


def check(exchanges, facts, leave_out=()):
    """All violations of the rules over journal and database."""
    return [Violation(name, device, text) for name, rule in RULES.items() if name not in leave_out
            for device, text in rule(exchanges, facts)]


# --- what is not in journal and database ---


def keys_in_clear(folders, keys, leave_out=()):
    """I7: of {name: hexadecimal key}, what stands in any file below the folders. The database's own files are among them
    when their folder is."""
    needles = Needles(keys)
    return [Violation("I7", key, f"in clear in {name}") for folder in folders
            for name, key in sorted(needles.in_tree(folder, leave_out)[0])]


def resources(pids):
    """{name: (file descriptors, threads, resident KiB)} of {name: process id}."""
    found = {}
    for name, pid in pids.items():
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            status = dict(line.split(":", 1) for line in file)
        found[name] = (len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), int(status["VmRSS"].split()[0]))
    return found


def grown(before, after):
    """I10: what has more than it had, by more than what comes and goes."""
    found = []
    for name, (fds, threads, memory) in before.items():
        now = after.get(name)
        if now is None:
            found.append(Violation("I10", name, "is not there any more"))
            continue
        limits = (fds + FD_SLACK, threads + THREAD_SLACK, MEMORY_FACTOR * memory + MEMORY_SLACK_KIB +
                  (SANITIZER_SLACK_KIB if {"ASAN_OPTIONS", "TSAN_OPTIONS"} & os.environ.keys() else 0))
        for what, was, value, limit in zip(("file descriptors", "threads", "KiB"), before[name], now, limits):
            if value > limit:
                found.append(Violation("I10", name, f"{value} {what}, {was} before"))
    return found


def returns_to(before, pids):
    """Waits for `grown` to find nothing; what it found last."""
    found = []

    def settled():
        found[:] = grown(before, resources(pids()))
        return not found
    try:
        support.wait_until(settled, SETTLE_S, "resources return to their baseline")
    except AssertionError:
        pass
    return found


def held(violations):
    """AssertionError that names them."""
    if violations:
        told = [str(v) for v in violations[:FOUND_MAX]]
        raise AssertionError(f"{len(violations)} violations:\n" + "\n".join(told))
