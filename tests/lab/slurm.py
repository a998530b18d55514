# SPDX-License-Identifier: Apache-2.0
"""A Slurm of two nodes on this machine, from Debian's packages, without systemd and munge: one slurmctld, two slurmd under the
machine's own name on ports of their own. Everything lives in one folder, and ends with it."""
import os
import pathlib
import shutil
import socket
import subprocess
import time

NEEDED = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
StateSaveLocation={work}/state
SlurmctldPidFile={work}/slurmctld.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdSpoolDir={work}/spool.%n
SlurmdPidFile={work}/slurmd.%n.pid
SlurmdLogFile={work}/slurmd.%n.log
TmpFS={work}/tmp.%n
SlurmdParameters=config_overrides
KillWait=10
InactiveLimit=0
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={port0} CPUs=4 RealMemory=1000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=4 RealMemory=1000
PartitionName=normal Nodes=n0,n1 Default=YES PriorityTier=1 GraceTime=20 OverSubscribe=NO MaxTime=INFINITE
PartitionName=urgent Nodes=n0,n1 PriorityTier=10 PreemptMode=OFF OverSubscribe=NO MaxTime=INFINITE
"""


def missing():
    """Why there can be no Slurm here, or an empty text."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root here"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Slurm:
    def __init__(self, work):
        self.work = pathlib.Path(work)
        ports = free_ports(3)
        host = socket.gethostname().split(".")[0]
        conf = self.work / "slurm.conf"
        conf.write_text(CONF.format(host=host, work=self.work, port=ports[0], port0=ports[1], port1=ports[2]))
        for name in ("state", "spool.n0", "spool.n1", "tmp.n0", "tmp.n1"):
            (self.work / name).mkdir()
        self.env = {**{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_COMM", "PMIX_"))}, "SLURM_CONF": str(conf),
                    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
                    "OMPI_MCA_rmaps_base_oversubscribe": "1"}
        self.daemons = []
        self.start("slurmctld", "-D")
        for node in ("n0", "n1"):
            self.start("slurmd", "-D", "-N", node)
        self.wait_for(lambda: self.call("sinfo", "-h", "-o", "%t %D") .strip() == "idle 2" or
                      sorted(self.call("sinfo", "-h", "-N", "-p", "normal", "-o", "%t").split()) == ["idle", "idle"], 60, "two idle nodes")

    def start(self, *command):
        log = open(self.work / f"{len(self.daemons)}.out", "w")
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.env, start_new_session=True))
        log.close()

    def call(self, *command, check=True):
        done = subprocess.run([str(c) for c in command], env=self.env, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except AssertionError:
                pass  # the controller is not there yet
            time.sleep(0.2)
        raise AssertionError(f"waited {seconds} s for {what}\n{self.logs()}")

    def logs(self):
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in sorted(self.work.glob("*.log")))

    def submit(self, script, *options, **environment):
        out = subprocess.run(["sbatch", "--parsable", *map(str, options), str(script)], env={**self.env, **environment}, cwd=self.work,
                             capture_output=True, text=True, timeout=60)
        if out.returncode != 0:
            raise AssertionError(f"sbatch: {out.stderr}")
        return out.stdout.strip().split(";")[0]

    def show(self, job):
        """The fields of a job, as scontrol knows them."""
        text = self.call("scontrol", "show", "job", job, "-o").splitlines()
        return [dict(field.split("=", 1) for field in line.split(" ") if "=" in field) for line in text]

    def states(self, job):
        return [fields["JobState"] for fields in self.show(job)]

    def wait_for_end(self, job, seconds=120):
        ended = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        self.wait_for(lambda: all(state in ended for state in self.states(job)), seconds, f"the end of job {job}")
        return [fields["ExitCode"] for fields in self.show(job)]

    def close(self):
        subprocess.run(["scancel", "-u", "root"], env=self.env, capture_output=True, timeout=30, check=False)
        time.sleep(1)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
