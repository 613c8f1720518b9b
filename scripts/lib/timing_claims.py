"""Claims that are refused, for scripts/bench timing: the devices, the clients, and the forgiving."""
import json
import os
import urllib.error
import urllib.request

from bench_stack import Failed, private

MESSAGE = "Claim"
# Numbers of the classes, as in tests/bench/claim_timing.c; between two devices is one that is not here.
TAKEN, CODE, QUARANTINED, NO_CODE, CREDENTIAL, LOCKED, CONTROL = range(7)
CLASSES = 7
STRIDE = 2
CLIENTS = 200
WEAK_MAX = 20  # wrong claims that lock a weak code
OWNER = "Bench owner"
CLASS_SQL = f"(('x' || right(encode(dev_eui, 'hex'), 8))::bit(32)::bigint / {STRIDE} % {CLASSES})"
TABLES = ("device", "device_key", "device_join", "claim_code", "claim_limit")
# With two versions of the code key these codes are hashed by the newer one, as what is not here is; the others by the first.
NEWER = (CODE, QUARANTINED)
PREPARE_SQL = (
    "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive', home_net_id = NULL, as_id = NULL,"
    f" trust = CASE {CLASS_SQL} WHEN {QUARANTINED} THEN 'quarantined' ELSE trust END,"
    f" credential = CASE {CLASS_SQL} WHEN {CREDENTIAL} THEN 'generated' ELSE credential END"
    f" WHERE {CLASS_SQL} NOT IN ({TAKEN}, {CONTROL})",
    f"UPDATE device SET owner_id = (SELECT id FROM organization WHERE name = '{OWNER}') WHERE {CLASS_SQL} = {CONTROL}",
    "INSERT INTO claim_code (dev_eui, generation, hash, weak, origin, made_by)"
    " SELECT dev_eui, CASE WHEN owned THEN 2 ELSE 1 END,"
    f"  sha256(dev_eui) || CASE WHEN {{two}} AND class IN {NEWER} THEN '\\x0002'::bytea ELSE '' END, class = {LOCKED},"
    "  CASE WHEN owned THEN 'claimed' ELSE 'given' END, CASE WHEN owned THEN sha256(dev_eui) END"
    f" FROM (SELECT dev_eui, {CLASS_SQL} AS class, owner_id IS NOT NULL AS owned FROM device) d WHERE class <> {NO_CODE}",
    # All have been tried wrongly so often that a weak code is locked, those that are not here too.
    f"INSERT INTO claim_limit (scope, subject, due, n_wrong) SELECT 2, dev_eui, now(), {WEAK_MAX} FROM device"
    f" UNION ALL SELECT 2, set_byte(dev_eui, 7, get_byte(dev_eui, 7) # 1), now(), {WEAK_MAX} FROM device"
    f"  WHERE {CLASS_SQL} = {CODE}",
    # As if the devices had always been so: no row has an older version in the way.
    *(f"VACUUM (FULL, ANALYZE) {table}" for table in TABLES),
    "CHECKPOINT",
)
# The attempts, too: so many raise the alarm, which holds every client up after one.
FORGIVE_SQL = "DELETE FROM claim_limit WHERE scope <> 2; DELETE FROM claim_event; VACUUM claim_limit, claim_event"


def call(stack, token, path, body):
    """The answer to POST, which must be one of success."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.activation_port}{path}", data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as failure:
        raise Failed(f"POST {path} answered {failure.code}: {failure.read().decode()}") from None


def add_clients(stack):
    """Path of a file with a token of each."""
    admin = stack.access_token(stack.cradle("client", "add", "--organization", "Bench admin", "--role", "admin"))
    owner = call(stack, admin, "/v1/organizations", {"name": OWNER})["id"]
    path = os.path.join(stack.folder, "tokens")
    with open(path, "w", encoding="ascii", opener=private) as file:
        for _ in range(CLIENTS):
            client = call(stack, admin, f"/v1/organizations/{owner}/clients", {"roles": ["owner"]})
            file.write(stack.access_token(client) + "\n")
    return path


def rotate_code_key(stack):
    stack.command("hsm", "rotate", "code")
    stack.command("hsm", "activate", "code", "2")
    stack.restart_activation()  # so that every key process knows


def codes_by_version(stack):
    """How many codes each version of the code key has hashed."""
    return dict(json.loads(line) for line in stack.psql.ask(
        "SELECT json_build_array(key_version(hash), count(*)) FROM claim_code GROUP BY key_version(hash) ORDER BY key_version(hash)"))


def measure(stack, shared, options, say):
    """Nanoseconds by class, and codes by version."""
    tries, two = options.tries, options.code_versions == 2
    shared = {**shared, "devices": CLASSES * shared["devices"], "stride": STRIDE}
    say(f"Making {shared['devices']} devices with codes, and {CLIENTS} clients ...")
    if stack.bench("load-devices", **shared).wait() != 0:
        raise Failed("cradle-bench load-devices failed: the reason is above.")
    if two:
        rotate_code_key(stack)
    tokens = add_clients(stack)
    for sql in PREPARE_SQL:
        stack.psql.ask(sql.replace("{two}", str(two)))
    say(f"Timing {tries} refusals of each class, {MESSAGE} ...")
    process = stack.bench("claim-timing", answered=True, tries=tries, tokens=tokens, ports=stack.activation_port,
                          **{"in-a-row": options.in_a_row}, **shared)
    try:
        for line in process.stdout:
            if line != "reset\n":
                return json.loads(line), codes_by_version(stack)
            stack.psql.ask(FORGIVE_SQL)
            process.stdin.write("done\n")
            process.stdin.flush()
        raise Failed("cradle-bench claim-timing failed: the reason is above.")
    finally:
        process.stdin.close()
        process.stdout.close()
        process.terminate()
        process.wait()
