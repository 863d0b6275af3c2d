"""The root tree below every Linux target's overlay: a Debian that boots systemd and sshd, made by mmdebstrap.

It has no curl, wget or python3 on purpose: the product must not need them on a target.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from lab.cache import Report, build_once, print_progress
from lab.model import LabError

PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "mount",
    "openssh-server",
    "passwd",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
)

# Units for a machine, not for a host in a namespace. Each would fail or wait for hardware.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "systemd-networkd.service",
    "systemd-pstore.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)

# UseDNS no: there is no name server, and every login would wait for it. MaxStartups: sshd's default (10:30:100) drops
# connections at random once ten log in at the same time, as in a parallel run.
SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 50
"""
# OpenSSH 9.8 and newer block an address after failed logins, and tests of wrong keys share one address.
SSHD_PENALTIES = {"trixie": "PerSourcePenalties no\n"}

EXCLUDE = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def ensure(cache: Path, suite: str, report: Report = print_progress, extra: tuple[str, ...] = ()) -> Path:
    """Return the tree of `suite`; build it first if this machine does not have this recipe yet.

    With `extra` packages it is another tree. Raises LabError with the last lines of mmdebstrap if it fails.
    """
    hooks = _hooks(suite)
    packages = (*PACKAGES, *extra)
    recipe = "\n".join((*packages, *EXCLUDE, *hooks))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
    final = cache / "trees" / f"linux-{suite}-{arch()}-{digest}"
    final.parent.mkdir(parents=True, exist_ok=True)
    return build_once(
        final,
        lambda part: _mmdebstrap(suite, packages, hooks, part),
        f"linux tree {suite} (mmdebstrap, a minute or two)",
        report,
    )


def arch() -> str:
    """This machine's architecture by Debian's name, such as amd64."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def mirror() -> str | None:
    """The Debian mirror: $GOFALLBACK_DEBIAN_MIRROR, else this machine's own, else None for mmdebstrap's default."""
    if named := os.environ.get("GOFALLBACK_DEBIAN_MIRROR"):
        return named
    query = ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(LABEL) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(query, check=False, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        site, _, rest = line.partition(" ")
        if rest == "Debian Debian main":  # the label of the security archive is Debian-Security
            return site
    return None


def _mmdebstrap(suite: str, packages: tuple[str, ...], hooks: tuple[str, ...], out: Path) -> None:
    # A pid namespace whose first process dies with this one: SIGKILL of the lab leaves neither process nor mount.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}"]
    command += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDE)]
    # A wrong clock or a frozen mirror must not prevent a lab. Signatures are checked all the same.
    command += ['--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Check-Valid-Until "false"', *_proxy()]
    if KEYRING.exists():  # another distribution does not trust Debian's keys by default
        command += [f"--keyring={KEYRING}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    command += [suite, str(out)]
    if found := mirror():
        command += [found]
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()][-3:]
        raise LabError(
            f"linux tree {suite}: mmdebstrap from {found or 'its default mirror'} ended with {done.returncode}: "
            f"{' | '.join(lines)}; is the mirror reachable? GOFALLBACK_DEBIAN_MIRROR=URL names another"
        )


def _proxy() -> list[str]:
    """The proxy of this machine's apt, which mmdebstrap does not read."""
    options = []
    for scheme in ("http", "https"):
        query = ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"]
        shown = subprocess.run(query, check=False, capture_output=True, text=True).stdout.strip()
        if shown.startswith("PROXY="):
            options.append(f'--aptopt=Acquire::{scheme}::Proxy "{shown.removeprefix("PROXY=").strip(chr(39))}"')
    return options


def _hooks(suite: str) -> tuple[str, ...]:
    """Shell lines that run at the end and prepare the tree ($1) for many hosts."""
    sshd = (SSHD + SSHD_PENALTIES.get(suite, "")).replace("\n", "\\n")
    return (
        # Each host gets its own. machine-id is emptied, not removed: without the file, systemd assumes a first boot.
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/lib/dbus/machine-id; : > "$1"/etc/machine-id',
        f'for u in {" ".join(MASKED)}; do ln -sfn /dev/null "$1/etc/systemd/system/$u"; done',
        f'mkdir -p "$1"/etc/ssh/sshd_config.d; printf "{sshd}" > "$1"/etc/ssh/sshd_config.d/lab.conf',
        'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash deploy',
        'printf "deploy ALL=(ALL) NOPASSWD: ALL\\n" > "$1"/etc/sudoers.d/deploy; chmod 440 "$1"/etc/sudoers.d/deploy',
        # This machine's resolv.conf would make every sudo wait 20 s for a name server that cannot be reached.
        'printf "127.0.0.1 localhost\\n::1 localhost\\n" > "$1"/etc/hosts; : > "$1"/etc/resolv.conf',
        'chroot "$1" systemctl set-default multi-user.target',
        'rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*',
    )
