"""One bare mirror on the controller: fetched, read, and bundled for builders."""

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
from gofallback.source.refs import FULL_SHA, Ref, is_branch_or_tag, parse_refs
from gofallback.source.tree import Entry, parse_tree

_FETCHED = "gofallback-fetched"
_REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
#: Refs that protect commits outside of all branches and tags from git's garbage collection.
_PINNED = "refs/gofallback"


class MirrorBusyError(GitError):
    """Another run has held the mirror for too long."""

    def __init__(self) -> None:
        super().__init__("another run holds it")


class Mirror:
    """The mirror of ``url`` in the folder ``path``. Methods that write must run inside `locked`."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    @contextlib.contextmanager
    def locked(self, report: Callable[[str], None], *, timeout: float = REMOTE) -> Iterator[None]:
        """Hold the mirror alone; runs that use it at the same time take turns.

        Args:
            report: called with one line when this run has to wait for another.
            timeout: seconds to wait.

        Raises:
            MirrorBusyError: the mirror is still held after ``timeout``.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as handle:
            end, reported = time.monotonic() + timeout, False
            while True:
                try:  # a blocking call would stop every greenlet of pyinfra
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise MirrorBusyError from None
                    if not reported:
                        report(f"another run fetches {self.url}: waiting for it")
                        reported = True
                    time.sleep(0.1)
            yield

    @property
    def fetched_at(self) -> datetime | None:
        """The end of the last complete fetch; None: there is no usable mirror."""
        try:
            return datetime.fromisoformat((self.path / _FETCHED).read_text().strip())
        except (OSError, ValueError):
            return None

    def fetch(self, now: Callable[[], datetime], *, timeout: float = REMOTE) -> None:
        """Bring every branch and tag up to date, and remove deleted ones.

        Raises:
            GitError: the remote cannot be read; the mirror is unchanged.
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
        new = self.path / f"{_FETCHED}.new"
        new.write_text(now().astimezone(UTC).isoformat() + "\n")
        new.replace(self.path / _FETCHED)

    def fetch_commit(self, sha: str) -> None:
        """Fetch one commit that no branch or tag reaches.

        Raises:
            GitError: the server has no such commit, or does not allow that.
        """
        git(
            ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.url, f"+{sha}:{_PINNED}/{sha}"],
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
            return {}  # an empty repository: exit status 1 without output

    def commit(self, name: str) -> str | None:
        """The commit of an object name (a full or unambiguous short SHA), or None."""
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
        """Write blobs into a file: for each a line ``<sha> blob <size>``, its content, and a line end."""
        git(["cat-file", "--batch"], directory=self.path, stdin="".join(f"{sha}\n" for sha in shas), into=into)

    def contents(self, shas: Sequence[str], largest: int) -> dict[str, bytes]:
        """The contents of blobs, by SHA; without blobs of more than ``largest`` bytes."""
        output = git(["cat-file", "--batch"], directory=self.path, stdin="".join(f"{sha}\n" for sha in shas))
        rest, contents = output.encode(errors="surrogateescape"), {}
        while rest:
            head, _, rest = rest.partition(b"\n")
            sha, _, size = head.decode().split(" ")
            if int(size) <= largest:
                contents[sha] = rest[: int(size)]
            rest = rest[int(size) + 1 :]
        return contents

    def uses_lfs(self, commit: str) -> bool:
        """Whether an attributes file of a commit puts files into Git LFS."""
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
        return {fields["path"]: fields["url"] for fields in values.values() if {"path", "url"} <= fields.keys()}

    def bundle(self, commit: str, have: Collection[str], target: Path) -> Path | None:
        """Everything a builder lacks, as one bundle.

        Args:
            commit: part of the bundle, whether a branch reaches it or not.
            have: object names the builder has, of any repository; unknown ones do not count.
            target: file to write.

        Returns:
            ``target``, or None when the builder lacks nothing.
        """
        refs = self.refs()
        tips = {ref.target for name, ref in refs.items() if is_branch_or_tag(name)} | {commit}
        if tips <= set(have):
            return None
        known = self._known(have)
        missing = git(
            ["rev-list", "--objects", "--max-count=1", "--stdin"], directory=self.path, stdin=_range(tips, known)
        )
        if not missing.strip():
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        # `git bundle` leaves out a revision without a name, so the commit gets one.
        git(["update-ref", f"{_PINNED}/{commit}", commit], directory=self.path)
        names = [f"{_PINNED}/{commit}", *filter(is_branch_or_tag, refs)]
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
        """Make sure that there is a bare repository, even after a run that was killed."""
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


def _range(names: Collection[str], known: Collection[str]) -> str:
    return "".join(f"{name}\n" for name in names) + "".join(f"^{name}\n" for name in known)
