"""A running lab, as `python -m lab` and the tests use it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from lab import builders as windows
from lab import cgroup, example, network, requirements
from lab.cache import Report, cache_dir, mount_table, print_progress, remove_tree, step
from lab.host import Host
from lab.linux import builder as standby
from lab.linux import toolchains, tree
from lab.linux.host import LinuxHost, clear_leftovers, forget_machines, new_key, recorded_tree
from lab.model import (
    DEFAULT_SUITE,
    DEFAULT_TARGET_DISK_MB,
    MAX_BUILDERS,
    MAX_TARGETS,
    HostRecord,
    LabError,
    LabFile,
    suites_of,
)
from lab.state import State, lab_names, write_atomic

T = TypeVar("T")

WORKERS = 8  # hosts that are made or awaited at the same time; most of it is waiting


class Lab:
    """A running lab. As a context manager it is ended at the end of the block."""

    def __init__(
        self, file: LabFile, targets: list[LinuxHost], builders: list[Host], report: Report = print_progress
    ) -> None:
        self.file = file
        self.name = file.name
        self.targets = targets
        self.builders = builders
        self._tell = report

    @classmethod
    def up(
        cls,
        name: str,
        targets: int = 2,
        builders: int = 1,
        *,
        suite: str | Sequence[str] = DEFAULT_SUITE,
        builder_disk_mb: int | None = None,
        target_disk_mb: int | None = None,
        packages: tuple[str, ...] = (),
        linux_builders: int = 0,
        report: Report = print_progress,
    ) -> Lab:
        """Start the lab `name` with exactly these hosts. Hosts that run already as required are not touched.

        Arguments:
            targets, builders, linux_builders: number of Linux targets (t1..), Windows hosts (w1..) and Linux standby
                builders (b1..).
            suite: Debian release of the targets, or one for each, in order.
            builder_disk_mb: size limit of a Windows host's C: in MB (2**20 bytes); None: no limit.
            target_disk_mb: size of a target's disk in MB; None: 2048. It uses memory as it is written.
            packages: further Debian packages on the targets: a peer may need more than the product.
            report: called with each progress line.

        Raises LabError.
        """
        state = State(name)
        _check_size(targets, builders, linux_builders)
        suites = suites_of(suite, targets)
        requirements.check_machine()
        requirements.install_packages(report)
        bases = {one: tree.ensure(cache_dir(), one, report, packages) for one in dict.fromkeys(suites)}
        made = windows.Windows.prepare(cache_dir(), report) if builders else None
        linux = toolchains.ensure(cache_dir(), report) if linux_builders else {}
        if linux_builders:
            tree.ensure(cache_dir(), toolchains.SUITE, report)
        with state.lock(report):
            requirements.raise_limits(targets + builders + linux_builders, report)
            file = _prepare(state, report)
            file.target_disk_mb = target_disk_mb or DEFAULT_TARGET_DISK_MB
            file.builder_disk_mb = builder_disk_mb
            file.toolchains = made.toolchains() if made else {}
            file.linux_toolchains = linux
            _drop_surplus(state, file, {"t": targets, "w": builders, "b": linux_builders}, report)
            file.targets = [_target_record(file, index, one) for index, one in enumerate(suites, start=1)]
            file.builders = [
                *(windows.record(file.prefix, index) for index in range(1, builders + 1)),
                *(
                    standby.record(file.prefix, index, toolchains.SUITE, tree.arch())
                    for index in range(1, linux_builders + 1)
                ),
            ]
            lab = cls._of(state, file, bases, made, report)
            lab._raise_hosts(state)
            state.write(file)
        return lab

    @classmethod
    def load(cls, name: str, report: Report = print_progress) -> Lab:
        """The lab `name` as lab.json describes it, whether or not its hosts answer. LabError if there is none."""
        state = State(name)
        file = state.read()
        requirements.check_machine()
        with_windows = any(record.os == "windows" for record in file.builders)
        made = windows.Windows.prepare(cache_dir(), report) if with_windows else None
        return cls._of(state, file, {}, made, report)

    @classmethod
    def _of(
        cls, state: State, file: LabFile, bases: Mapping[str, Path], made: windows.Windows | None, report: Report
    ) -> Lab:
        key_pub = state.key.with_suffix(".pub").read_text().strip()
        targets = []
        for record in file.targets:  # a running lab keeps the tree that it started with
            directory = state.host_dir(record.name)
            root = bases.get(record.suite) or recorded_tree(directory) or tree.ensure(cache_dir(), record.suite, report)
            targets.append(LinuxHost(file.name, record, directory, root, file.target_disk_mb, key_pub))
        builders: list[Host] = []
        for record in file.builders:
            directory = state.host_dir(record.name)
            if record.os == "linux":
                root = recorded_tree(directory) or tree.ensure(cache_dir(), record.suite, report)
                builders.append(standby.LinuxBuilder(file.name, record, directory, root, standby.DISK_MB, key_pub))
            elif made:
                builders.append(made.host(file.name, record, directory, key_pub, file.builder_disk_mb))
        return cls(file, targets, builders, report)

    @property
    def hosts(self) -> list[Host]:
        """Every host, builders first."""
        return [*self.builders, *self.targets]

    def host(self, name: str) -> Host:
        """The host of that name. LabError if there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts) or "none"
        raise LabError(f"lab {self.name}: no host {name!r}; expected one of: {known}")

    def down(self) -> None:
        """End the lab; see `end`."""
        end(self.name, self._tell)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.down()

    def _raise_hosts(self, state: State) -> None:
        started: list[str] = []
        with step(f"lab {self.name}: {_count(self.targets, self.builders)} on {self.file.network}", self._tell):
            answers = _at_once(lambda host: (host.name, host.ensure()), self.hosts)
            started = [name for name, new in answers if new]
            _at_once(lambda host: host.wait_up(), [host for host in self.hosts if host.name in started])
            write_atomic(state.known_hosts, "".join(host.known_hosts_line() for host in self.hosts))
        if not started:
            self._tell(f"lab {self.name}: every host was up already")


def end(name: str, report: Report = print_progress, *, anyone: bool = False) -> None:
    """End the lab `name` in any state: no process, mount, namespace, interface or cgroup stays.

    It reads the machine, not only the records, because a start may have been killed at any moment. A lab of another
    cache is refused, unless `anyone` is set.
    """
    state = State(name)
    requirements.check_machine()
    if not anyone:
        state.check_ours()
    with state.lock(report), step(f"lab {name}: down", report):
        _end(state)


def all_names() -> list[str]:
    """Labs of this cache, and labs with remains on this machine."""
    return sorted({*lab_names(), *network.lab_names(), *cgroup.lab_names()})


def _end(state: State) -> None:
    groups = cgroup.lab_cgroups(state.name)
    for group in sorted(groups, key=lambda group: "." not in group.name):  # helpers first, because they restart hosts
        group.kill()
    network.remove_lab(state.name)
    prefix = network.namespace(state.name, "")
    for point in {Path(point).parent for source, point in mount_table() if source.startswith(prefix)}:
        clear_leftovers(point)
    forget_machines(f"{prefix}*")
    cgroup.remove_lab(state.name)
    for directory in (state.dir / "hosts").glob("w*"):
        windows.clear_leftovers(directory)
    remove_tree(state.dir)
    state.unclaim()


def _prepare(state: State, report: Report) -> LabFile:
    """Make the lab's folder, keys, example repository and switch, if they are missing."""
    state.check_ours()
    if state.exists() and not (state.switch_ready.exists() and state.claimed()):
        _end(state)  # its start was interrupted, or the machine was restarted
    net = state.claim(report)
    state.dir.mkdir(parents=True, exist_ok=True)
    if not state.key.with_suffix(".pub").exists():
        private, public = new_key()
        state.key.touch(mode=0o600)
        state.key.write_bytes(private)
        write_atomic(state.key.with_suffix(".pub"), f"{public} gofallback-lab-{state.name}\n")
    example.make_repository(state.example)
    if not state.switch_ready.exists():
        network.remove_lab(state.name)
        network.add_switch(state.name, net)
        state.switch_ready.touch()
    with contextlib.suppress(LabError):
        return state.read()
    repository = {"repository": str(state.example), "branch": example.BRANCH}
    return LabFile(state.name, net, str(state.key), str(state.known_hosts), example=repository)


def _drop_surplus(state: State, file: LabFile, numbers: dict[str, int], report: Report) -> None:
    """Remove the hosts that the lab should no longer have."""
    wanted = {f"{kind}{index}" for kind, number in numbers.items() for index in range(1, number + 1)}
    folder = state.dir / "hosts"
    surplus = sorted(path.name for path in folder.iterdir() if path.name not in wanted) if folder.exists() else []
    if not surplus:
        return
    with step(f"lab {file.name}: removing {' '.join(surplus)}", report):
        for name in surplus:
            for group in cgroup.lab_cgroups(file.name):
                if group.name.split(".")[0] == name:
                    group.kill()
                    cgroup.HostCgroup(file.name, group.name).remove()
            network.del_host_netns(file.name, name)
            forget_machines(network.namespace(file.name, name))
            windows.clear_leftovers(state.host_dir(name))
            clear_leftovers(state.host_dir(name))


def _target_record(file: LabFile, index: int, suite: str) -> HostRecord:
    address = f"{file.prefix}{10 + index}"
    return HostRecord(f"t{index}", address, 22, "deploy", "linux", suite, tree.arch())


def _check_size(targets: int, builders: int, linux_builders: int) -> None:
    if not 0 <= targets <= MAX_TARGETS:
        raise LabError(f"targets {targets}: expected 0 to {MAX_TARGETS}")
    if not 0 <= builders <= MAX_BUILDERS:
        raise LabError(f"builders {builders}: expected 0 to {MAX_BUILDERS}")
    if not 0 <= linux_builders <= MAX_BUILDERS:
        raise LabError(f"linux-builders {linux_builders}: expected 0 to {MAX_BUILDERS}")


def _count(targets: Iterable[Host], builders: Iterable[Host]) -> str:
    kinds = [host.record.os for host in builders]
    numbers = {
        "Linux target": len(list(targets)),
        "Windows host": kinds.count("windows"),
        "Linux builder": kinds.count("linux"),
    }
    parts = [
        f"{number} {what}{'s' * (number != 1)}" for what, number in numbers.items() if number or what == "Linux target"
    ]
    return ", ".join(parts)


def _at_once(work: Callable[[Host], T], hosts: list[Host]) -> list[T]:
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(work, hosts))
