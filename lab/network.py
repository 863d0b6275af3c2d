"""The network: one bridge in a namespace of its own per lab, one namespace per host, one veth end for the controller.

Names: bridge `gf<lab>-sw` with `br0`, hosts `gf<lab>-<host>` with `eth0`, controller's veth `gf<lab>`.
Nothing is routed: a host reaches the hosts of its lab and the controller, and no other machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.model import LabError

NETNS = Path("/run/netns")
UPLINK = "up0"


def namespace(lab: str, host: str) -> str:
    """The network namespace of a host."""
    return f"gf{lab}-{host}"


def switch(lab: str) -> str:
    """The network namespace of the lab's bridge. Its ports have the names of the hosts."""
    return namespace(lab, "sw")


def controller_link(lab: str) -> str:
    """The lab's only interface in the machine's own namespace."""
    return f"gf{lab}"


def ip(*args: str, check: bool = True) -> str:
    """Run `ip`. LabError with its message if it fails and `check` is set."""
    return _run(("ip", *args), "", check)


def ip_batch(lines: Sequence[str], netns: str | None = None) -> None:
    """Run many `ip` commands in one process."""
    where = ("-n", netns) if netns else ()
    _run(("ip", *where, "-batch", "-"), "\n".join(lines) + "\n", True)


def in_namespace(netns: str, *command: str, text: str = "", check: bool = True) -> str:
    """Run a command inside a network namespace, return its output."""
    return _run((*enter(netns), *command), text, check)


def enter(netns: str) -> list[str]:
    """A command prefix that runs another command inside a network namespace.

    Not `ip netns exec`: that mounts another /sys, which hides the cgroups.
    """
    return ["nsenter", f"--net={NETNS / netns}", "--"]


def _run(command: Sequence[str], text: str, check: bool) -> str:
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        line = " ".join(command) + (f" [{text.strip()}]" if text else "")
        raise LabError(f"{line}: {done.stderr.strip() or done.returncode}; does this kernel have veth and bridge?")
    return done.stdout


def mac(address: str) -> str:
    """The hardware address of a host, computed from its IP address.

    So a host keeps it when it is made again. Otherwise peers would send to the old address for 5-8 s (ARP cache).
    """
    return "02:4c:" + ":".join(f"{int(octet):02x}" for octet in address.split("."))


def add_switch(lab: str, network: str) -> None:
    """Make the bridge and the controller's end of it, .1 of `network` (such as 10.77.0.0/24)."""
    address, link, netns = network.replace(".0/", ".1/"), controller_link(lab), switch(lab)
    ip_batch(
        [
            f"netns add {netns}",
            f"link add {link} address {mac(address.split('/')[0])} type veth peer name {UPLINK} netns {netns}",
            f"addr add {address} dev {link}",
            f"link set {link} up",
        ]
    )
    ip_batch(
        ["link set lo up", "link add br0 type bridge", "link set br0 up", f"link set {UPLINK} master br0 up"], netns
    )


def add_host_netns(lab: str, name: str, address: str) -> str:
    """Make a host's namespace with `eth0` at `address` on the lab's bridge; return the namespace's name."""
    netns = namespace(lab, name)
    ip_batch(
        [
            f"netns add {netns}",
            f"link add eth0 address {mac(address)} netns {netns} type veth peer name {name} netns {switch(lab)}",
        ]
    )
    ip_batch(["link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up"], netns)
    ip("-n", switch(lab), "link", "set", name, "master", "br0", "up")
    return netns


def del_host_netns(lab: str, name: str) -> None:
    """Remove a host's namespace and its port on the bridge, if they are there."""
    if (NETNS / switch(lab)).exists():  # the port vanishes with the namespace, but not before its last process
        ip("-n", switch(lab), "link", "del", name, check=False)
    if (NETNS / namespace(lab, name)).exists():
        ip("netns", "del", namespace(lab, name))


def lab_namespaces(lab: str) -> list[str]:
    """Every network namespace of a lab on this machine."""
    return sorted(path.name for path in NETNS.glob(f"gf{lab}-*")) if NETNS.exists() else []


def lab_names() -> list[str]:
    """Names of labs with a namespace."""
    return sorted({path.name[2:].rsplit("-", 1)[0] for path in NETNS.glob("gf*-*")}) if NETNS.exists() else []


def remove_lab(lab: str) -> None:
    """Remove every namespace and interface of a lab."""
    if Path("/sys/class/net", controller_link(lab)).exists():
        ip("link", "del", controller_link(lab), check=False)
    for netns in lab_namespaces(lab):
        ip("netns", "del", netns)
