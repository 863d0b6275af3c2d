"""python -m lab demo: run the emergency path for real in a new lab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab.lab import Lab

ROOT = Path(__file__).resolve().parent.parent


def run(lab: Lab) -> int:
    """Run the main command against `lab`; return its exit status."""
    pyinfra = Path(sys.executable).with_name("pyinfra")
    command = [str(pyinfra), "-y", "inventory.py", "deploys/fallback.py"]
    print(f"==> {' '.join(['pyinfra', *command[1:]])}", flush=True)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "GOFALLBACK_LAB": lab.name}, check=False).returncode
