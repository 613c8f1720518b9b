"""Packages of npm: parties that have nothing to do with Cradle."""

import os
import re
import shutil
import subprocess

INSTALL_SECONDS = 120


def install(folder, package):
    """The folder of a package ("name@version"), and why it is not there."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return None, f"{program} is not there"
    os.makedirs(folder)
    with open(os.path.join(folder, "package.json"), "w", encoding="ascii") as file:
        file.write('{"private": true}\n')
    try:
        run = subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save",
             "--cache", os.path.join(folder, "cache"), package],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"npm has not installed {package} in {INSTALL_SECONDS} s"
    if run.returncode != 0:
        code = re.search(r"npm \S+ code (\S+)", run.stderr)
        return None, f"npm cannot install {package}: {code[1] if code else run.stderr[-200:]}"
    return os.path.join(folder, "node_modules", package.partition("@")[0]), None
