"""Which run of this machine it is: within one, the monotonic clocks of all processes agree."""

import subprocess
import sys
from functools import cache
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Return the name of this run; empty where the system does not tell, which equals no other."""
    try:
        if sys.platform == "darwin":
            asked = ["sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        return _LINUX.read_text("ascii").strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
