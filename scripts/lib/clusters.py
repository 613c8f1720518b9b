"""The clusters that scripts/run keeps outside of state folders (scripts/lib/postgres.sh: root, without user namespaces)."""
import os
import re
import shutil
import sys

OUTSIDE = "/var/lib/cradle"


def remove_clusters(folder, outside=OUTSIDE):
    """Those of all state folders in this folder, which is about to be removed."""
    for path, folders, names in os.walk(folder):
        if "cluster" not in names:
            continue
        folders.clear()
        with open(os.path.join(path, "cluster"), encoding="utf-8", errors="replace") as file:
            cluster = file.read().strip()
        if re.fullmatch(re.escape(outside) + "/[0-9a-f]{16}/data", cluster) and os.path.isdir(os.path.dirname(cluster)):
            shutil.rmtree(os.path.dirname(cluster), onerror=left)


def left(_, path, failure):
    """What was to be removed is said, and hides nothing else that there is to tell."""
    print(f"{path} is left: {failure[1]}", file=sys.stderr)
