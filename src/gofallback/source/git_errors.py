"""What git's complaint about a remote means, in one clause with a remedy. Pure."""

from __future__ import annotations

import re

#: What git, curl and ssh print when no server answers.
NO_ANSWER = (
    r"Failed to connect|[Tt]imed out|Operation too slow|No route to host|Network is unreachable|Connection reset"
    r"|CONNECT tunnel failed|returned error: 50[234]"
)
#: (pattern in git's or ssh's English output, cause, remedy), the first match counts. Each has a test on real output.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"dubious ownership",
        "git refuses a repository that belongs to another user",
        "run as its owner, or add it to safe.directory with `git config --global`",
    ),
    (
        r"Host key verification failed",
        "the server's ssh host key is not known here",
        "connect to it once with ssh, or add its key to known_hosts",
    ),
    (
        r"Permission denied \(",
        "the server refuses this user's ssh key",
        "load a key it accepts (ssh-add -l lists them)",
    ),
    (
        r"could not read Username|Authentication failed|returned error: 40[13]",
        "the server wants a credential",
        "set up a git credential helper or an ssh key; prompts are never answered",
    ),
    (r"Could not resolve host", "its host name cannot be resolved", "check the name and this machine's DNS"),
    (r"Connection refused", "the connection is refused", "check that the server is up and the port"),
    (NO_ANSWER, "it does not answer", "check the network"),
    (
        r"certificate",
        "its TLS certificate is not accepted",
        "check the certificate, http.sslCAInfo and the clock",
    ),
    (r"No space left on device", "this machine's disk is full", "free space below the controller's folder"),
    (
        r"mismatched algorithms: client sha1; server sha256",
        "its commits have SHA-256 names, which gofallback and most git servers do not know",
        "use a repository with SHA-1 names",
    ),
    (
        r"not found|not appear to be a git repository",
        "there is no repository that this user may see",
        "check source.repository and the access rights",
    ),
    (
        r"transport '.*' not allowed|'.*' is not a git command",
        "git cannot use such an address",
        "use ssh://, https:// or a path",
    ),
)


def explain(output: str, *, timeout: float | None = None) -> tuple[str, str]:
    """The cause and the remedy behind git's output, each one clause without a full stop.

    Args:
        output: stderr of git and ssh, in the C locale.
        timeout: seconds after which git was ended, if it was.
    """
    if timeout is not None:
        return f"no answer within {timeout:g} s", "check the network"
    for pattern, cause, remedy in _CAUSES:
        if re.search(pattern, output):
            return cause, remedy
    return last_line(output) or "git gave no reason", "try `git ls-remote` on this machine"


def last_line(output: str) -> str:
    """The most telling line of git's output: the last ``fatal:`` or ``error:``, else the last line."""
    lines = [
        line.strip() for line in output.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))
    ]
    errors = [line for line in lines if re.match(r"(fatal|error|remote: error|ssh): ", line)]
    chosen = (errors or lines or [""])[-1]
    return re.sub(r"^(fatal|error): ", "", chosen)[:300]


def ago(seconds: float) -> str:
    """A length of time for people: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{int(max(seconds, 0) // size)} {unit}"
    return f"{int(seconds // 86400)} days"
