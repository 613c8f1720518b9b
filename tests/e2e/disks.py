"""Small disks of a namespace's own, and what fills them."""

import contextlib
import os
import subprocess
import threading
import unittest

import support
from fault_stack import AtOnce

NAMES = 4000  # that a disk has for files: those of a database, and some
REFILL_S = 0.02
# Its arguments: MiB and path of each, "--", a command. What was there is there again. Paths that are not of the state folder
# (relative ones are) are made where they are missing.
SMALL_DISKS = f"""set -e
state=$1
cd "$state"
shift
while [ "$1" != -- ]; do
    mode=700
    [ "$2" != /dev/shm ] || mode=1777
    case $2 in
    /*) mkdir -p -m 700 "$2" ;;
    *)
        [ ! -e "$2" ] || mv "$2" "$2.outside"
        mkdir -m 700 "$2"
        ;;
    esac
    mount --rbind "$state" /mnt
    mount -t tmpfs -o "mode=$mode,size=$1m,nr_inodes={NAMES}" tmpfs "$2"
    case $state in
    "$2"/*) # the state folder itself is below it, and stays there
        mkdir -p "$state"
        mount --rbind /mnt "$state"
        cd "$state"
        ;;
    esac
    umount --recursive /mnt
    if [ -e "$2.outside" ]; then
        cp -a "$2.outside/." "$2/"
        rm -rf "$2.outside"
    fi
    shift 2
done
shift
exec "$@"
"""
COMMANDS = {"joinserver": "cradle-joinserver", "activation": "cradle-activation", "postgres": "postgres"}
COMMAND_LEN = 15  # of which a process shows that many characters


def namespace():
    """The command that whatever sees disks of its own is started by; SkipTest where there can be none."""
    within = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["sh", "-c", 'mount -t tmpfs none /mnt && "$@" true', "sh", *support.NAMESPACE]
    if subprocess.run([*within, *mount], capture_output=True, check=False).returncode != 0:
        raise unittest.SkipTest("no disk can be mounted here: no namespaces")
    return within


class DiskStack(AtOnce, support.Stack):
    """Some of whose folders are small disks, once it is told so."""

    disks = ()

    def put_on_disks(self, disks):
        """For the next start: {folder: MiB}."""
        self.disks = tuple(disks)
        words = [word for folder, mib in disks.items() for word in (str(mib), folder)]
        self.within = [*namespace(), "sh", "-c", SMALL_DISKS, "sh", self.state, *words, "--"]

    def launch(self):
        super().launch()
        if self.disks:
            self.inside = ["nsenter", "--target", str(self.process.pid), "--mount"]
            if os.geteuid() != 0:
                self.inside += ["--user", "--preserve-credentials"]

    def path(self, *parts):
        """As it is seen from here."""
        if self.process is None or not parts or parts[0].split("/")[0] not in {d.split("/")[0] for d in self.disks}:
            return super().path(*parts)
        return self.seen(super().path(*parts))

    def seen(self, path):
        """What is there for the services, as it is seen from here."""
        return f"/proc/{self.process.pid}/root{path}"

    def pids(self, name):
        """By their names: the folder in which scripts/run says who they are may be full."""
        if name not in COMMANDS:
            return super().pids(name)
        if self.process is None:
            return []
        return [pid for pid, (parent, said) in support.processes().items()
                if parent == self.process.pid and said == COMMANDS[name][:COMMAND_LEN]]


class Filler:
    """Takes all room of a folder's disk but `spare` blocks, with `names` all names too, and whatever is set free, until it is closed."""

    def __init__(self, folder, names=False, spare=0):
        self.folder, self.names, self.spare, self.made = folder, names, spare, []
        self.file = open(os.path.join(folder, "filler"), "wb")  # pylint: disable=consider-using-with
        self.ending = threading.Event()
        self.take()
        self.spare = 0 if self.spare == 0 else -1  # what is left is left
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def take(self):
        disk, size = os.statvfs(self.folder), os.fstat(self.file.fileno()).st_size
        if self.spare >= 0 and disk.f_bavail > self.spare:
            with contextlib.suppress(OSError):  # somebody else may write meanwhile
                os.posix_fallocate(self.file.fileno(), size, (disk.f_bavail - self.spare) * disk.f_frsize)
        with contextlib.suppress(OSError):
            while self.names:
                path = os.path.join(self.folder, f"filler-{len(self.made)}")
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                self.made.append(path)

    def is_full(self):
        return os.statvfs(self.folder).f_bavail == 0

    def run(self):
        while not self.ending.wait(REFILL_S):
            self.take()

    def close(self):
        if self.ending.is_set():
            return
        self.ending.set()
        self.thread.join()
        self.file.close()
        for path in (self.file.name, *self.made):
            with contextlib.suppress(OSError):  # the whole disk may be gone
                os.unlink(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
