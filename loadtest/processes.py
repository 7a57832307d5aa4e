"""What the operating system says about a process: its children, CPU time and resident memory."""

import subprocess
import sys
import time
from pathlib import Path


def children(pid: int) -> dict[int, str]:
    """Return a process's direct children: pid → command line, as the process list shows it."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(None, 3) for line in listing.splitlines())
    return {
        int(row[0]): row[3]
        for row in rows
        if len(row) == 4 and row[1] == str(pid) and not row[2].startswith("Z")
    }


def alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all its threads so far.

    Linux keeps a clock per process in nanoseconds (clock_getcpuclockid(3): the inverted pid,
    shifted by three, with CPUCLOCK_SCHED); the ticks of `/proc/PID/stat` are 10 ms.
    """
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | 2)
    return _ps_seconds(_ps(pid, "time"))


def resident_bytes(pid: int) -> int:
    """Return resident memory: `VmRSS` of /proc, or what `ps` says."""
    if sys.platform == "linux":
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return int(_ps(pid, "rss")) * 1024


def _ps(pid: int, column: str) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _ps_seconds(text: str) -> float:
    """Read `[[dd-]hh:]mm:ss.cc`."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86_400 * int(days or 0)
