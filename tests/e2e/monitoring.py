"""What Cradle says of its metrics: the page of a running service, docs/metrics.md, and the names and labels in PromQL."""
import json
import os
import re
import shutil
import subprocess

import support

DOCUMENT = "docs/metrics.md"
FOLDER = os.path.join(support.ROOT, "monitoring")
RULES = os.path.join(FOLDER, "alerts.yaml")
DASHBOARDS = ("operation.json", "onboarding.json")
TOOL_SECONDS = 60

_ROW = re.compile(r"^\| `([a-zA-Z_:][a-zA-Z0-9_:]*)` \| (counter|gauge|histogram) \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\.)*)"')
_PARTS = ("_bucket", "_sum", "_count")


def promtool():
    """Its path, or None: Debian's package prometheus has it."""
    return shutil.which("promtool")


def run_promtool(*args, text=None):
    """(status, what it said)"""
    run = subprocess.run([promtool(), *args], input=text, capture_output=True, text=True, check=False, timeout=TOOL_SECONDS)
    return run.returncode, run.stdout + run.stderr


def read(path):
    with open(os.path.join(support.ROOT, path), encoding="utf-8") as file:
        return file.read()


def documented():
    """{metric: (type, set of its labels)}"""
    found = {}
    for name, kind, labels, _, _ in _ROW.findall(read(DOCUMENT)):
        if name in found:
            raise AssertionError(f"{name} is documented twice")
        found[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
    return found


class Page:
    """What a service answers to GET /metrics; any line that is not of the format is an error."""

    def __init__(self, text):
        self.text, self.types, self.helps, self.samples = text, {}, {}, []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:]
                if name in self.types:
                    raise AssertionError(f"{name} has two types")
                self.types[name] = kind
            elif line.startswith("# HELP "):
                _, _, name, told = line.split(" ", 3)
                self.helps[name] = told
            else:
                match = _SAMPLE.fullmatch(line)
                if not match:
                    raise AssertionError(f"not a sample: {line}")
                self.samples.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))

    def labels(self):
        """{metric: [set of the labels of a sample]}"""
        found = {}
        for name, labels, _ in self.samples:
            found.setdefault(self.base(name), []).append(set(labels))
        return found

    def base(self, name):
        for part in _PARTS:
            whole = name.removesuffix(part)
            if whole != name and self.types.get(whole) == "histogram":
                return whole
        return name


# PromQL, as far as names and labels go.
_FUNCTIONS = set("""rate irate increase sum avg min max count topk bottomk histogram_quantile time changes resets absent clamp_min clamp_max
    label_replace max_over_time min_over_time avg_over_time sum_over_time delta deriv sort sort_desc vector scalar abs ceil floor round
    predict_linear group count_values timestamp""".split())
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "inf", "nan"}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^{}]*\})?")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
TARGET_LABELS = {"job", "instance"}


def promql(expression):
    """([(metric, set of labels matched)], set of labels grouped by). Raises on what it does not understand."""
    groups = set()
    for inner in _GROUPING.findall(expression):
        groups |= {label.strip() for label in inner.split(",") if label.strip()}
    bare = _GROUPING.sub(" ", expression)
    selectors, kept = [], []

    def take(match):
        kept.append(match[0])
        return f"\x00{len(kept) - 1}\x00"

    bare = re.sub(r"\[[0-9smhdwy:$a-z_]+\]", " ", bare)
    bare = re.sub(r"\{[^{}]*\}", take, bare)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', " ", bare)
    for name, at in re.findall(r"(?<![\w$.])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\x00(\d+)\x00)?", bare):
        if name.lower() in _WORDS or name in _FUNCTIONS:
            continue
        labels = set()
        if at:
            inner = kept[int(at)][1:-1]
            while inner.strip():
                match = _MATCHER.match(inner)
                if not match:
                    raise AssertionError(f"not a label matcher: {inner!r} in {expression}")
                labels.add(match[1])
                inner = inner[match.end():].lstrip(", ")
        selectors.append((name, labels))
    return selectors, groups


def faults(expression, metrics, recorded=()):
    """What an expression names that no metric has. `metrics` as of documented(); `recorded`: names of recording rules."""
    selectors, groups = promql(expression)
    found, known = [], set(TARGET_LABELS)
    if not selectors:
        found.append("no metric")
    for name, labels in selectors:
        if name in recorded:
            known |= set(recorded[name])
            continue
        base = next((name.removesuffix(part) for part in _PARTS
                     if name.endswith(part) and metrics.get(name.removesuffix(part), ("",))[0] == "histogram"), name)
        if base == "up":
            continue
        if base not in metrics:
            found.append(f"unknown metric {name}")
            continue
        kind, has = metrics[base]
        if kind == "histogram" and base == name:
            found.append(f"{name} is a histogram: _bucket, _sum or _count")
        known |= has
        found += [f"{name} has no label {label}" for label in sorted(labels - has - TARGET_LABELS)]
        if kind != "counter" and kind != "histogram" and re.search(r"\b(rate|increase|irate)\s*\(\s*" + re.escape(name), expression):
            found.append(f"{name} is a {kind}: no rate")
    found += [f"no metric of it has the label {label}" for label in sorted(groups - known)]
    return found


def dashboard(name):
    with open(os.path.join(FOLDER, "grafana", name), encoding="utf-8") as file:
        return json.load(file)


def rules():
    """The rules of the rules file, each a dict: alert or record, expr, for, and the rest that stands on a line of its own.
    The file keeps to one line a value, so that this needs no reader of YAML; that it is good YAML, promtool says."""
    found = []
    for line in read(RULES).splitlines():
        match = re.match(r"      (- )?\s*(\w+): (.+)$", line)
        if not match:
            continue
        if match[1]:
            found.append({})
        if found:
            value = match[3]
            found[-1][match[2]] = json.loads(value) if value.startswith('"') else value
    return found
