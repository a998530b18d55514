# SPDX-License-Identifier: Apache-2.0
"""The hosts of a lab: one network namespace each, and one more in which they are joined.

   h0 [eth0] --- [h0]      without delay: veth pairs into a bridge in NAME-switch
   h1 [eth0] --- [h1] br   with delay: netem on the bridge's ports, or, where the kernel lacks it, eth0 is a tap device and the
   h2 [eth0] --- [h2]      lab_relay program is the switch

Nothing of it is in the machine's own network, so a lab is gone when its namespaces are. Host names come from a UTS namespace per
command. Processes are found by their network namespace, whoever started them."""
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

NETWORK = "10.77.0.0/24"
MAX_HOSTS = 64
RUN = pathlib.Path("/run/unmask-lab")
NETNS = pathlib.Path("/run/netns")
ROOT = pathlib.Path(__file__).resolve().parents[2]

# What Open MPI calls instead of ssh, as `agent [options] HOST COMMAND ...`: like ssh it gives the words to a shell. `agent HOST exec
# COMMAND ...` keeps them apart. All hosts but the first begin with a clean environment, as they would over ssh.
AGENT = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
enter="{enter}"
root=${{OMPI_ALLOW_RUN_AS_ROOT:+OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1}}
[ "$host" = {first} ] || enter="env -i PATH=$PATH HOME=$HOME $root $enter"
[ "$1" = exec ] && shift && exec $enter sh -c 'hostname "$0"; exec "$@"' "$host" "$@"
exec $enter sh -c "hostname $host; $*"
"""


class LabError(Exception):
    pass


def call(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.returncode == 0


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def require_possible():
    for tool in ("ip", "tc", "nsenter", "unshare", "mpirun"):
        if shutil.which(tool) is None:
            raise LabError(f"expected the command {tool}, found none: install iproute2, util-linux and openmpi-bin")
    if os.geteuid() != 0:
        raise LabError("network namespaces need root")
    probe = f"unmask-lab-probe-{os.getpid()}"
    try:
        call("ip", "netns", "add", probe)
        call("ip", "-n", probe, "link", "add", "left", "type", "veth", "peer", "name", "right")
        call("ip", "-n", probe, "link", "add", "bridge0", "type", "bridge")
    except LabError as error:
        raise LabError(f"network namespaces do not work here: {error}") from None
    finally:
        call("ip", "netns", "del", probe, check=False)


def bits_per_second(rate):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", rate.lower())
    if not match:
        raise LabError(f"--rate: expected a number with kbit, mbit or gbit, found {rate}")
    return float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[2]]


def microseconds(delay):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", delay.lower())
    if not match:
        raise LabError(f"--delay: expected a number with us, ms or s, found {delay}")
    return float(match[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[match[2]]


def shaper(rate):
    """A token bucket: large enough for one 64 KiB packet of segmentation offload, small beside a message."""
    burst = max(80_000, int(bits_per_second(rate) / 8 * 200e-6))
    return ["tbf", "rate", rate, "burst", str(burst), "latency", "50ms"]


class Lab:
    def __init__(self, name):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
            raise LabError(f"a lab's name is made of small letters, digits and hyphens, found {name}")
        self.name = name
        self.folder = RUN / name
        self.agent = self.folder / "agent"
        self.scratch = self.folder / "tmp"  # session folders of Open MPI: they go with the lab, however its jobs ended
        self.switch = f"{name}-switch"

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def host_names(self):
        return json.loads((self.folder / "hosts.json").read_text())

    def namespace(self, host):
        return f"{self.name}-{host}"

    def namespaces(self):
        pattern = re.compile(re.escape(self.name) + r"-(h\d+|switch)")
        return sorted(p.name for p in NETNS.glob("*") if pattern.fullmatch(p.name))

    def host(self, name):
        self.require_up()
        if name not in self.host_names:
            raise LabError(f"expected one of {' '.join(self.host_names)}, found {name}")
        return name

    def require_up(self):
        if not (self.folder / "hosts.json").exists():
            raise LabError(f"no lab of the name {self.name} is up: lab up N")

    def processes(self, with_switch=False):
        """{pid: "PID HOST COMMAND"} of all processes whose network is a host's, whoever started them."""
        inodes = {}
        for namespace in self.namespaces():
            if with_switch or namespace != self.switch:
                inodes[(NETNS / namespace).stat().st_ino] = namespace[len(self.name) + 1 :]
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (host := inodes.get((entry / "ns/net").stat().st_ino)):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found[int(entry.name)] = f"{entry.name} {host} {command or (entry / 'comm').read_text().strip()}"
        return found

    # -- up and down ---------------------------------------------------------------------------------------------------

    def up(self, count, rate, delay):
        if not 1 <= count <= MAX_HOSTS:
            raise LabError(f"expected 1 to {MAX_HOSTS} hosts, found {count}")
        if self.namespaces() or self.folder.exists():
            raise LabError(f"a lab of the name {self.name} is up already, or was left half-way: lab --name {self.name} down")
        names = [f"h{i}" for i in range(count)]
        try:
            self.scratch.mkdir(parents=True)
            self.agent.write_text(AGENT.format(first=names[0], enter=f"nsenter --net={NETNS}/{self.name}-$host unshare --uts"))
            self.agent.chmod(0o755)
            for namespace in (self.switch, *map(self.namespace, names)):
                call("ip", "netns", "add", namespace)
                call("ip", "-n", namespace, "link", "set", "lo", "up")
            self.join(names, rate, delay)
            for i, name in enumerate(names):
                namespace = self.namespace(name)
                call("ip", "-n", namespace, "addr", "add", f"10.77.0.{i + 1}/24", "dev", "eth0")
                call("ip", "-n", namespace, "link", "set", "eth0", "up")
                if rate:
                    call("tc", "-n", namespace, "qdisc", "add", "dev", "eth0", "root", *shaper(rate))
            (self.folder / "hosts.json").write_text(json.dumps(names))
        except BaseException:
            self.down()
            raise

    def join(self, names, rate, delay):
        if delay and not self.has_netem():
            self.start_relay(names, rate, delay)
            return
        call("ip", "-n", self.switch, "link", "add", "bridge0", "type", "bridge")
        call("ip", "-n", self.switch, "link", "set", "bridge0", "up")
        for name in names:
            call("ip", "-n", self.switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", self.namespace(name))
            call("ip", "-n", self.switch, "link", "set", name, "master", "bridge0", "up")
            port = ["tc", "-n", self.switch, "qdisc", "add", "dev", name]
            if delay:
                call(*port, "root", "handle", "1:", "netem", "delay", delay, "limit", "100000")
            if rate:
                call(*port, *(["parent", "1:1"] if delay else ["root"]), *shaper(rate))

    def has_netem(self):
        call("ip", "-n", self.switch, "link", "add", "probe", "type", "veth", "peer", "name", "probe-peer")
        found = call("tc", "-n", self.switch, "qdisc", "add", "dev", "probe", "root", "netem", "delay", "1ms", check=False)
        call("ip", "-n", self.switch, "link", "del", "probe")
        return found

    def start_relay(self, names, rate, delay):
        places = [os.environ.get("UNMASK_LAB_RELAY"), *(ROOT / f"build/{preset}/bin/lab_relay" for preset in ("release", "dev"))]
        program = next((p for p in places if p and pathlib.Path(p).exists()), None)
        if program is None:
            raise LabError("this kernel has no netem, and the relay that stands in for it is not built: build the target lab_relay")
        log = self.folder / "relay.log"  # a pipe of ours would stay open as long as the relay lives
        relay = subprocess.Popen(
            ["nsenter", f"--net={NETNS}/{self.switch}", str(program), str(microseconds(delay)), str(bits_per_second(rate) if rate else 0),
             *(str(NETNS / self.namespace(name)) for name in names)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log.open("w"), start_new_session=True)
        if relay.stdout.readline() != b"ready\n":
            raise LabError(f"the relay did not start: {log.read_text().strip()}")

    def down(self):
        self.end_processes(with_switch=True)
        for namespace in self.namespaces():
            call("ip", "netns", "del", namespace)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- processes -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self):
        """One job at a time: what it leaves behind is told from what another needs."""
        with open(self.folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(f"a job is running in the lab {self.name} already") from None
            yield

    def wait_until_empty(self, seconds):
        end = time.monotonic() + seconds
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)

    def end_processes(self, with_switch=False):
        """Ends what runs on the hosts; what each of them was."""
        ended = {}
        for _ in range(50):
            alive = self.processes(with_switch)
            alive.pop(os.getpid(), None)
            if not alive:
                break
            ended |= alive
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return list(ended.values())

    # -- faults --------------------------------------------------------------------------------------------------------

    def fault(self, kind, what):
        self.require_up()
        if kind == "none":
            for name in self.host_names:
                call("ip", "-n", self.namespace(name), "link", "set", "eth0", "up")
                call("ip", "netns", "exec", self.namespace(name), "nft", "flush", "ruleset", check=False)
        elif kind == "loss":
            for name in self.host_names:
                self.drop(name, "input", f"numgen random mod 100000 < {int(float(what) * 1000)}")
        elif kind == "cut":
            call("ip", "-n", self.namespace(self.host(what)), "link", "set", "eth0", "down")
        else:
            self.drop(self.host(what), {"deaf": "input", "mute": "output"}[kind], "")

    def drop(self, name, hook, which):
        if shutil.which("nft") is None:
            raise LabError("expected the command nft, found none: install nftables")
        direction = {"input": "iifname", "output": "oifname"}[hook]
        for rule in ("add table inet lab", f"add chain inet lab {hook} {{ type filter hook {hook} priority 0; }}",
                     f"add rule inet lab {hook} {direction} eth0 {which} drop"):
            call("ip", "netns", "exec", self.namespace(name), "nft", rule)
