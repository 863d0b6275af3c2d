"""Why the controller could not get a commit's modules and what to do, read from go's and git's output. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["disk", "toolchain", "mismatch", "unsummed", "credential", "offline", "missing", "network", "unknown"]


@dataclass(frozen=True)
class ModuleFailure:
    """One class of failure."""

    kind: Kind
    cause: str
    """One line."""
    remedy: str
    """One line: what to change, by its key in group data where there is one."""


#: What a wrong hash means and what to do, for both sides. Emptying a cache is no remedy: it asks the same server again.
MISMATCH_REMEDY = (
    "somebody moved the version's tag, or the server or a proxy gives other code: compare with the module's author "
    "before anything is built; only if the new code is wanted, update go.sum in the source, in a reviewed commit"
)
#: A folder that go.mod or go.work leads to and that the commit does not have; for both sides.
OUTSIDE = (
    r"\(replaced by (?:\.\.?/\S*|/\S*)\): reading \S+go\.mod: |replacement directory \S+ does not exist"
    r"|cannot load module \S+ listed in go\.work file: open "
)
OUTSIDE_CAUSE = "go.mod (`replace`) or go.work leads to a folder that is not in the commit: {0}"
OUTSIDE_REMEDY = (
    "nothing beside the commit is built: put that module into the repository, require a version of it, or set "
    "source.submodules: true where the folder is one; build.environment GOWORK: 'off' leaves go.work out"
)
_LOGIN = (
    "log in on the controller (git credential helper, netrc, ssh key in the agent), or name the place of a token in "
    "build.private.logins"
)
_MODULE = r"(?P<module>[\w-]+(?:\.[\w-]+)+(?:/[\w.~+-]+)*(?:@v[\w.+-]+)?)"

#: Without a login of ours nobody knows whether there was none or a wrong one.
_WORDS = {
    True: {
        "refuses": "refuses the credential",
        "renew": "the token is wrong, expired or may not read that repository: renew it where {logins} names it",
    },
    False: {"refuses": "wants a credential, or refuses the one of this user", "renew": _LOGIN},
}
#: (kind, pattern over the whole output, cause, remedy); {0} is the matching line, {module}, {host}, ... groups.
_RULES: tuple[tuple[Kind, str, str, str], ...] = (
    (
        "disk",
        r"(?i)no space left on device|disk quota exceeded",
        "the controller's disk is full: {0}",
        "free space below the controller's folder ({home})",
    ),
    (
        "toolchain",
        r"requires go ?>=? ?(?P<go>[\w.]+) \(running go (?P<own>[\w.]+)",
        "a module needs Go {go}, the controller has {own}: {0}",
        "put a newer Go on the controller's PATH, or pin one with os: linux in toolchain.pins",
    ),
    (
        "mismatch",
        r"verifying (?P<module>\S+?): checksum mismatch\s+downloaded:\s*(?P<got>\S+)\s+(?P<who>[\w.]+):\s*(?P<sum>\S+)",
        "{module} is not the code that {who} names (it has {got}, {who} says {sum})",
        MISMATCH_REMEDY,
    ),
    (
        "mismatch",
        r"SECURITY ERROR|checksum mismatch",
        "a module is not the code that go.sum names: {0}",
        MISMATCH_REMEDY,
    ),
    (
        "unsummed",
        r"missing go\.sum entry|updates to go\.(?:mod|sum) needed",
        "go.sum lacks an entry: {0}",
        "run `go mod tidy` in the source and commit go.mod and go.sum",
    ),
    (
        "missing",
        OUTSIDE,
        OUTSIDE_CAUSE,
        OUTSIDE_REMEDY,
    ),
    (
        "missing",
        r"reading (?P<url>https?://(?P<host>[^/\s]+)/\S*?): (?:404|410) ",
        "{host} has no such module: {0}",
        "correct the version in go.mod; if the module is private, name it in build.private.patterns, so that it is "
        "fetched from its own server",
    ),
    (
        "credential",
        r"Authentication failed for '(?P<url>[^']+)'|HTTP Basic: Access denied|(?:returned error: |\b)40[13]\b"
        r"(?: Unauthorized| Forbidden)?",
        "the server {refuses} for {module}: {0}",
        "{renew}",
    ),
    (
        "credential",
        r"could not read (?:Username|Password)|terminal prompts disabled|If this is a private repository",
        "no credential for {module}: {0}",
        _LOGIN,
    ),
    (
        "credential",
        r"Permission denied \((?:publickey|password)[^)]*\)|Host key verification failed"
        r"|Too many authentication failures",
        "ssh refuses the login for {module}: {0}",
        "load a key that the server accepts (ssh-add -l lists them) and connect once, so that its host key is known",
    ),
    (
        "offline",
        r"module lookup disabled by GOPROXY=off",
        "{module} is not in the controller's cache, and source_offline=true lets nobody be asked: {0}",
        "run once without source_offline while proxy and git servers answer, or set build.modules: vendor",
    ),
    (
        "network",
        r"(?i)dial tcp|no such host|connection refused|i/o timeout|TLS handshake|x509:|certificate|proxyconnect"
        r"|network is unreachable|could not resolve host|failed to connect|couldn't connect|connection timed out"
        r"|connection reset|unexpected EOF|no route|bad gateway|service unavailable|gateway time-?out|\b50[234]\b"
        r"|proxy authentication required",
        "{module} cannot be downloaded: {0}",
        "check the controller's network and proxy (HTTPS_PROXY, build.private.proxy); a build whose modules are cached "
        "needs neither",
    ),
    (
        "missing",
        r"unknown revision|invalid version|no matching versions|does not appear to be a git repository"
        r"|[Rr]epository .*not found|repository does not exist|not found|unrecognized import path|404|410",
        "not found: {0}",
        "correct go.mod (`go mod tidy`), push the missing version, or see whether this login may read that repository",
    ),
)


def classify(
    output: str, *, home: str = "", logins: str = "", timed_out: float | None = None, full: bool = False
) -> ModuleFailure:
    """What the output of a failed go command of the controller means.

    Args:
        output: stdout and stderr together.
        home: the controller's folder, for the remedy.
        logins: where credentials come from, for the remedy; empty: the user's own.
        timed_out: seconds after which it was ended, if it was.
        full: the disk it writes to has next to nothing free.
    """
    if timed_out is not None:
        return ModuleFailure(
            "network", f"not finished after {timed_out:g} s", "check the controller's network, or raise build.timeout"
        )
    if full:
        output = f"no space left on device\n{output}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for kind, pattern, cause, remedy in _RULES:
        match = re.search(pattern, output)
        if match:
            line = next((one for one in lines if re.search(pattern, one)), lines[0] if lines else "")
            words = {"0": _short(line.removesuffix("; to add it:")), "home": home, **_WORDS[bool(logins)]}
            words |= {"module": _module(lines)} | {name: text for name, text in match.groupdict().items() if text}
            return ModuleFailure(kind, _fill(cause, words), _fill(remedy, words).replace("{logins}", logins))
    told = [line for line in lines if not line.startswith(("go: downloading", "#"))]
    cause = " | ".join(_short(line, 150) for line in told[-2:]) or "go said nothing"
    return ModuleFailure("unknown", cause, "run `go mod download` in a checkout on the controller to see all of it")


def _module(lines: list[str]) -> str:
    found = (re.search(_MODULE + r"(?=[:\s@])", line) for line in lines if not line.startswith("go: downloading"))
    return next((match["module"] for match in found if match and "/" in match["module"]), "a module")


def _fill(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words.get(match.group(1), "?"), text)


def _short(line: str, most: int = 260) -> str:
    return line if len(line) <= most else line[: most - 3] + "..."
