"""Holds every answer of the activation service that any test gets to the OpenAPI description.

What is documented of an answer (status, type, members, headers) must be so, and what is not documented must not be
there: objects are closed unless they say additionalProperties. A keyword that this does not know is an error.
"""

import datetime
import glob
import json
import os
import re

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "activation", "openapi")

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
         "integer": int, "number": (int, float)}
REMARKS = {"description", "default", "contentEncoding", "examples"}


class Undocumented(AssertionError):
    pass


def _is(value, name):
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, TYPES[name])


def _date_time(text):
    if not text.endswith("Z"):
        return False
    try:
        datetime.datetime.fromisoformat(text[:-1] + "+00:00")
    except ValueError:
        return False
    return True


class Description:
    def __init__(self):
        self.paths, self.components = {}, {}
        for name in sorted(glob.glob(os.path.join(FOLDER, "*.json"))):
            with open(name, encoding="utf-8") as file:
                part = json.load(file)
            for path, operations in part["paths"].items():
                self.paths.setdefault(path, {}).update(operations)
            for kind, members in part.get("components", {}).items():
                self.components.setdefault(kind, {}).update(members)
        self.patterns = [(re.compile("^" + re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"), path)
                         for path in sorted(self.paths, key=lambda path: path.count("{"))]
        self.seen = set()

    def resolve(self, node):
        while "$ref" in node:
            _, _, kind, name = node["$ref"].split("/")
            node = self.components[kind][name]
        return node

    def operation(self, method, target):
        """(path as documented, operation) or None."""
        path = target.split("?")[0]
        for pattern, documented in self.patterns:
            if pattern.match(path):
                operation = self.paths[documented].get(method.lower())
                return (documented, operation) if operation else None
        return None

    # --- values ---

    def members(self, schema):
        """The names that a schema knows, and those that allOf adds; None when any name will do."""
        schema = self.resolve(schema)
        names = set(schema.get("properties", ()))
        if schema.get("additionalProperties") or not ("properties" in schema or "allOf" in schema):
            return None
        for part in schema.get("allOf", ()):
            more = self.members(part)
            if more is None:
                return None
            names |= more
        return names

    def check(self, value, schema, at, closed=True):
        schema = self.resolve(schema)
        for keyword, argument in schema.items():
            if keyword in REMARKS:
                continue
            if not hasattr(self, "_" + keyword):
                raise Undocumented(f"{at}: the description has a keyword that is not held: {keyword}")
            if not getattr(self, "_" + keyword)(value, argument, at, schema):
                raise Undocumented(f"{at}: {keyword} {argument!r} does not hold for {str(value)[:200]!r}")
        known = self.members(schema) if closed and isinstance(value, dict) else None
        if known is not None:
            strangers = set(value) - known
            if strangers:
                raise Undocumented(f"{at}: not documented: {sorted(strangers)}")

    def _type(self, value, names, _at, _schema):
        return any(_is(value, name) for name in ([names] if isinstance(names, str) else names))

    def _const(self, value, wanted, _at, _schema):
        return value == wanted

    def _enum(self, value, wanted, _at, _schema):
        return value in wanted

    def _required(self, value, names, _at, _schema):
        return not isinstance(value, dict) or all(name in value for name in names)

    def _properties(self, value, schemas, at, _schema):
        for name in schemas if isinstance(value, dict) else ():
            if name in value:
                self.check(value[name], schemas[name], f"{at}.{name}")
        return True

    def _additionalProperties(self, value, argument, at, schema):
        if isinstance(argument, dict) and isinstance(value, dict):
            for name in set(value) - set(schema.get("properties", ())):
                self.check(value[name], argument, f"{at}.{name}")
        return True

    def _items(self, value, schema, at, _schema):
        for i, item in enumerate(value if isinstance(value, list) else ()):
            self.check(item, schema, f"{at}[{i}]")
        return True

    def _uniqueItems(self, value, argument, _at, _schema):
        return not (argument and isinstance(value, list)) or len({json.dumps(item) for item in value}) == len(value)

    def _pattern(self, value, pattern, _at, _schema):
        return not isinstance(value, str) or re.search(pattern, value) is not None

    def _format(self, value, name, at, _schema):
        if name not in ("date-time", "uri"):
            raise Undocumented(f"{at}: the description has a format that is not held: {name}")
        return not isinstance(value, str) or name != "date-time" or _date_time(value)

    def _minimum(self, value, least, _at, _schema):
        return not _is(value, "number") or value >= least

    def _maximum(self, value, most, _at, _schema):
        return not _is(value, "number") or value <= most

    def _minLength(self, value, least, _at, _schema):
        return not isinstance(value, str) or len(value) >= least

    def _maxLength(self, value, most, _at, _schema):
        return not isinstance(value, str) or len(value) <= most

    def _minItems(self, value, least, _at, _schema):
        return not isinstance(value, list) or len(value) >= least

    def _maxItems(self, value, most, _at, _schema):
        return not isinstance(value, list) or len(value) <= most

    def _allOf(self, value, schemas, at, _schema):
        for schema in schemas:
            self.check(value, schema, at, closed=False)
        return True

    def _fits(self, value, schemas, at):
        n = 0
        for schema in schemas:
            try:
                self.check(value, schema, at)
                n += 1
            except Undocumented:
                pass
        return n

    def _anyOf(self, value, schemas, at, _schema):
        return self._fits(value, schemas, at) > 0

    def _oneOf(self, value, schemas, at, _schema):
        return self._fits(value, schemas, at) == 1

    # --- answers ---

    def hold(self, method, target, status, headers, body):
        """Raises Undocumented where the answer is not as the description says."""
        found = self.operation(method, target)
        at = f"{method} {target.split('?')[0]}: {status}"
        if found is None:
            if status not in (404, 405, 400, 503):
                raise Undocumented(f"{at} of a call that is not documented")
            return
        path, operation = found
        response = operation["responses"].get(str(status))
        if response is None:
            raise Undocumented(f"{at} is not documented: {body[:300]!r}")
        response = self.resolve(response)
        self.seen.add((method.lower(), path, status))
        for name, header in response.get("headers", {}).items():
            if name not in headers and self.resolve(header).get("required", True):
                raise Undocumented(f"{at} without the header {name}")
        content = response.get("content", {})
        if not body and response.get("x-may-be-empty"):
            return
        if not content:
            if body:
                raise Undocumented(f"{at} is documented without a body: {body[:300]!r}")
            return
        kind = headers.get_content_type()
        if kind not in content:
            raise Undocumented(f"{at}: {kind} is not documented")
        schema = content[kind].get("schema")
        if schema is None:
            return
        if kind == "application/x-ndjson":
            for i, line in enumerate(body.splitlines()):
                self.check(json.loads(line), schema, f"{at}: line {i + 1}")
        elif kind.endswith("json"):
            self.check(json.loads(body), schema, at)

    def never_succeeded(self):
        """Documented calls whose success no test has seen."""
        calls = {(method, path) for path, item in self.paths.items() for method in item if method != "parameters"}
        return sorted(calls - {(method, path) for method, path, status in self.seen if status < 300})


description = Description()
