"""Failures of go on the controller, each with its cause and its remedy."""

from __future__ import annotations

import pytest

from gofallback.gobuild.build_failure import classify as build_failure
from gofallback.gobuild.module_failure import classify

#: Output of go 1.26.6 about a folder beside the commit, or of a submodule that is not brought.
OUTSIDE = [
    "main.go:3:8: example.com/out@v1.0.0: replacement directory ../../elsewhere/out does not exist",
    "go: example.com/out@v1.0.0 (replaced by ../../elsewhere/out): reading ../../elsewhere/out/go.mod: "
    "open /home/elsewhere/out/go.mod: no such file or directory",
    "go: cannot load module ../elsewhere/lib listed in go.work file: open ../elsewhere/lib/go.mod: no such file or "
    "directory",
]


@pytest.mark.parametrize("output", OUTSIDE)
def test_a_folder_that_is_not_in_the_commit_is_named_on_both_sides(output: str) -> None:
    for found in (build_failure(output, 1, False), classify(output)):
        assert found.cause.startswith("go.mod (`replace`) or go.work leads to a folder that is not in the commit")
        assert "put that module into the repository" in found.remedy and "source.submodules: true" in found.remedy


OUTPUTS = {
    "mismatch": (
        "verifying git.example.test/dep@v1.0.0: checksum mismatch\n\tdownloaded: h1:one=\n\tgo.sum:     h1:two=\n\n"
        "SECURITY ERROR\nThis download does NOT match an earlier download recorded in go.sum.\n",
        "git.example.test/dep@v1.0.0 is not the code that go.sum names (it has h1:one=, go.sum says h1:two=)",
        "moved the version's tag",
    ),
    "unsummed": (
        "go: git.example.test/dep@v1.0.0: missing go.sum entry for go.mod file; to add it:\n\tgo mod download ...",
        "go.sum lacks an entry: go: git.example.test/dep@v1.0.0: missing go.sum entry for go.mod file",
        "go mod tidy",
    ),
    "missing": (
        "go: git.example.test/dep@v1.9.0: invalid version: unknown revision v1.9.0",
        "not found: go: git.example.test/dep@v1.9.0",
        "push the missing version",
    ),
    "credential": (
        "go: git.example.test/dep@v1.0.0: git ls-remote -q origin: exit status 128:\n"
        "\tfatal: could not read Username for 'https://git.example.test': terminal prompts disabled",
        "no credential for git.example.test/dep@v1.0.0",
        "build.private.logins",
    ),
    "toolchain": (
        "go: go.mod requires go >= 1.99 (running go 1.26.6; GOTOOLCHAIN=local)",
        "needs Go 1.99, the controller has 1.26.6",
        "os: linux in toolchain.pins",
    ),
    "network": (
        'go: git.example.test/dep@v1.0.0: Get "https://proxy.test/x": dial tcp 10.0.0.1:443: connection refused',
        "git.example.test/dep@v1.0.0 cannot be downloaded",
        "build.private.proxy",
    ),
    "disk": (
        "go: git.example.test/dep@v1.0.0: write /h/x.zip: no space left on device",
        "disk is full",
        "/home/of/it",
    ),
    "offline": (
        "go: git.example.test/dep@v1.0.0: module lookup disabled by GOPROXY=off",
        "git.example.test/dep@v1.0.0 is not in the controller's cache",
        "source_offline",
    ),
    "unknown": ("go: something new\n", "go: something new", "go mod download"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_output_of_go_on_the_controller_gets_a_cause_and_a_remedy(kind: str) -> None:
    text, cause, remedy = OUTPUTS[kind]
    failure = classify(text, home="/home/of/it")
    assert "to add it" not in failure.cause  # go's own advice is cut off, ours stands behind
    assert failure.kind == kind
    assert cause in failure.cause
    assert remedy in failure.remedy
    assert "\n" not in failure.cause + failure.remedy


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "network",
            'Get "https://localhost/x/@v/v1.0.0.mod": tls: failed to verify certificate: x509: unknown authority',
        ),
        ("network", 'unrecognized import path "a.test/b": https fetch: Get "https://a.test/b?go-get=1": Bad Gateway'),
        ("network", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 502 Bad Gateway"),
        ("network", "fatal: unable to access 'https://a.test/b/': CONNECT tunnel failed, response 502"),
        ("network", "ssh: connect to host a.test port 22: Network is unreachable"),
        (
            "network",
            "invalid version: git ls-remote -q origin in /h/vcs/a: exit status 128:\n"
            "\tssh: connect to host a.test port 22: Connection refused\n\tfatal: Could not read from remote.",
        ),
        ("network", "read tcp 10.0.0.2:5000->10.0.0.1:443: read: connection reset by peer"),
        ("network", "reading https://proxy.test/a.test/b/@v/v1.0.0.zip: unexpected EOF"),
        ("disk", "git fetch -f origin: exit status 128:\n\tfatal: write error: No space left on device"),
        ("missing", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 410 Gone"),
        ("credential", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 401 Unauthorized"),
        ("unsummed", "updates to go.mod needed; to update it:\n\tgo mod tidy"),
    ],
)
def test_more_of_what_go_and_git_print_on_the_controller(kind: str, text: str) -> None:
    assert classify(f"go: a.test/b@v1.0.0: {text}").kind == kind


def test_a_refused_token_is_shown_with_its_place() -> None:
    text = "go: git.example.test/dep@v1.0.0: fatal: Authentication failed for 'https://git.example.test/dep/'"
    failure = classify(text, logins="build.private.logins git.example.test")
    assert "refuses the credential for git.example.test/dep@v1.0.0" in failure.cause
    assert "renew it where build.private.logins git.example.test names it" in failure.remedy


def test_a_private_module_that_a_public_proxy_does_not_have() -> None:
    text = (
        "go: git.example.test/dep@v1.0.0: reading https://proxy.test/git.example.test/dep/@v/v1.0.0.mod: "
        "404 Not Found\n"
        "\tserver response: not found: fatal: could not read Username: terminal prompts disabled"
    )
    failure = classify(text)
    assert failure.kind == "missing"
    assert "build.private.patterns" in failure.remedy


def test_a_mismatch_is_never_answered_with_an_emptied_cache() -> None:
    assert "clean" not in classify(OUTPUTS["mismatch"][0]).remedy
