"""What is deployed: units, their settings, and the compose file, held to the programs and to each other."""
import configparser
import glob
import os
import re
import shutil
import subprocess
import unittest

import support

try:
    import yaml
except ImportError:
    yaml = None

UNITS = os.path.join(support.ROOT, "systemd")
DOCKER = os.path.join(support.ROOT, "docker")
EXPOSURE_TENTHS = 15  # of systemd-analyze, at most
# Looked at after all settings were read.
WRONG = (("--set", "log.level=wrong"), ("--set", "log.format=wrong"))
PROGRAMS = {"joinserver": "joinserver/cradle-joinserver", "activation": "activation/cradle-activation",
            "keyd-joinserver": "hsm/cradle-keyd-host", "keyd-activation": "hsm/cradle-keyd-host"}
SERVICES = ("joinserver", "activation")


def settings_of(folder, name):
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=(";", "#"))
    parser.read(os.path.join(folder, "etc", f"{name}.ini"))
    return parser


def unit_lines(name, key):
    """The values of a key in a unit, in their order."""
    with open(os.path.join(UNITS, name), encoding="utf-8") as file:
        return [line.rstrip("\n").split("=", 1)[1] for line in file if line.startswith(f"{key}=")]


class Settings(unittest.TestCase):
    def test_every_program_knows_every_setting_of_its_file(self):
        for folder in (UNITS, DOCKER):
            for name, program in PROGRAMS.items():
                with self.subTest(folder=os.path.basename(folder), name=name):
                    for wrong in WRONG:
                        run = subprocess.run(
                            [support.Stack.program(program), "--config", os.path.join(folder, "etc", f"{name}.ini"), *wrong],
                            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
                        self.assertEqual(run.returncode, 78)
                        setting = wrong[1].split("=")[0]
                        self.assertRegex(run.stderr, f'{setting} must be .*"wrong"')

    def test_the_cradle_command_knows_every_setting_of_its_files(self):
        for path in (glob.glob(os.path.join(UNITS, "etc", "*.ini")) + glob.glob(os.path.join(DOCKER, "etc", "*.ini"))):
            if os.path.basename(path) not in ("cradle.ini", "hsm.ini"):
                continue
            run = subprocess.run([support.Stack.program("cli/cradle"), "--config", path, "kek", "list"],
                                 capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            self.assertNotEqual(run.returncode, 0)
            self.assertNotRegex(run.stderr, "unknown setting|cannot read the configuration|is longer")

    def test_no_line_is_too_long_to_be_read(self):
        for path in glob.glob(os.path.join(support.ROOT, "*", "etc", "*.ini")):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    self.assertLess(len(line), 198, f"{path}: {line}")


class Units(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_each_unit_is_sandboxed(self):
        for unit in ("cradle-joinserver.service", "cradle-activation.service", "cradle-keyd@.service"):
            with self.subTest(unit=unit):
                run = subprocess.run(
                    ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}",
                     os.path.join(UNITS, unit)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
                self.assertIn("Overall exposure level", run.stdout, run.stderr)
                self.assertEqual(run.returncode, 0, run.stdout.splitlines()[-1:])

    def test_the_sockets_are_those_of_the_settings(self):
        for service in SERVICES:
            settings = settings_of(UNITS, service)
            wanted = {f"{settings[s]['address']}:{settings[s]['port']}" for s in settings.sections() if s.startswith("listener")}
            self.assertEqual(set(unit_lines(f"cradle-{service}.socket", "ListenStream")), wanted)

    def test_what_is_named_in_run_credentials_is_loaded(self):
        for service in SERVICES:
            unit = f"cradle-{service}.service"
            self.assertEqual(unit_lines(unit, "LoadCredential"), [f"{service}:/etc/cradle/credentials/{service}"])
            with open(os.path.join(UNITS, "etc", f"{service}.ini"), encoding="utf-8") as file:
                named = re.findall(r"/run/credentials/(\S+)/(\S+)", file.read())
            self.assertTrue(named)
            self.assertEqual({u for u, _ in named}, {unit})
            self.assertTrue(all(name.startswith(f"{service}_") for _, name in named))
            self.assertIn(f"/run/credentials/cradle-keyd@{service}.service/pin",
                          settings_of(UNITS, f"keyd-{service}")["hsm"]["uri"])
        self.assertEqual(unit_lines("cradle-keyd@.service", "LoadCredential"), ["pin:/etc/cradle/credentials/keyd/pin"])

    def test_each_service_may_write_its_witness(self):
        for service in SERVICES:
            witness = settings_of(UNITS, service)["database"]["witness"]
            folder, = unit_lines(f"cradle-{service}.service", "StateDirectory")
            self.assertEqual(os.path.dirname(witness), f"/var/lib/{folder}")
        self.assertEqual(len({settings_of(UNITS, service)["database"]["witness"] for service in SERVICES}), len(SERVICES))

    def test_no_service_reaches_the_key_processes_of_the_other(self):
        """Both are the same user, which is all that a host asks."""
        self.assertEqual(unit_lines("cradle-keyd@.socket", "ListenSequentialPacket"), ["/run/cradle-keyd/%i/keyd.sock"])
        with open(os.path.join(UNITS, "cradle.tmpfiles"), encoding="utf-8") as file:
            made = {line.split()[1] for line in file if line.startswith("d ")}
        for service, other in zip(SERVICES, reversed(SERVICES)):
            self.assertEqual(settings_of(UNITS, service)["hsm"]["keyd_socket"], f"/run/cradle-keyd/{service}/keyd.sock")
            self.assertEqual(unit_lines(f"cradle-{service}.service", "InaccessiblePaths"), [f"/run/cradle-keyd/{other}"])
            # One that is missing would keep the unit from starting.
            self.assertIn(f"/run/cradle-keyd/{other}", made)

    def test_a_wrong_setting_is_not_tried_again(self):
        for unit in ("cradle-joinserver.service", "cradle-activation.service", "cradle-keyd@.service"):
            self.assertEqual(unit_lines(unit, "RestartPreventExitStatus"), ["78"])
            self.assertEqual(unit_lines(unit, "Type"), ["notify"])


class Pages(unittest.TestCase):
    """Manual pages are made of --help: nothing that a program says there is lost on the way."""

    ALL = {"cradle": "cli/cradle", "cradle-device": "cli/cradle-device", "cradle-joinserver": PROGRAMS["joinserver"],
           "cradle-activation": PROGRAMS["activation"], "cradle-keyd-host": PROGRAMS["keyd-joinserver"],
           "cradle-keyd": "hsm/cradle-keyd"}

    @staticmethod
    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout

    def test_each_word_of_the_help_is_in_the_page(self):
        for name, program in self.ALL.items():
            program = support.Stack.program(program)
            page = self.said(os.path.join(support.ROOT, "scripts", "manpage"), name, program)
            self.assertRegex(page, r'\A\.TH [A-Z-]+ [18] .*\n\.SH NAME\ncradle[a-z\\-]* \\- \w')
            helps = {"cradle-keyd": [], "cradle-device": [["--help"], ["join", "--help"]]}.get(name, [["--help"]])
            text = set(page.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "").replace("\\fB", " ").replace("\\fR", " ").split())
            for words in helps:
                missing = set(self.said(program, *words).split()) - text
                self.assertLessEqual(missing, {"usage:", "Settings:"}, name)

    def test_each_program_that_is_installed_has_one(self):
        installed = set()
        for folder in ("usr/share/man/man1/", "usr/share/man/man8"):
            for name in ("cradle", "cradle-device"):
                with open(os.path.join(support.ROOT, "debian", f"{name}.install"), encoding="utf-8") as file:
                    installed |= {line.strip() for line in file if line.startswith(folder)}
        self.assertEqual(installed, {"usr/share/man/man1/cradle.1", "usr/share/man/man1/cradle-device.1", "usr/share/man/man8"})


@unittest.skipUnless(yaml, "there is no python3-yaml")
class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(DOCKER, "compose.yaml"), encoding="utf-8") as file:
            cls.compose = yaml.safe_load(file)
        cls.ours = {name: service for name, service in cls.compose["services"].items()
                    if service["image"].startswith("cradle")}

    @unittest.skipUnless(shutil.which("docker-compose"), "there is no docker-compose (Debian package of that name)")
    def test_compose_itself_reads_the_file(self):
        run = subprocess.run(["docker-compose", "-p", "cradle", "-f", os.path.join(DOCKER, "compose.yaml"), "config"],
                             capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(run.returncode, 0, run.stderr)
        read = yaml.safe_load(run.stdout)
        self.assertEqual(set(read["services"]), set(self.compose["services"]))
        for name, service in self.ours.items():
            self.assertEqual(read["services"][name]["read_only"], service["read_only"])
            self.assertEqual({s["source"] for s in read["services"][name].get("secrets", [])}, set(service.get("secrets", [])))

    def test_ours_are_read_only_and_without_rights(self):
        for name, service in self.ours.items():
            with self.subTest(service=name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertIn("no-new-privileges:true", service["security_opt"])
                self.assertNotIn("environment", service)
                self.assertNotIn("privileged", service)

    def test_key_processes_alone_have_pin_and_token_and_no_network(self):
        for name, service in self.ours.items():
            keys = name == "token" or name.startswith("keyd-")
            self.assertEqual("pin" in service.get("secrets", []), keys, name)
            self.assertEqual(any(v.startswith("token:") for v in service.get("volumes", [])), keys, name)
            self.assertEqual(service.get("network_mode") == "none", keys, name)
            self.assertEqual(service.get("user") == "10002:10002", keys, name)

    def test_what_stays_up_is_up_after_a_boot(self):
        once = {"token", "migrate"}
        for name, service in self.compose["services"].items():
            self.assertEqual(service["restart"], "no" if name in once else "unless-stopped", name)

    def test_postgresql_is_asked_where_the_others_ask_it(self):
        """The official image fills an empty volume by a server on the socket alone, and then ends it."""
        check = self.compose["services"]["postgres"]["healthcheck"]
        self.assertEqual(check["test"][check["test"].index("-h") + 1], "127.0.0.1")
        self.assertEqual(check["start_period"], "15m", "who fills a large or slow volume is not unhealthy for it")

    def test_every_secret_and_volume_is_declared_and_used(self):
        services = self.compose["services"].values()
        self.assertEqual({s for service in services for s in service.get("secrets", [])}, set(self.compose["secrets"]))
        named = {v.split(":")[0] for service in services for v in service.get("volumes", []) if not v.startswith(".")}
        self.assertEqual(named, set(self.compose["volumes"]))

    def test_what_the_settings_name_is_mounted(self):
        for name in PROGRAMS:
            with open(os.path.join(DOCKER, "etc", f"{name}.ini"), encoding="utf-8") as file:
                text = file.read()
            service = self.ours[name]
            self.assertEqual(set(re.findall(r"/run/secrets/(\w+)", text)), set(service["secrets"]), name)
            mounts = [v.split(":")[1] for v in service["volumes"]]
            for path in re.findall(r"(/var/lib/[\w-]+|/run/cradle-keyd/\w+)/", text):
                self.assertIn(path, mounts, name)

    def test_each_service_keeps_a_witness_in_a_volume_of_its_own(self):
        volumes = set()
        for service in SERVICES:
            folder = os.path.dirname(settings_of(DOCKER, service)["database"]["witness"])
            volumes |= {v.split(":")[0] for v in self.ours[service]["volumes"] if v.split(":")[1:] == [folder]}
        self.assertEqual(len(volumes), len(SERVICES))

    def test_no_service_reaches_the_key_processes_of_the_other(self):
        mounts = {service: {v.split(":")[0] for v in self.ours[service]["volumes"]} for service in SERVICES}
        for service, other in zip(SERVICES, reversed(SERVICES)):
            self.assertIn(f"keyd-{service}", mounts[service])
            self.assertNotIn(f"keyd-{other}", mounts[service])

    def test_the_secrets_are_made(self):
        with open(os.path.join(DOCKER, "secrets"), encoding="utf-8") as file:
            script = file.read()
        for name, secret in self.compose["secrets"].items():
            self.assertEqual(secret, {"file": f"./secrets.d/{name}"})
            self.assertIn(name.split("_")[0], script)

    def test_published_ports_are_those_of_tls(self):
        for service in SERVICES:
            port = settings_of(DOCKER, service)["listener-tls"]["port"]
            self.assertEqual(self.ours[service]["ports"], [f"{port}:{port}"])

    def test_the_image_is_nobodys_and_holds_no_secret(self):
        with open(os.path.join(DOCKER, "Dockerfile"), encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"(?m)^USER 10001:10001$")
        self.assertEqual(re.findall(r"(?m)^ENV (\w+)", text), ["SOFTHSM2_CONF"])
        self.assertEqual(re.findall(r"(?m)^ARG (\w+)", text), ["BASE"])
        self.assertEqual(len(re.findall(r"(?m)^FROM ", text)), 2)
        for line in re.findall(r"(?m)^RUN apt-get.*?(?<!\\)$", text, re.S):
            self.assertIn("--no-install-recommends", line)
            self.assertIn("rm -rf /var/lib/apt/lists", line)


class Whole(unittest.TestCase):
    """What takes minutes is done when it is asked for."""

    def run_script(self, name, option, variable, why="it compiles everything anew, which takes minutes"):
        if os.environ.get(variable) != "yes":
            self.skipTest(f"{why}: scripts/{name} {option}, or {variable}=yes")
        if os.geteuid() != 0:
            self.skipTest("it makes a root file system: only root can")
        with subprocess.Popen([os.path.join(support.ROOT, "scripts", name), option], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
            try:
                said, _ = process.communicate()
            except BaseException:  # the tests are ended: killed, it would leave gigabytes
                process.terminate()
                process.communicate()
                raise
        self.assertEqual(process.returncode, 0, said)
        self.assertIn("3 devices joined", said)
        return said

    def test_devices_join_by_the_packages_in_a_bare_debian(self):
        self.run_script("package", "--try", "CRADLE_TRY_PACKAGE")

    def test_devices_join_by_the_containers(self):
        if not shutil.which("buildah"):
            self.skipTest("there is no buildah")
        self.run_script("image", "--try", "CRADLE_TRY_IMAGE")

    def test_devices_join_by_the_composition_that_is_up(self):
        said = self.run_script("image", "--up", "CRADLE_TRY_COMPOSE",
                               "it compiles everything anew and installs a Docker engine where there is none")
        self.assertIn("joins again after the engine ended and was started again", said)
