"""The command line of the lab: python -m lab COMMAND."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import requirements
from lab.builders import Windows
from lab.cache import cache_dir, print_progress, step
from lab.host import Host
from lab.lab import Lab, all_names, end
from lab.linux import tree
from lab.model import DEFAULT_SUITE, SUITES, LabError, LabFile, suites_of
from lab.state import State

DEFAULT_NAME = "demo"
DEFAULT_TARGETS, DEFAULT_BUILDERS = 2, 1

FAULTS: dict[str, tuple[str, Callable[[Host, float], None]]] = {
    "cut": ("pull the network cable", lambda host, _: host.cut()),
    "uncut": ("put it back", lambda host, _: host.uncut()),
    "latency": ("delay packets by MS milliseconds each way; 0 ends it", lambda host, arg: host.latency(arg)),
    "loss": ("drop PERCENT of all packets; 0 ends it", lambda host, arg: host.loss(int(arg))),
    "freeze": ("stop every process", lambda host, _: host.freeze()),
    "thaw": ("continue every process", lambda host, _: host.thaw()),
    "kill": ("pull the power plug", lambda host, _: host.kill()),
    "boot": ("put it back: start the host on the same disk", lambda host, _: _boot(host)),
    "reboot": ("shut down cleanly and start again", lambda host, _: host.reboot()),
    "clock": ("set the clock SECONDS ahead; 0 ends it", lambda host, arg: host.set_clock(arg)),
    "fill": ("fill the disk, except MB", lambda host, arg: host.fill_disk(int(arg))),
    "free": ("give the disk its size back", lambda host, _: host.free_disk()),
}
SUITE = "Debian release of the targets"
NEEDS_NUMBER = ("latency", "loss", "clock")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status. Errors of the lab are one line on stderr and status 1."""
    try:
        args = arguments(argv)
        status: int = args.run(args)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command again continues from here", file=sys.stderr)
        return 130
    return status


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; exit if it is wrong."""
    return _parser().parse_args(argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Linux and Windows hosts on this one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, named: bool = True
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if named:
            command.add_argument("--name", default=DEFAULT_NAME, help="the lab, 1 to 6 of a-z and 0-9 (default: demo)")
        return command

    names = ", ".join(SUITES)
    setup = add("setup", _setup, "download and build the parts of hosts, start nothing", named=False)
    setup.add_argument("--suite", metavar="SUITE[,SUITE...]", default=DEFAULT_SUITE, help=f"{SUITE} ({names})")
    setup.add_argument("--builders", type=int, default=DEFAULT_BUILDERS, help="0: without the parts of Windows hosts")
    for name, run, text in (
        ("up", _up, "start or repair a lab: afterwards it has exactly these hosts, and they are up"),
        ("demo", _demo, "start a lab and run the emergency path in it"),
    ):
        command = add(name, run, text)
        command.add_argument(
            "--targets", type=_whole, metavar="N", help="Linux targets (default: as it is, 2 in a new lab)"
        )
        command.add_argument(
            "--builders", type=_whole, metavar="N", help="Windows hosts (default: as it is, 1 in a new lab)"
        )
        command.add_argument(
            "--linux-builders",
            type=_whole,
            metavar="N",
            help="Linux standby builders (default: as it is, 0 in a new lab)",
        )
        command.add_argument(
            "--suite",
            metavar="SUITE[,SUITE...]",
            help=f"{SUITE}, or of each (default: as it is, {DEFAULT_SUITE} in a new lab): {names}",
        )
        command.add_argument(
            "--target-disk-mb", type=int, metavar="MB", help="size of each target's disk (default: 2048)"
        )
        command.add_argument(
            "--builder-disk-mb", type=int, metavar="MB", help="size of each Windows host's C: (default: no limit)"
        )
    down = add("down", _down, "end a lab and remove everything of it")
    down.add_argument("--all", action="store_true", help="every lab of this machine")
    add("list", _list, "labs and whether their hosts are up", named=False)
    shell = add("shell", _shell, "open a shell on a host, over SSH")
    shell.add_argument("host", metavar="HOST")
    shell.add_argument("command", nargs=argparse.REMAINDER, help="run this instead of a shell")
    effects = "; ".join(f"{name}: {text}" for name, (text, _) in FAULTS.items())
    fault = add("fault", _fault, f"cause a fault on a host. {effects}")
    fault.add_argument("host", metavar="HOST")
    fault.add_argument("what", metavar="WHAT", choices=sorted(FAULTS), help=", ".join(sorted(FAULTS)))
    fault.add_argument("number", metavar="ARG", type=float, nargs="?", help="milliseconds, percent, seconds or MB")
    add("reset", _reset, "make a host again from nothing").add_argument("host", metavar="HOST")
    return parser


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise LabError(f"number of hosts {text!r}: expected a whole number, such as HOSTS=10") from None


def _setup(args: argparse.Namespace) -> int:
    named = args.suite.split(",")
    suites = suites_of(named, len(named))
    requirements.check_machine()
    requirements.install_packages()
    for suite in dict.fromkeys(suites):
        tree.ensure(cache_dir(), suite)
    if args.builders:
        Windows.prepare(cache_dir(), print_progress)
    print_progress(f"lab: everything is ready in {cache_dir()}")
    return 0


def _raise(args: argparse.Namespace) -> Lab:
    """Run `up`; what the command line does not set stays as in the existing lab."""
    requirements.check_machine()
    state = State(args.name)
    was = state.read() if state.file.exists() else LabFile(args.name, "", "", "")
    new = not state.file.exists()
    targets, suite = wanted_targets(args, was, DEFAULT_TARGETS if new else len(was.targets))
    builders = (
        args.builders
        if args.builders is not None
        else (DEFAULT_BUILDERS if new else sum(record.os == "windows" for record in was.builders))
    )
    own = sum(record.os == "linux" for record in was.builders)
    return Lab.up(
        args.name,
        targets,
        builders,
        linux_builders=args.linux_builders if args.linux_builders is not None else own,
        suite=suite,
        builder_disk_mb=args.builder_disk_mb or was.builder_disk_mb,
        target_disk_mb=args.target_disk_mb or was.target_disk_mb,
    )


def wanted_targets(args: argparse.Namespace, was: LabFile, usual: int) -> tuple[int, str | list[str]]:
    """Return number and Debian releases of the targets; an existing lab keeps what the command line does not set."""
    named = args.suite.split(",") if args.suite else []
    targets = args.targets if args.targets is not None else (len(named) if len(named) > 1 else usual)
    if named:
        return targets, named if len(named) > 1 else named[0]
    known = [record.suite for record in was.targets][: max(targets, 0)]
    more = known[-1] if known else DEFAULT_SUITE
    return targets, known + [more] * (targets - len(known))


def _up(args: argparse.Namespace) -> int:
    lab = _raise(args)
    for host in lab.hosts:
        print(f"    {host.name:5}{host.address:15} {host.record.user}")
    print(f"    python -m lab shell --name {lab.name} {lab.hosts[0].name}" if lab.hosts else "    (no hosts)")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from lab.demo import run

    return run(_raise(args))


def _down(args: argparse.Namespace) -> int:
    requirements.check_machine()
    for name in all_names() if args.all else [args.name]:
        end(name, anyone=args.all)
    return 0


def _list(args: argparse.Namespace) -> int:
    requirements.check_machine()
    for name in all_names():
        try:
            file = State(name).read()
        except LabError:
            print(f"{name}: its start was interrupted; python -m lab up or down --name {name}")
            continue
        print(f"{name}  {file.network}  {State(name).dir}")
        for record in (*file.builders, *file.targets):
            up = Host.answers(record.address, record.port)
            print(f"    {record.name:5}{record.address:15} {record.user:8} {'up' if up else 'no answer'}")
    return 0


def ssh_command(file: LabFile, host: str) -> list[str]:
    """The OpenSSH command line for a host of a lab. LabError if there is no such host."""
    for record in (*file.targets, *file.builders):
        if record.name == host:
            options = ("-i", file.key, "-o", f"UserKnownHostsFile={file.known_hosts}", "-o", "IdentitiesOnly=yes")
            return ["ssh", *options, "-o", "StrictHostKeyChecking=yes", f"{record.user}@{record.address}"]
    known = ", ".join(record.name for record in (*file.builders, *file.targets)) or "none"
    raise LabError(f"lab {file.name}: no host {host!r}; expected one of: {known}")


def _shell(args: argparse.Namespace) -> int:
    command = ssh_command(State(args.name).read(), args.host)
    return subprocess.run([*command, *args.command], check=False).returncode


def _fault(args: argparse.Namespace) -> int:
    if args.what in NEEDS_NUMBER and args.number is None:
        raise LabError(f"fault {args.what}: expected a number after it: {FAULTS[args.what][0]}")
    host = Lab.load(args.name).host(args.host)
    FAULTS[args.what][1](host, args.number or 0)
    print_progress(f"{args.host}: {args.what}: {FAULTS[args.what][0]}")
    return 0


def _boot(host: Host) -> None:
    host.boot()
    host.wait_up()


def _reset(args: argparse.Namespace) -> int:
    host = Lab.load(args.name).host(args.host)
    with step(f"{args.host}: reset"):
        host.reset()
    return 0


def repository() -> Path:
    """The checkout that contains this package."""
    return Path(os.path.realpath(__file__)).parent.parent
