"""Why the controller could not get a commit's modules and what to do, read from go's and git's output. Pure."""

from __future__ import annotations

from dataclasses import replace

from gofallback.gobuild.failure import Failure, Rule, by_rule, last_lines, output_lines
from gofallback.gobuild.failure_rules import MISMATCH_REMEDY, OUTSIDE
from gofallback.source.git_errors import NO_ANSWER

_LOGIN = (
    "log in on the controller (git credential helper, netrc, ssh key in the agent), or name the place of a token in "
    "build.private.logins"
)
#: ``{home}``, ``{refuses}`` and ``{renew}``: see `classify`.
_RULES: tuple[Rule, ...] = (
    Rule(
        "disk",
        r"(?i)no space left on device",  # git writes it with a capital letter
        "free space below the controller's folder ({home})",
        "the controller's disk is full: {0}",
    ),
    Rule(
        "toolchain",
        r"requires go ?>=? ?(?P<go>[\w.]+) \(running go (?P<own>[\w.]+)",
        "put a newer Go on the controller's PATH, or pin one with os: linux in toolchain.pins",
        "a module needs Go {go}, the controller has {own}: {0}",
    ),
    Rule(
        "mismatch",
        r"verifying (?P<module>\S+?): checksum mismatch\s+downloaded:\s*(?P<got>\S+)\s+(?P<who>[\w.]+):\s*(?P<sum>\S+)",
        MISMATCH_REMEDY,
        "{module} is not the code that {who} names (it has {got}, {who} says {sum})",
    ),
    Rule(
        "unsummed",
        r"missing go\.sum entry",
        "run `go mod tidy` in the source and commit go.mod and go.sum",
        "go.sum lacks an entry: {0}",
    ),
    Rule("unsummed", r"updates to go\.mod needed", "run `go mod tidy` in the source and commit go.mod and go.sum"),
    replace(OUTSIDE, kind="missing"),
    Rule(
        "missing",
        r"reading https?://(?P<host>[^/\s]+)/\S*?: (?:404|410) ",
        "correct the version in go.mod; if the module is private, name it in build.private.patterns, so that it is "
        "fetched from its own server",
        "{host} has no such module: {0}",
    ),
    Rule(
        "credential",
        r"Authentication failed for '|\b40[13]\b",
        "{renew}",
        "the server {refuses} for {module}: {0}",
    ),
    Rule("credential", r"could not read Username", _LOGIN, "no credential for {module}: {0}"),
    Rule(
        "credential",
        r"Permission denied \((?:publickey|password)[^)]*\)|Host key verification failed",
        "load a key that the server accepts (ssh-add -l lists them) and connect once, so that its host key is known",
        "ssh refuses the login for {module}: {0}",
    ),
    Rule(
        "offline",
        r"module lookup disabled by GOPROXY=off",
        "run once without source_offline while proxy and git servers answer, or set build.modules: vendor",
        "{module} is not in the controller's cache, and with source_offline=true no server is asked: {0}",
    ),
    Rule(
        "network",
        r'Get "https?://|certificate|Could not resolve host|[Cc]onnection (?:refused|reset)|i/o timeout|unexpected EOF'
        rf"|\b50[234]\b|{NO_ANSWER}",
        "check the controller's network and proxy (HTTPS_PROXY, build.private.proxy); a build whose modules are cached "
        "needs neither",
        "{module} cannot be downloaded: {0}",
    ),
    Rule(
        "missing",
        r"unknown revision|invalid version|does not appear to be a git repository|not found|unrecognized import path",
        "correct go.mod (`go mod tidy`), push the missing version, or see whether this login may read that repository",
        "not found: {0}",
    ),
)


def classify(
    output: str, *, home: str = "", logins: str = "", timed_out: float | None = None, full: bool = False
) -> Failure:
    """The failure behind the output of a go command on the controller.

    Args:
        output: stdout and stderr together.
        home: the controller's folder, for the remedy.
        logins: where credentials come from, for the remedy; empty: the user's own.
        timed_out: seconds after which the command was ended, if it was.
        full: the disk that go writes to has next to nothing free.
    """
    if timed_out is not None:
        return Failure(
            "network", f"not finished after {timed_out:g} s", "check the controller's network, or raise build.timeout"
        )
    lines = output_lines(f"no space left on device\n{output}" if full else output)
    words = {"home": home, "refuses": "wants a credential, or refuses the one of this user", "renew": _LOGIN}
    if logins:  # without one of ours nobody knows whether there was none or a wrong one
        words["refuses"] = "refuses the credential"
        words["renew"] = (
            f"the token is wrong, expired or may not read that repository: renew it where {logins} names it"
        )
    return by_rule(_RULES, lines, words) or Failure(
        "unknown", last_lines(lines), "run `go mod download` in a checkout on the controller to see all of it"
    )
