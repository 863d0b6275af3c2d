"""One bare mirror on the controller: kept up to date, read by name, bundled for a builder."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from gofallback.git.git_command import REMOTE, GitError, git
from gofallback.source.refs import FULL_SHA, Ref, parse_refs
from gofallback.source.tree import Entry, parse_tree

_FETCHED = "gofallback-fetched"
_REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
#: Commits that were asked for by SHA and that no branch or tag reaches: kept from git's garbage collection.
_KEPT = "refs/gofallback"


class MirrorBusyError(Exception):
    """Another run has held the mirror for too long."""


class Mirror:
    """The mirror of ``url`` in the folder ``path``. Every method that writes has to run inside `locked`."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None], *, patience: float = REMOTE) -> Iterator[None]:
        """Hold the mirror alone; runs that want it at the same time take turns.

        Args:
            say: hears one line when another run is waited for.
            patience: seconds to wait.

        Raises:
            MirrorBusyError: still held after ``patience``.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as handle:
            end, told = time.monotonic() + patience, False
            while True:
                try:  # never the blocking call: it would stop every greenlet of pyinfra
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise MirrorBusyError from None
                    if not told:
                        say(f"another run fetches {self.url}: waiting for it")
                        told = True
                    time.sleep(0.1)
            yield

    @property
    def fetched_at(self) -> datetime | None:
        """When the last complete fetch ended; None: there is no usable mirror."""
        try:
            return datetime.fromisoformat((self.path / _FETCHED).read_text().strip())
        except (OSError, ValueError):
            return None

    def fetch(self, now: Callable[[], datetime], *, timeout: float = REMOTE) -> None:
        """Bring every branch and tag up to date, forget those that are gone.

        Raises:
            GitError: the remote cannot be read; the mirror is as it was.
        """
        self._prepare()
        git(
            [
                "fetch",
                "--quiet",
                "--prune",
                "--force",
                "--no-tags",
                "--no-write-fetch-head",
                "--",
                self.url,
                *_REFSPECS,
            ],
            directory=self.path,
            timeout=timeout,
        )
        git(["pack-refs", "--all", "--prune"], directory=self.path)
        fresh = self.path / f"{_FETCHED}.new"
        fresh.write_text(now().astimezone(UTC).isoformat() + "\n")
        fresh.replace(self.path / _FETCHED)

    def fetch_commit(self, sha: str) -> None:
        """Get one commit that no branch or tag reaches, where the server allows that.

        Raises:
            GitError: the server does not know it, or does not give it away.
        """
        git(
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.url, f"+{sha}:{_KEPT}/{sha}"],
            directory=self.path,
            timeout=REMOTE,
        )

    def refs(self) -> dict[str, Ref]:
        """Every ref."""
        try:
            return parse_refs(git(["show-ref", "--dereference"], directory=self.path))
        except GitError as error:
            if error.output.strip():
                raise
            return {}  # an empty repository: exit status 1 without a word

    def commit(self, name: str) -> str | None:
        """The commit behind an object name (a full or unambiguous short SHA); None when there is none."""
        try:
            return git(
                ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"], directory=self.path
            ).strip()
        except GitError:
            return None

    def describe(self, commit: str) -> str:
        """``git describe --tags --always``."""
        return git(["describe", "--tags", "--always", commit], directory=self.path).strip()

    def commit_time(self, commit: str) -> datetime:
        """Committer date."""
        return datetime.fromisoformat(git(["show", "-s", "--format=%cI", commit], directory=self.path).strip())

    def tree(self, commit: str) -> list[Entry]:
        """Every file of a commit."""
        return parse_tree(git(["ls-tree", "-r", "-z", "--full-tree", commit], directory=self.path))

    def blobs(self, shas: Sequence[str], into: IO[bytes]) -> None:
        """Write the contents of blobs into a file, each behind a line ``<sha> blob <size>`` and before a line end."""
        git(["cat-file", "--batch"], directory=self.path, stdin="".join(f"{sha}\n" for sha in shas), into=into)

    def uses_lfs(self, commit: str) -> bool:
        """Whether an attributes file of a commit hands files to Git LFS."""
        try:
            git(["grep", "-q", "-e", "filter=lfs", commit, "--", ":(glob)**/.gitattributes"], directory=self.path)
        except GitError as error:
            if error.output.strip():
                raise
            return False
        return True

    def submodule_urls(self, commit: str) -> dict[str, str]:
        """``.gitmodules`` of a commit: path to address."""
        text = git(["config", "--blob", f"{commit}:.gitmodules", "--list", "-z"], directory=self.path)
        values: dict[str, dict[str, str]] = {}
        for record in filter(None, text.split("\0")):
            key, _, value = record.partition("\n")
            name, _, field = key.removeprefix("submodule.").rpartition(".")
            values.setdefault(name, {})[field] = value
        return {one["path"]: one["url"] for one in values.values() if "path" in one and "url" in one}

    def bundle(self, commit: str, have: Collection[str], target: Path) -> Path | None:
        """Everything a builder lacks, as one bundle.

        Args:
            commit: has to be part of it, whether a branch reaches it or not.
            have: object names the builder has, of any repository; those unknown here are left out.
            target: file to write.

        Returns:
            ``target``, or None when the builder lacks nothing.
        """
        refs = self.refs()
        wanted = {ref.target for name, ref in refs.items() if name.startswith(("refs/heads/", "refs/tags/"))} | {commit}
        if wanted <= set(have):
            return None
        known = self._known(have)
        missing = git(
            ["rev-list", "--objects", "--max-count=1", "--stdin"], directory=self.path, stdin=_range(wanted, known)
        )
        if not missing.strip():
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        # `git bundle` leaves out a revision without a name, so the commit gets one.
        git(["update-ref", f"{_KEPT}/{commit}", commit], directory=self.path)
        names = [f"{_KEPT}/{commit}", *(name for name in refs if name.startswith(("refs/heads/", "refs/tags/")))]
        part = target.with_name(target.name + ".part")
        git(
            ["bundle", "create", "--quiet", str(part), "--stdin"],
            directory=self.path,
            timeout=REMOTE,
            stdin=_range(names, known),
        )
        part.replace(target)
        return target

    def _known(self, have: Collection[str]) -> list[str]:
        names = sorted(name for name in have if FULL_SHA.fullmatch(name))
        if not names:
            return []
        answer = git(["cat-file", "--batch-check"], directory=self.path, stdin="".join(f"{name}\n" for name in names))
        return [line.split(" ")[0] for line in answer.splitlines() if " commit " in line or " tag " in line]

    def _prepare(self) -> None:
        """A bare repository, also after a run that was killed in the middle of anything."""
        if self.path.exists():
            try:
                git(["rev-parse", "--git-dir"], directory=self.path)
            except GitError:
                shutil.rmtree(self.path)
        if not self.path.exists():
            git(["init", "--quiet", "--bare", "--template=", str(self.path)])
        # We hold the mirror alone, so a lock file of git's belongs to a process that was killed.
        for stale in (*self.path.glob("*.lock"), *self.path.glob("refs/**/*.lock")):
            stale.unlink(missing_ok=True)


def _range(wanted: Collection[str], known: Collection[str]) -> str:
    return "".join(f"{name}\n" for name in wanted) + "".join(f"^{name}\n" for name in known)
