"""Complaints of a real git 2.39, curl and OpenSSH about a remote, and the cause and remedy for each."""

from __future__ import annotations

import pytest

from gofallback.source.git_errors import explain

URL = "fatal: unable to access 'https://git.example.com/x.git/': "
SSH = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\n"


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("fatal: detected dubious ownership in repository at '/srv/r/.git'" + SSH, "belongs to another user"),
        ("Host key verification failed." + SSH, "ssh host key is not known"),
        ("git@host: Permission denied (publickey)." + SSH, "refuses this user's ssh key"),
        ("fatal: could not read Username for 'https://x': terminal prompts disabled", "wants a credential"),
        ("fatal: Authentication failed for 'https://git.example.com/x.git/'", "wants a credential"),
        (URL + "The requested URL returned error: 403", "wants a credential"),
        (URL + "Could not resolve host: git.example.com", "cannot be resolved"),
        ("ssh: Could not resolve hostname host: Name or service not known" + SSH, "cannot be resolved"),
        ("ssh: connect to host 127.0.0.1 port 9: Connection refused" + SSH, "connection is refused"),
        (URL + "Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server", "does not answer"),
        ("Connection timed out during banner exchange\nConnection to host port 22 timed out" + SSH, "does not answer"),
        (URL + "Operation too slow. Less than 100 bytes/sec transferred the last 30 seconds", "does not answer"),
        ("ssh: connect to host 10.1.2.3 port 22: No route to host" + SSH, "does not answer"),
        ("ssh: connect to host 10.1.2.3 port 22: Network is unreachable" + SSH, "does not answer"),
        (URL + "Recv failure: Connection reset by peer", "does not answer"),
        (URL + "CONNECT tunnel failed, response 502", "does not answer"),
        (URL + "The requested URL returned error: 503", "does not answer"),
        (URL + "server certificate verification failed. CAfile: none CRLfile: none", "certificate is not accepted"),
        ("fatal: unable to write loose object file: No space left on device", "disk is full"),
        ("fatal: repository 'https://git.example.com/x.git/' not found", "no repository that this user may see"),
        ("fatal: '/srv/x' does not appear to be a git repository" + SSH, "no repository that this user may see"),
        ("fatal: transport 'ext' not allowed", "cannot use such an address"),
        ("git: 'remote-foo' is not a git command. See 'git --help'.", "cannot use such an address"),
    ],
)
def test_a_complaint_about_a_remote_has_a_cause_and_a_remedy(output: str, cause: str) -> None:
    found, remedy = explain(output)
    assert cause in found and remedy and "\n" not in found + remedy


def test_a_complaint_that_nobody_knows_is_shown_itself() -> None:
    assert explain("warning: x\nerror: odd\nfatal: very odd\nhint: y") == (
        "very odd",
        "try `git ls-remote` on this machine",
    )
