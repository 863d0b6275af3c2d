"""ssh-keygen and ssh-add: is this signature good, which keys are these. No other module here starts a program."""

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

#: Seconds; each answers within milliseconds, an agent on a token that waits for a touch is not asked to sign here.
_PATIENCE = 15
_GOOD = re.compile(r'^Good "[^"]*" signature .*with \S+ key (SHA256:\S+)$', re.M)

#: Why a signature that is not of this text does not count.
CHANGED = "the statement was changed after it was signed"


@dataclass(frozen=True)
class Answer:
    """What ssh-keygen says about a signature."""

    key: str | None
    """Fingerprint of the key that made it (of the certified key, for a certificate); None: it does not count."""
    why: str = ""
    """Why it does not, in ssh-keygen's words or ours."""


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

    def verify(self, signers: Path, principal: str, statement: bytes, signature: Path) -> Answer:
        """Whether the signature is the principal's, in our namespace, by a key that may sign now."""
        words = ("-Y", "verify", "-f", str(signers), "-I", principal, "-n", NAMESPACE, "-s", str(signature))
        done = self._ask(*words, given=statement)
        good = _GOOD.search(done.stdout)
        if done.returncode == 0 and good:
            return Answer(good[1])
        return Answer(None, self._why(done.stderr, signers, principal, statement, signature))

    def genuine(self, statement: bytes, signature: Path) -> bool:
        """Whether the signature is of this very text, whoever made it."""
        words = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature))
        return self._ask(*words, given=statement).returncode == 0

    def fingerprint(self, key: Path) -> str | None:
        """Fingerprint of a key file, private or public; None: it is none, or cannot be read."""
        found = re.search(r"\bSHA256:\S+", self._ask("-l", "-f", str(key)).stdout)
        return found[0] if found else None

    def _why(self, said: str, signers: Path, principal: str, statement: bytes, signature: Path) -> str:
        """The cause in words (OpenSSH 8.2 to 10: ssh-keygen.c, sshsig.c)."""
        if "parse signature" in said or "invalid format" in said:
            return "its signature cannot be read"
        if "namespace does not match" in said:
            return f"its signature was made for another purpose than {NAMESPACE}"
        if "incorrect signature" in said or not self.genuine(statement, signature):
            return CHANGED
        if "namespace" in said:
            return f"the key that signed it may not sign in the namespace {NAMESPACE} ({signers.name})"
        if "expired" in said or "not yet valid" in said:
            return f"the key that signed it is not valid now ({signers.name}: valid-after, valid-before)"
        return f"the key that signed it is not {principal}'s in {signers.name}"

    def _ask(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        return ask(self.program, *words, given=given)


def ask(*argv: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a program of OpenSSH that asks nobody anything.

    Raises:
        ApprovalError: it cannot be started, or does not end.
    """
    # No terminal and no helper to ask for a passphrase: what needs one is not there.
    env = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            argv, input=given, capture_output=True, env=env, timeout=_PATIENCE, start_new_session=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApprovalError(f"{argv[0]}: {error}") from None
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return subprocess.CompletedProcess(argv, done.returncode, out, err)


def keys_at_hand(files: Iterable[Path]) -> frozenset[str]:
    """Fingerprints of the keys that whoever runs this can use: the files, ~/.ssh/id_*, and what the agent holds."""
    keygen = Keygen()
    mine = sorted((Path.home() / ".ssh").glob("id_*"))
    found = {keygen.fingerprint(key) for key in {*files, *mine} if key.is_file()}
    agent = shutil.which("ssh-add")
    if agent is not None and os.environ.get("SSH_AUTH_SOCK"):
        found |= set(re.findall(r"\bSHA256:\S+", ask(agent, "-l").stdout))
    return frozenset(key for key in found if key)


def uncommitted(project: Path, file: str) -> bool:
    """Whether a file of a git checkout is not as it was committed; False where there is no git or no checkout."""
    git = shutil.which("git")
    if git is None:
        return False
    argv = (git, "--no-optional-locks", "-C", str(project), "status", "--porcelain", "--", file)
    return bool(ask(*argv).stdout.strip())
