"""One cgroup per host: it says which processes are the host's, freezes them together and kills them together."""

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
    """Where cgroups are made on this machine.

    Arguments:
        unified: the cgroup2 folder below which hosts get theirs.
        v1: the same for each cgroup v1 hierarchy, by controller ("" if it has none, as name=systemd); empty where
            the machine has cgroup2 only.
    """

    unified: Path
    v1: dict[str, Path]

    @property
    def hybrid(self) -> bool:
        """Whether the controllers are bound to cgroup v1."""
        return bool(self.v1)


def hierarchies() -> Hierarchies:
    """Find this machine's cgroups. LabError if there is no cgroup2 to kill and freeze by.

    With v1, ours are made below this process's own, so that limits set on it hold for the lab as well; in cgroup2
    a group that holds processes may not have children with controllers, so ours start at the root there.
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
    """The name of the cgroup that holds all of one lab, in every hierarchy."""
    return f"gofallback-{lab}"


class HostCgroup:
    """The cgroup of one host (or of one helper process of it, then `name` is such as `t1.relay`)."""

    def __init__(self, lab: str, name: str, everywhere: bool = True) -> None:
        """`everywhere`: in each hierarchy, so that limits inside the host are its own; else in cgroup2 only."""
        found = hierarchies()
        self.lab, self.name = lab, name
        self.hybrid = found.hybrid
        self.unified = found.unified / lab_folder(lab) / name
        self._v1 = {key: base / lab_folder(lab) / name for key, base in found.v1.items()} if everywhere else {}

    @property
    def paths(self) -> list[Path]:
        """The folder in each hierarchy; a process belongs to the host once its id is in each one's cgroup.procs."""
        return [self.unified, *self._v1.values()]

    def create(self) -> None:
        """Make the folders, with the controllers the machine gives us."""
        for path in self.paths:
            path.mkdir(parents=True, exist_ok=True)
        _enable_controllers(self.unified.parent)
        if cpuset := self._v1.get("cpuset"):  # v1: empty until filled, and nothing may enter while empty
            for folder in (cpuset.parent, cpuset):
                for item in ("cpuset.cpus", "cpuset.mems"):
                    (folder / item).write_text((folder.parent / item).read_text())

    def procs(self) -> list[int]:
        """Process ids in this cgroup and those below it."""
        found = []
        for folder, _, _ in os.walk(self.unified):  # unlike glob, it bears with folders that go while it looks
            try:
                found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split()]
            except OSError:
                continue
        return sorted(set(found))

    def populated(self) -> bool:
        """Whether any process is in it."""
        try:
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        except OSError:
            return False

    def frozen(self) -> bool:
        """Whether `freeze` is in force."""
        try:
            return (self.unified / "cgroup.freeze").read_text().strip() == "1"
        except OSError:
            return False

    def freeze(self) -> None:
        """Stop every process where it stands; its kernel side goes on (connections are accepted, none is answered)."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Let the processes go on."""
        self._set_frozen(False)

    def _set_frozen(self, wanted: bool) -> None:
        try:
            (self.unified / "cgroup.freeze").write_text("1" if wanted else "0")
        except FileNotFoundError:
            raise LabError(f"{self.name}: is not running; boot it first") from None

    def kill(self, timeout: float = 10.0) -> None:
        """SIGKILL to all of it; returns when nothing is left. LabError after `timeout` seconds."""
        if not self.unified.exists():
            return
        deadline = time.monotonic() + timeout
        while self.populated():
            self._kill_once()
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: processes {self.procs()} do not die; see {self.unified}")
            time.sleep(0.01)
        if self.frozen():  # what starts in it next must not find itself frozen
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
        """Remove what a host that ended left below its own folder."""
        for path in self.paths:
            for child in _folders(path):
                _rmdir_tree(child)


def lab_cgroups(lab: str) -> list[HostCgroup]:
    """Every cgroup2 group of a lab, by what the kernel shows, whatever is written down about it."""
    base = hierarchies().unified / lab_folder(lab)
    return [HostCgroup(lab, child.name) for child in _folders(base)]


def lab_names() -> list[str]:
    """Names of labs that have a cgroup."""
    start = lab_folder("")
    return sorted(path.name.removeprefix(start) for path in hierarchies().unified.glob(f"{start}*"))


def remove_lab(lab: str) -> None:
    """Remove every cgroup of a lab in every hierarchy, whoever made it."""
    found = hierarchies()
    _rmdir_tree(found.unified / lab_folder(lab))
    for controllers in found.v1:  # an earlier command's own cgroup, and so the place of its labs, may differ from ours
        for root, folders, _ in os.walk(ROOT / controllers.removeprefix("name=")):
            if lab_folder(lab) in folders:
                _rmdir_tree(Path(root) / lab_folder(lab))
                folders.remove(lab_folder(lab))


def _enable_controllers(lab: Path) -> None:
    for folder in (lab.parent, lab):
        for controller in CONTROLLERS:
            try:
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:  # bound to v1, or not ours to hand out (a container): the hosts do without this limit
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
    for _ in range(200):  # the kernel lets go of a dead process's cgroup a moment after it was reaped
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
