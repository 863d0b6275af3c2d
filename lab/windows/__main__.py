"""`python -m lab.windows DIR [--port N]`: one Windows host on 127.0.0.1, without the rest of the lab.

For tests by hand. `DIR` gets the client key, known_hosts and the host itself; `--stop` removes the host.
"""

import argparse
import os
import sys
from pathlib import Path

import asyncssh

from lab.windows.errors import WindowsLabError
from lab.windows.host import WindowsHost
from lab.windows.trees import ensure


def main() -> int:
    """Start one host, or remove it with --stop. Return 1 with one line on standard error if that fails."""
    parser = argparse.ArgumentParser(prog="python -m lab.windows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--port", type=int, default=2222)
    parser.add_argument("--disk-mb", type=int)
    parser.add_argument("--stop", action="store_true")
    options = parser.parse_args()
    folder = options.dir.resolve()
    try:
        if options.stop:
            WindowsHost.load(folder / "host").destroy()
        else:
            _up(folder, options.port, options.disk_mb)
    except WindowsLabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _up(folder: Path, port: int, disk_mb: int | None) -> None:
    cache = Path(os.environ.get("GOFALLBACK_CACHE", Path.home() / ".cache/gofallback"))
    trees = ensure(cache, print)
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "id_ed25519"
    if not key.exists():
        pair = asyncssh.generate_private_key("ssh-ed25519")
        pair.write_private_key(str(key))
        pair.write_public_key(f"{key}.pub")
        key.chmod(0o600)
    if (folder / "host/host.json").exists():
        host = WindowsHost.load(folder / "host")
    else:
        public = key.with_name(key.name + ".pub").read_text()
        host = WindowsHost.create(folder / "host", None, "127.0.0.1", public, trees, disk_mb, port=port)
    host.start()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    print(f"ssh -i {key} -o UserKnownHostsFile={folder}/known_hosts -p {host.port} builder@127.0.0.1 ver")


if __name__ == "__main__":
    sys.exit(main())
