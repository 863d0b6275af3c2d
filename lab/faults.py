"""Faults of a host's link, made at the lab's bridge, so that no process of the host sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab import network
from lab.cgroup import HostCgroup
from lab.model import LabError


def relay_port(host: str) -> str:
    """The TAP that replaces a host's port on the bridge while its frames are delayed."""
    return f"x{host}"


def set_link(lab: str, host: str, up: bool) -> None:
    """Take the host's port on the bridge down or up."""
    network.ip("-n", network.switch(lab), "link", "set", host, "up" if up else "down")


def set_loss(lab: str, host: str, percent: int) -> None:
    """Drop `percent` of the frames each way, at random, by an nftables rule of the bridge; 0 ends it."""
    if not 0 <= percent <= 100:
        raise LabError(f"host {host}: loss {percent}: expected a percentage from 0 to 100")
    netns, table = network.switch(lab), f"loss_{host}"
    network.in_namespace(netns, "nft", "delete", "table", "bridge", table, check=False)
    if percent == 0:
        return
    ports = f'{{ "{host}", "{relay_port(host)}" }}'
    rule = f"numgen random mod 100 < {percent} drop"
    network.in_namespace(
        netns,
        *("nft", "-f", "-"),
        text=(
            f"table bridge {table} {{ chain forward {{ type filter hook forward priority 0;\n"
            f"iifname {ports} {rule}\noifname {ports} {rule}\n}}\n}}\n"
        ),
    )


def set_latency(lab: str, host: str, ms: float) -> None:
    """Delay frames each way by `ms` milliseconds: netem where the kernel has it, else a relay; 0 ends it."""
    if not 0 <= ms <= 60_000:
        raise LabError(f"host {host}: latency {ms}: expected milliseconds from 0 to 60000")
    end_latency(lab, host)
    if ms == 0:
        return
    if not (_netem(network.switch(lab), host, ms) and _netem(network.namespace(lab, host), "eth0", ms)):
        end_latency(lab, host)
        _start_relay(lab, host, ms)


def clear(lab: str, host: str) -> None:
    """Remove all faults of the host's link: cut, delay, loss."""
    set_latency(lab, host, 0)
    set_loss(lab, host, 0)
    set_link(lab, host, up=True)


def _netem(netns: str, interface: str, ms: float) -> bool:
    command = ["tc", "-n", netns, "qdisc", "add", "dev", interface, "root", "netem", "delay", f"{ms}ms"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def end_latency(lab: str, host: str) -> None:
    """Remove the delay of a host's link, if there is one."""
    relay = HostCgroup(lab, f"{host}.relay", everywhere=False)
    if relay.unified.exists():
        relay.kill()
        relay.remove()
        # The kernel removed the TAP with the relay. Put the port itself back on the bridge.
        network.ip("-n", network.switch(lab), "link", "set", host, "master", "br0", check=False)
    for netns, interface in ((network.switch(lab), host), (network.namespace(lab, host), "eth0")):
        command = ["tc", "-n", netns, "qdisc", "del", "dev", interface, "root"]
        subprocess.run(command, check=False, capture_output=True)


def _start_relay(lab: str, host: str, ms: float) -> None:
    cgroup = HostCgroup(lab, f"{host}.relay", everywhere=False)
    cgroup.create()
    command = ["setsid", "--fork", *network.enter(network.switch(lab)), sys.executable, "-P", "-m", "lab.relay"]
    command += [host, relay_port(host), str(ms), str(cgroup.unified)]
    root = Path(__file__).resolve().parent.parent
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as relay:
        assert relay.stdout is not None
        reply = relay.stdout.readline().strip()
    if reply != "ready":
        end_latency(lab, host)
        raise LabError(f"host {host}: latency: the relay did not start: {reply or 'no reply'}; is /dev/net/tun there?")
