"""Commands, and a host of key processes, where the folder that they write to is full: they say which, and leave nothing half done. A PIN
that is refused is tried once even where there was no room to remember it.
"""

import os
import subprocess
import tempfile
import unittest

import disks
import support

FULL = "No space left on device"
STEPS = 3  # of sizes at which the room ends
SMALL_KIB = 16
# Its arguments: a folder; KiB of its disk; "room", "full" or "names" (has neither room nor names); what is below that folder and is to
# be there all the same, and "--"; a command. It says what is left in the folder at the end.
ON_SMALL_DISK = """folder=$1 kib=$2 state=$3
shift 3
mount -t tmpfs tmpfs /mnt || exit 99
n=0
for kept in "$@"; do
    [ "$kept" != -- ] || break
    n=$((n + 1))
    mkdir "/mnt/$n" && mount --rbind "$kept" "/mnt/$n" || exit 99
done
mount -t tmpfs -o "mode=1777,size=${kib}k,nr_inodes=400" tmpfs "$folder" || exit 99
n=0
while [ "$1" != -- ]; do
    n=$((n + 1))
    mkdir -p "$1" && mount --rbind "/mnt/$n" "$1" || exit 99
    shift
done
shift
umount --recursive /mnt || exit 99
mkdir "$folder/filler"
before=$(ls -A "$folder")
if [ "$state" != room ]; then
    fallocate -l "${kib}K" "$folder/filler/room" || exit 98
fi
if [ "$state" = names ]; then
    while mkdir "$folder/filler/$n" 2>/dev/null; do
        n=$((n + 1))
    done
fi
"$@"
status=$?
ls -A "$folder" | grep -vxFe "$before" | sed "s|^|left: $folder/|" >&2
exit $status
"""


def secret(path, flags):
    return os.open(path, flags, 0o600)


class FullFolders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.namespace = disks.namespace()
        cls.stack = support.shared()
        cls.program = cls.stack.program("cli/cradle")

    def setUp(self):
        # Short: there is a socket in it.
        self.folder = tempfile.mkdtemp(prefix="small-", dir=self.stack.state)

    def on_small_disk(self, command, folder=None, kib=SMALL_KIB, state="full", keep=(), **environment):
        return subprocess.run(
            [*self.namespace, "sh", "-c", ON_SMALL_DISK, "sh", folder or self.folder, str(kib), state, *keep, "--", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=support.START_SECONDS,
            env={**self.stack.environment(), **environment})

    def cradle(self, *arguments, config="cradle.ini", **options):
        return self.on_small_disk([self.program, "--config", self.stack.path(config), *arguments], **options)

    def refused(self, run, *words):
        """It says what is full, and nothing is left."""
        self.assertEqual(run.returncode, 1, run.stderr)
        for word in (FULL, *words):
            self.assertIn(word, run.stderr)
        self.assertNotIn("left:", run.stderr)

    def at_any_size(self, *arguments):
        """Wherever the room ends: nothing is left. With enough of it all is there."""
        whole = self.on_small_disk(["sh", "-c", f'"$@" >&2 && du -sk "{self.folder}"', "sh", self.program, "--config",
                                    self.stack.path("cradle.ini"), *arguments], state="room", kib=1 << 16)
        self.assertEqual(whole.returncode, 0, whole.stderr)
        self.assertIn("left:", whole.stderr)
        kib = int(whole.stdout.split()[0])
        for step in range(STEPS):
            run = self.cradle(*arguments, state="room", kib=max(4, kib * step // STEPS))
            self.refused(run, self.folder)

    def test_a_backup_ends_where_the_room_ends_and_leaves_nothing(self):
        self.at_any_size("backup", os.path.join(self.folder, "kept"))

    def test_nor_does_one_of_a_token(self):
        self.at_any_size("hsm", "backup", os.path.join(self.folder, "kept"))

    def test_a_backup_that_cannot_be_rehearsed_is_none(self):
        kept = self.stack.path("rehearsed-nowhere")
        self.refused(self.cradle("backup", kept, TMPDIR=self.folder), self.folder)
        self.assertEqual([name for name in os.listdir(self.stack.state) if name.startswith("rehearsed-nowhere")], [])

    def test_an_audit_export_is_whole_or_not_there(self):
        self.refused(self.cradle("audit", "export", os.path.join(self.folder, "audit.jsonl")), self.folder)

    def test_a_statement_that_cannot_be_kept_for_a_moment_is_not_written(self):
        device, out = self.stack.device("1.0.4")["dev_eui"], self.stack.path("custody-nowhere")
        client, keep = self.stack.demo["clients"]["maker"], (self.stack.state, support.built())
        with open(self.stack.path("maker.secret"), "w", encoding="ascii", opener=secret) as file:
            file.write(client["client_secret"])
        with open(self.stack.path("maker.ini"), "w", encoding="ascii") as file:
            file.write(f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {client['client_id']}\n"
                       f"client_secret_file = {self.stack.path('maker.secret')}\n")
        words = ("device", "custody", device, "--out", out)
        run = self.cradle(*words, config="maker.ini", folder="/tmp", state="room", keep=keep)
        self.assertEqual(run.returncode, 0, run.stderr)
        os.unlink(out)
        self.refused(self.cradle(*words, config="maker.ini", folder="/tmp", keep=keep), "/tmp")
        self.assertFalse(os.path.exists(out))

    def test_an_answer_that_cannot_be_shown_is_an_error(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([self.program, "--config", self.stack.path("cradle.ini"), "hsm", "list"], stdout=full,
                                 stderr=subprocess.PIPE, text=True, check=False, env=self.stack.environment())
        self.assertEqual((run.returncode, FULL in run.stderr), (1, True), run.stderr)

    # --- a refused PIN ---

    def settings(self):
        """Of the same token, with a wrong PIN and another lock file."""
        pin = self.stack.path("wrong-pin")
        with open(pin, "w", encoding="ascii", opener=secret) as file:
            file.write("0123456789\n")
        with open(self.stack.path("cradle.ini"), encoding="utf-8") as file:
            text = file.read()
        text = text.replace(f"pin-source=file:{self.stack.path('pin')}", f"pin-source=file:{pin}")
        text = text.replace(self.stack.path("lock.hsm"), os.path.join(self.folder, "lock"))
        with open(self.stack.path("wrong.ini"), "w", encoding="utf-8") as file:
            file.write(text)
        return [self.program, "--config", self.stack.path("wrong.ini"), "hsm", "list"]

    def test_no_pin_is_tried_where_there_is_no_room_to_remember_that_it_was_refused(self):
        run = self.on_small_disk(self.settings())
        self.assertEqual(run.returncode, 1)
        self.assertIn(os.path.join(self.folder, "lock"), run.stderr)
        self.assertIn(FULL, run.stderr)
        self.assertNotIn("refused the PIN", run.stderr)

    def test_one_that_is_refused_is_tried_once_though_the_disk_is_full_since(self):
        words, lock = self.settings(), os.path.join(self.folder, "lock")
        with open(self.stack.path("cradle.ini"), encoding="utf-8") as file:
            right = file.read().replace(self.stack.path("lock.hsm"), lock)
        with open(self.stack.path("right.ini"), "w", encoding="utf-8") as file:
            file.write(right)
        make = f'"$0" --config "{self.stack.path("right.ini")}" hsm list >/dev/null || exit 97'
        fill = f'head -c 1G /dev/zero >"{self.folder}/filler/more" 2>/dev/null'
        run = self.on_small_disk(["sh", "-c", f'{make}; {fill}; "$0" "$@"; echo "the second:" >&2; "$0" "$@"', *words], state="room")
        first, second = run.stderr.split("the second:")
        self.assertIn("the HSM refused the PIN of", first)
        self.assertIn("the HSM has refused the PIN of", second)
        self.assertNotIn("the HSM refused the PIN of", second)

    # --- the host's socket ---

    def test_a_host_whose_socket_finds_no_room_may_be_started_again(self):
        path = os.path.join(self.folder, "keyd.sock")
        with open(self.stack.path("joinserver.ini"), encoding="utf-8") as file:
            token = dict(line.rstrip().split(" = ", 1) for line in file if line.startswith(("uri = ", "lock_file = ", "keyd = ")))
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        words = [f"host.socket={path}", "host.service=joinserver", f"host.service_user={user}",
                 *(f"hsm.{name}={value}" for name, value in token.items())]
        run = self.on_small_disk([self.stack.program("hsm/cradle-keyd-host"), *(w for each in words for w in ("--set", each))],
                                 state="names")
        self.refused(run, path)


if __name__ == "__main__":
    unittest.main()
