"""Runs ssh-keygen and ssh-add: verifies signatures, and lists the keys of the person who runs this."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gofallback.approval.digest import ApprovalError
from gofallback.approval.statement import NAMESPACE

#: Seconds; each program answers within milliseconds. Nothing here waits for a touch on a hardware token.
_TIMEOUT = 15
_GOOD = re.compile(r'^Good "[^"]*" signature .*with \S+ key (SHA256:\S+)$', re.M)

#: The reason to reject a signature of another text.
CHANGED = "the statement was changed after it was signed"


@dataclass(frozen=True)
class Verification:
    """The result of verifying a signature."""

    key: str | None
    """Fingerprint of the key that made it (of the certified key, for a certificate); None: the signature is invalid."""
    reason: str = ""
    """Why it is invalid."""


class Keygen:
    """The installed ssh-keygen.

    Raises:
        ApprovalError: there is none.
    """

    def __init__(self) -> None:
        found = shutil.which("ssh-keygen")
        if found is None:
            raise ApprovalError(
                "ssh-keygen: not found on this controller, and approvals cannot be verified without it; "
                "install openssh-client"
            )
        self.program = found

    def verify(self, signers: Path, principal: str, statement: bytes, signature: Path) -> Verification:
        """Whether the signature is the principal's, in our namespace, by a key that may sign now."""
        argv = ("-Y", "verify", "-f", str(signers), "-I", principal, "-n", NAMESPACE, "-s", str(signature))
        done = self._run(*argv, stdin=statement)
        good = _GOOD.search(done.stdout)
        if done.returncode == 0 and good:
            return Verification(good[1])
        return Verification(None, self._reason(done.stderr, signers, principal, statement, signature))

    def is_of(self, statement: bytes, signature: Path) -> bool:
        """Whether the signature is of this text, whoever made it."""
        argv = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature))
        return self._run(*argv, stdin=statement).returncode == 0

    def fingerprint(self, key: Path) -> str | None:
        """Fingerprint of a key file, private or public; None: the file is no key, or cannot be read."""
        found = re.search(r"\bSHA256:\S+", self._run("-l", "-f", str(key)).stdout)
        return found[0] if found else None

    def _reason(self, output: str, signers: Path, principal: str, statement: bytes, signature: Path) -> str:
        """The reason in plain words (OpenSSH 8.2 to 10: ssh-keygen.c, sshsig.c)."""
        if "parse signature" in output or "invalid format" in output:
            return "its signature cannot be read"
        if "namespace does not match" in output:
            return f"its signature was made for another purpose than {NAMESPACE}"
        if "incorrect signature" in output or not self.is_of(statement, signature):
            return CHANGED
        if "namespace" in output:
            return f"the key that signed it may not sign in the namespace {NAMESPACE} ({signers.name})"
        if "expired" in output or "not yet valid" in output:
            return f"the key that signed it is not valid now ({signers.name}: valid-after, valid-before)"
        return f"the key that signed it is not {principal}'s in {signers.name}"

    def _run(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        return run(self.program, *argv, stdin=stdin)


def run(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a program without a terminal: it never prompts.

    Raises:
        ApprovalError: the program cannot be started, or does not end.
    """
    # No terminal and no askpass helper: a key that needs a passphrase counts as absent.
    env = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, env=env, timeout=_TIMEOUT, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApprovalError(f"{argv[0]}: {error}") from None
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return subprocess.CompletedProcess(argv, done.returncode, out, err)


def usable_keys(files: Iterable[Path]) -> frozenset[str]:
    """Fingerprints of the keys that this person can use: the files, ~/.ssh/id_*, and those in the agent."""
    keygen = Keygen()
    own = sorted((Path.home() / ".ssh").glob("id_*"))
    found = {keygen.fingerprint(key) for key in {*files, *own} if key.is_file()}
    agent = shutil.which("ssh-add")
    if agent is not None and os.environ.get("SSH_AUTH_SOCK"):
        found |= set(re.findall(r"\bSHA256:\S+", run(agent, "-l").stdout))
    return frozenset(key for key in found if key)


def has_uncommitted_changes(project: Path, file: str) -> bool:
    """Whether a file of a git checkout differs from its commit; False without git or a checkout."""
    git = shutil.which("git")
    if git is None:
        return False
    argv = (git, "--no-optional-locks", "-C", str(project), "status", "--porcelain", "--", file)
    return bool(run(*argv).stdout.strip())
