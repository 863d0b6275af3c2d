"""Data of the builders: which Go, Git and Zig they get, and the SHA-256 that each archive must have.

The SHA-256 are the vendors' own. For a new Go, `gofallback pins go 1.27.1` prints it (`--os linux` for Linux builders).
For Git for Windows, and for dugite-native (a Git for Linux that runs from any folder), see the notes of their releases;
for Zig its download page. Zig is installed only on builders whose services have C. A service that needs another Go sets
`build: {go: "1.25.1"}`; the pin of that Go belongs here too.
"""

_GO = "https://dl.google.com/go/"
_ZIG = "https://ziglang.org/download/0.15.2/"
_DUGITE = "https://github.com/desktop/dugite-native/releases/download/v2.56.1/"
_GIT = "https://github.com/git-for-windows/git/releases/download/v2.55.0.windows.5/"

toolchain = {
    "go": "1.27.0",
    "git": "2.55.0.5",
    "linux_git": "2.56.1",
    "zig": "0.15.2",
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
        {
            "tool": "go",
            "version": "1.27.0",
            "os": "linux",
            "kind": "tar",
            "url": f"{_GO}go1.27.0.linux-amd64.tar.gz",
            "sha256": "675c26c449cbb18fc24b74650de1eabbae6e16f64326fd85a283fb3b58280685",
        },
        {
            "tool": "go",
            "version": "1.27.0",
            "os": "linux",
            "kind": "tar",
            "arch": "arm64",
            "url": f"{_GO}go1.27.0.linux-arm64.tar.gz",
            "sha256": "51798d2c42d0e1c6ed7fd9f48728b4193abac9e8aad6dbac2fe96a81f5909bda",
        },
        {
            "tool": "git",
            "version": "2.56.1",
            "os": "linux",
            "kind": "tar",
            "url": f"{_DUGITE}dugite-native-v2.56.1-238326e-ubuntu-x64.tar.gz",
            "sha256": "e5bc3e8e80b57a5bcd8da18d59b23f5b39533d19019ac1d50b0bd34f051d111d",
        },
        {
            "tool": "git",
            "version": "2.56.1",
            "os": "linux",
            "kind": "tar",
            "arch": "arm64",
            "url": f"{_DUGITE}dugite-native-v2.56.1-238326e-ubuntu-arm64.tar.gz",
            "sha256": "8626f036e1235f5b209d8331c368d85a9790988fb21a443e5f61662a178abcb6",
        },
        {
            "tool": "zig",
            "version": "0.15.2",
            "url": f"{_ZIG}zig-x86_64-windows-0.15.2.zip",
            "sha256": "3a0ed1e8799a2f8ce2a6e6290a9ff22e6906f8227865911fb7ddedc3cc14cb0c",
        },
        {
            "tool": "zig",
            "version": "0.15.2",
            "os": "linux",
            "kind": "tar",
            "url": f"{_ZIG}zig-x86_64-linux-0.15.2.tar.xz",
            "sha256": "02aa270f183da276e5b5920b1dac44a63f1a49e55050ebde3aecc9eb82f93239",
        },
    ],
}
