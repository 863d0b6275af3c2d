"""Makes an approval: finds the person's key, signs, and writes statement and signature into the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gofallback.approval.digest import ApprovalError
from gofallback.approval.keygen import Keygen, run
from gofallback.approval.signers import Signer, names_of
from gofallback.approval.statement import NAMESPACE, Statement


@dataclass(frozen=True)
class Key:
    """A key that this person can sign with."""

    fingerprint: str
    public: str
    """Its line in a .pub file; empty where only the private key exists."""
    file: Path | None
    """None: the key is in the agent."""


def choose_key(
    keygen: Keygen, signers: Sequence[Signer], file: Path | None, principal: str | None, now: datetime
) -> tuple[Key, str]:
    """The key to sign with, and its principal.

    Args:
        keygen: ssh-keygen.
        signers: of allowed_signers.
        file: the key the person named; default: the one key in the agent or ~/.ssh that may sign.
        principal: the name the person gave; default: the one allowed_signers has for the key.
        now: aware.

    Raises:
        ApprovalError: there is no key, there are several, or allowed_signers has no principal for it.
    """
    able = [one for one in signers if one.may_sign(now) and (principal is None or principal in one.names)]
    if file is not None:
        key = _key_of_file(keygen, file)
    else:
        fitting = {key.fingerprint: key for key in _own_keys(keygen) if names_of(able, [key.fingerprint])}
        if len(fitting) != 1:
            whom = f" as {principal}" if principal else ""
            problem = "several keys of yours" if fitting else "no key of yours (ssh-agent, ~/.ssh/id_*)"
            raise ApprovalError(f"{problem} may sign{whom} by allowed_signers; name one with --key FILE")
        key = next(iter(fitting.values()))
    names = names_of(able, [key.fingerprint])
    if not names:
        line = " ".join(key.public.split()[:2]) or "the key's line from its .pub file"
        raise ApprovalError(
            f"key {key.fingerprint} may not approve{f' as {principal}' if principal else ''}; have a line like "
            f'{principal or "you@example.com"} namespaces="{NAMESPACE}" {line}'
            " put into allowed_signers"
        )
    if len(names) > 1:
        raise ApprovalError(f"the key belongs to {', '.join(names)} in allowed_signers; name one with --as")
    return key, names[0]


def sign(keygen: Keygen, key: Key, statement: Statement) -> bytes:
    """The signature. ssh-keygen may ask for a passphrase or a touch, on the terminal.

    Raises:
        ApprovalError: ssh-keygen failed.
    """
    with _key_file(key) as file:
        argv = (keygen.program, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(file))
        done = subprocess.run(argv, input=statement.text(), stdout=subprocess.PIPE, check=False)
    if done.returncode != 0 or not done.stdout:
        raise ApprovalError("ssh-keygen made no signature (see above); nothing was written")
    return done.stdout


def write_approval(folder: Path, statement: Statement, signature: bytes) -> tuple[Path, Path]:
    """Write statement and signature; each appears whole, and replaces an earlier one of the same person.

    Raises:
        ApprovalError: the disk refuses.
    """
    file = folder / f"{statement.principal}.json"
    made = (file, file.with_name(file.name + ".sig"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(made, (statement.text(), signature), strict=True):
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.write_bytes(content)
            part.replace(path)
    except OSError as error:
        raise ApprovalError(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    return made


def _key_of_file(keygen: Keygen, file: Path) -> Key:
    fingerprint = keygen.fingerprint(file)
    if fingerprint is None:
        raise ApprovalError(f"{file}: is no SSH key, or cannot be read")
    public = file if file.suffix == ".pub" else file.with_name(file.name + ".pub")
    return Key(fingerprint, public.read_text(errors="replace").strip() if public.is_file() else "", file)


def _own_keys(keygen: Keygen) -> Iterator[Key]:
    """Keys of ~/.ssh, then those of the agent: there the same key needs no passphrase, so it wins."""
    for public in sorted((Path.home() / ".ssh").glob("id_*.pub")):
        private = public.with_suffix("")
        if keygen.fingerprint(public):
            yield _key_of_file(keygen, private if private.exists() else public)
    agent = shutil.which("ssh-add")
    if agent is None or not os.environ.get("SSH_AUTH_SOCK"):
        return
    for line in run(agent, "-L").stdout.splitlines():
        key = Key("", line, None)
        with _key_file(key) as file:
            fingerprint = keygen.fingerprint(file)
        if fingerprint:
            yield Key(fingerprint, line, None)


@contextmanager
def _key_file(key: Key) -> Iterator[Path]:
    """A file that names the key to ssh-keygen: its own, or its public half where the key is in the agent."""
    if key.file is not None:
        yield key.file
        return
    with tempfile.NamedTemporaryFile("w", prefix="gofallback-", suffix=".pub") as file:
        file.write(key.public + "\n")
        file.flush()
        yield Path(file.name)
