"""Data of the hosts that build: which Go and Git they get, and the SHA-256 each archive must have.

The figures are the vendors' own. New ones: `gofallback pins go 1.27.1` prints Go's; those of Git for Windows stand in
the notes of its releases. A service that needs another Go says so (`build: {go: "1.25.1"}`); its pin belongs here too.
"""

_GO = "https://dl.google.com/go/"
_GIT = "https://github.com/git-for-windows/git/releases/download/v2.55.0.windows.5/"

toolchain = {
    "go": "1.27.0",
    "git": "2.55.0.5",
    "pins": [
        {
            "tool": "go",
            "version": "1.27.0",
            "url": f"{_GO}go1.27.0.windows-amd64.zip",
            "sha256": "f0c0a0d33ba94f4d2c5dbc887334ce678b21813504ddb3aafcb06e60a5a667c4",
        },
        {
            "tool": "go",
            "version": "1.27.0",
            "arch": "arm64",
            "url": f"{_GO}go1.27.0.windows-arm64.zip",
            "sha256": "6e0156b9788209931dd340fadc04171ce15063c17b51c92e7b86b51109626e90",
        },
        {
            "tool": "go",
            "version": "1.25.1",
            "url": f"{_GO}go1.25.1.windows-amd64.zip",
            "sha256": "4a974de310e7ee1d523d2fcedb114ba5fa75408c98eb3652023e55ccf3fa7cab",
        },
        {
            "tool": "git",
            "version": "2.55.0.5",
            "url": f"{_GIT}MinGit-2.55.0.5-64-bit.zip",
            "sha256": "56d7b226b7693196cfc71fef26568f536c4a021ab6c37ff2db4287bed908e96e",
        },
        {
            "tool": "git",
            "version": "2.55.0.5",
            "arch": "arm64",
            "url": f"{_GIT}MinGit-2.55.0.5-arm64.zip",
            "sha256": "05843f9d6e60306c3ab886799e2c67200caab921571f10512df3493049179ddb",
        },
    ],
}
