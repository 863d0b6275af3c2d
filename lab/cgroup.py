"""One cgroup per host: it lists the host's processes, freezes them together and kills them together."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from lab.model import LabError

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "io", "memory", "pids")


@dataclass(frozen=True)
class Hierarchies:
    """The folders for cgroups on this machine.

    Arguments:
        unified: the cgroup2 folder for the cgroups of hosts.
        v1: the same for each cgroup v1 hierarchy, by controller ("" if it has none, as name=systemd); empty if
            the machine has cgroup2 only.
    """

    unified: Path
    v1: dict[str, Path]

    @property
    def hybrid(self) -> bool:
        """Whether the controllers are bound to cgroup v1."""
        return bool(self.v1)


def hierarchies() -> Hierarchies:
    """Find this machine's cgroups. LabError without a cgroup2, which is needed to kill and to freeze.

    With v1, the lab's cgroups are below the one of this process, so its limits also apply to the lab. In cgroup2 a
    group with processes may not have children with controllers, so the lab's cgroups start at the root.
    """
    if (ROOT / "cgroup.controllers").exists():
        return Hierarchies(ROOT, {})
    unified = ROOT / "unified"
    if not (unified / "cgroup.procs").exists():
        raise LabError(f"cgroups: no cgroup2 at {ROOT} or {unified}: expected one: mount -t cgroup2 cgroup2 {unified}")
    v1 = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        folder = ROOT / controllers.removeprefix("name=")
        if number != "0" and folder.is_dir():
            v1[controllers] = folder / path.lstrip("/")
    return Hierarchies(unified, v1)


def lab_folder(lab: str) -> str:
    """The name of the cgroup of a whole lab, in every hierarchy."""
    return f"gofallback-{lab}"


class HostCgroup:
    """The cgroup of one host, or of one helper process of it (`t1.relay`)."""

    def __init__(self, lab: str, name: str, everywhere: bool = True) -> None:
        """`everywhere`: in each hierarchy, so the host can set limits of its own; else in cgroup2 only."""
        found = hierarchies()
        self.lab, self.name = lab, name
        self.hybrid = found.hybrid
        self.unified = found.unified / lab_folder(lab) / name
        self._v1 = {key: base / lab_folder(lab) / name for key, base in found.v1.items()} if everywhere else {}

    @property
    def paths(self) -> list[Path]:
        """The folder in each hierarchy. A process belongs to the host if its id is in cgroup.procs of all of them."""
        return [self.unified, *self._v1.values()]

    def create(self) -> None:
        """Make the folders, with the controllers of the machine."""
        for path in self.paths:
            path.mkdir(parents=True, exist_ok=True)
        _enable_controllers(self.unified.parent)
        if cpuset := self._v1.get("cpuset"):  # v1: no process may enter until both files are filled
            for folder in (cpuset.parent, cpuset):
                for item in ("cpuset.cpus", "cpuset.mems"):
                    (folder / item).write_text((folder.parent / item).read_text())

    def procs(self) -> list[int]:
        """Process ids in this cgroup and those below it."""
        found = []
        for folder, _, _ in os.walk(self.unified):  # unlike glob, os.walk tolerates folders that vanish meanwhile
            try:
                found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split()]
            except OSError:
                continue
        return sorted(set(found))

    def populated(self) -> bool:
        """Whether it has any process."""
        try:
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        except OSError:
            return False

    def frozen(self) -> bool:
        """Whether it is frozen."""
        try:
            return (self.unified / "cgroup.freeze").read_text().strip() == "1"
        except OSError:
            return False

    def freeze(self) -> None:
        """Stop every process. The kernel continues: it accepts connections, and no process answers."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Continue the processes."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        try:
            (self.unified / "cgroup.freeze").write_text("1" if frozen else "0")
        except FileNotFoundError:
            raise LabError(f"{self.name}: is not running; boot it first") from None

    def kill(self, timeout: float = 10.0) -> None:
        """Kill every process; return when none is left. LabError after `timeout` seconds."""
        if not self.unified.exists():
            return
        deadline = time.monotonic() + timeout
        while self.populated():
            self._kill_once()
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: processes {self.procs()} do not die; see {self.unified}")
            time.sleep(0.01)
        if self.frozen():  # the next process must not start frozen
            self.thaw()

    def _kill_once(self) -> None:
        kill = self.unified / "cgroup.kill"
        if kill.exists():  # Linux 5.14 and newer; it reaches frozen processes as well
            kill.write_text("1")
            return
        for pid in self.procs():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.frozen():
            self.thaw()

    def remove(self) -> None:
        """Remove the folders; the cgroup must be empty (`kill` first)."""
        for path in self.paths:
            _rmdir_tree(path)

    def empty_below(self) -> None:
        """Remove the cgroups that a host left below its own when it ended."""
        for path in self.paths:
            for child in _folders(path):
                _rmdir_tree(child)


def lab_cgroups(lab: str) -> list[HostCgroup]:
    """Every cgroup2 group of a lab that the kernel has, recorded or not."""
    base = hierarchies().unified / lab_folder(lab)
    return [HostCgroup(lab, child.name) for child in _folders(base)]


def lab_names() -> list[str]:
    """Names of labs with a cgroup."""
    start = lab_folder("")
    return sorted(path.name.removeprefix(start) for path in hierarchies().unified.glob(f"{start}*"))


def remove_lab(lab: str) -> None:
    """Remove every cgroup of a lab in every hierarchy."""
    found = hierarchies()
    _rmdir_tree(found.unified / lab_folder(lab))
    for controllers in found.v1:  # an earlier command may have had another cgroup, and its labs with it
        for root, folders, _ in os.walk(ROOT / controllers.removeprefix("name=")):
            if lab_folder(lab) in folders:
                _rmdir_tree(Path(root) / lab_folder(lab))
                folders.remove(lab_folder(lab))


def _enable_controllers(lab: Path) -> None:
    for folder in (lab.parent, lab):
        for controller in CONTROLLERS:
            try:
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:  # bound to v1, or not available (a container): the hosts have no such limit
                continue


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir())
    except FileNotFoundError:
        return []


def _rmdir_tree(path: Path) -> None:
    if not path.exists():
        return
    for child in _folders(path):
        _rmdir_tree(child)
    for _ in range(200):  # the kernel releases a dead process's cgroup a moment after it was reaped
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise LabError(f"{path}: cgroup is busy; expected it to be empty; processes: {_read(path / 'cgroup.procs')}")


def _read(path: Path) -> str:
    try:
        return " ".join(path.read_text().split()) or "none"
    except OSError:
        return "unknown"
