"""Programs of other projects, and the Debian packages with their source and their imports.

The packages are checked like those of `lab.windows.pins`: by the archive's signature, and by the SHA-256 here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Program:
    """One program of a Debian `-dev` package."""

    name: str
    version: str
    """Upstream's version: the tag in the repository that the lab makes."""
    folder: str
    """Folder of its module below `/usr/share/gocode/src`."""
    package: str
    """Its main package, as in `build.package`."""
    platforms: tuple[str, ...]
    """Platforms to build, where Debian has the source (it has no `golang.org/x/sys/windows`)."""
    needs: tuple[str, ...]
    """Debian packages with all source for these platforms, named without `golang-` and `-dev`."""
    build: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of `build` in its group data: the stamps of upstream's own releases."""
    version_argument: str = "--version"
    """Argument that prints its version."""
    version_output: str = "{version}"
    """Part of the output for that argument."""
    unit: Mapping[str, Any] = field(default_factory=dict)
    """`unit` in its group data if it is a service; empty if it is started once, by hand."""
    health: Mapping[str, Any] = field(default_factory=dict)
    """`health` in its group data if it is a service."""

    def service(self, repository: str, ref: str) -> dict[str, Any]:
        """Its group data."""
        # Every service needs a health check; that of a program that is no service never runs.
        never = {"check": {"type": "tcp", "address": "127.0.0.1:1"}}
        return {
            "name": self.name,
            "source": {"repository": repository, "ref": ref},
            "build": {"package": self.package, "platforms": list(self.platforms), **self.build},
            "unit": dict(self.unit),
            "health": dict(self.health) or never,
            "smoke": [self.version_argument],
        }


PROGRAMS: Final = (
    Program(
        "age",
        version="v1.2.1",
        folder="filippo.io/age",
        package="./cmd/age",
        platforms=("linux/amd64", "linux/arm64"),
        needs=(
            "filippo-age",
            "filippo-edwards25519",
            "golang-x-crypto",
            "golang-x-sys",
            "golang-x-term",
        ),
        build={"version_variable": "main.Version"},
    ),
    Program(
        "shfmt",
        version="v3.8.0",
        folder="mvdan.cc/sh/v3",
        package="./cmd/shfmt",
        platforms=("linux/amd64", "linux/arm64"),
        needs=(
            "github-google-renameio",
            "github-pkg-diff",
            "golang-x-sys",
            "golang-x-term",
            "mvdan-editorconfig",
            "mvdan-sh",
        ),
        build={"version_variable": "main.version"},
    ),
    Program(
        "chroma",
        version="v2.14.0",
        folder="github.com/alecthomas/chroma/v2",
        package="./cmd/chroma",
        platforms=("linux/amd64", "linux/arm64", "windows/amd64", "darwin/arm64"),
        needs=(
            "github-alecthomas-chroma-v2",
            "github-alecthomas-kong",
            "github-dlclark-regexp2",
            "github-mattn-go-colorable",
            "github-mattn-go-isatty",
            "golang-x-sys",
        ),
        build={"version_variable": "main.version"},
    ),
    Program(
        "etcd",
        version="v3.5.16",
        folder="go.etcd.io/etcd/server",
        package=".",
        platforms=("linux/amd64", "linux/arm64"),
        needs=(
            "etcd-server",
            "github-beorn7-perks",
            "github-cenkalti-backoff",
            "github-cespare-xxhash",
            "github-coreos-bbolt",
            "github-coreos-go-semver",
            "github-coreos-go-systemd",
            "github-dustin-go-humanize",
            "github-go-logr-logr",
            "github-go-logr-stdr",
            "github-gogo-protobuf",
            "github-golang-groupcache",
            "github-golang-jwt-jwt",
            "github-golang-protobuf-1-5",
            "github-google-btree",
            "github-google-uuid",
            "github-gorilla-websocket",
            "github-grpc-ecosystem-go-grpc-prometheus",
            "github-grpc-ecosystem-grpc-gateway",
            "github-jonboulle-clockwork",
            "github-json-iterator-go",
            "github-klauspost-compress",
            "github-modern-go-concurrent",
            "github-modern-go-reflect2",
            "github-munnerz-goautoneg",
            "github-prometheus-client-golang",
            "github-prometheus-client-model",
            "github-prometheus-common",
            "github-prometheus-procfs",
            "github-sirupsen-logrus",
            "github-soheilhy-cmux",
            "github-spf13-cobra",
            "github-spf13-pflag",
            "github-tmc-grpc-websocket-proxy",
            "github-xiang90-probing",
            "go.uber-atomic",
            "go.uber-multierr",
            "go.uber-zap",
            "golang-x-crypto",
            "golang-x-net",
            "golang-x-sys",
            "golang-x-text",
            "golang-x-time",
            "google-genproto",
            "google-grpc",
            "google-protobuf",
            "gopkg-natefinch-lumberjack.v2",
            "k8s-sigs-yaml",
            "opentelemetry-contrib",
            "opentelemetry-otel",
            "opentelemetry-proto",
        ),
        build={"stamp": {"go.etcd.io/etcd/api/v3/version.GitSHA": "{commit}"}},
        version_output="etcd Version: 3.5.16",
        unit={
            "type": "notify",
            "arguments": ["--data-dir", "/var/lib/etcd"],
        },
        health={"check": {"type": "http", "url": "http://127.0.0.1:2379/health", "body": "true"}},
    ),
)

PINS: Final[dict[str, tuple[str, str]]] = {
    "etcd-server": ("3.5.16-4", "f8f4002438e568f329276dc1010b1a474d83d25f5bfd87d9a71520324c9139a7"),
    "filippo-age": ("1.2.1-1", "d457d161b684fd4db66cb430a7ddf8e29ffe17c87b6ffccf99ce46088055f350"),
    "filippo-edwards25519": (
        "1.0.0~rc1+git20210721-0.1",
        "c2e0c1038122caaae070a50611a150f2ba26c4d9bd9938113a2addbed13a26d0",
    ),
    "github-alecthomas-chroma-v2": ("2.14.0-1", "64d528fb2996fb8747989702fd099d33cc69eaa541f3f6c69f15d8a6a386c837"),
    "github-alecthomas-kong": ("0.9.0-1", "f1b5be52f3c3e4809c5838ee165673a9dd94decdc91cd6ebda714ca44bca2107"),
    "github-beorn7-perks": ("1.0.1-3", "7e8a16f73094842f2e52df959ea9f250257f6ecdfda1d9a8bed5c40227229c90"),
    "github-cenkalti-backoff": ("4.3.0-1", "61dc78b285eeb53fb10d7909440ee614b7d473b6c2b1cce732a396db9024c09f"),
    "github-cespare-xxhash": ("2.3.0-1", "dfd909356dfe87bace1327c9fd1f5537641d6cab952816251ac76495331b01f2"),
    "github-coreos-bbolt": ("1.3.10-2", "ead318ff1f07ff70173debd3fcff1f252481816ffb49b0947be502deaf9038b5"),
    "github-coreos-go-semver": ("0.3.0-1", "eca8b6e2eba0b4fce8b86d18b91de9f5ba24663f738f0b3d7fec862fb629cac9"),
    "github-coreos-go-systemd": ("22.5.0-1", "d83a80640269fada4d6503b3b38627ff7d3eedb7b274ca54d0e691e5925efebd"),
    "github-dlclark-regexp2": ("1.11.0+ds1-1", "cf15eef85f497761820c065df55c49a2c02e2c8ca3e039dc716f6ee5e50cabfb"),
    "github-dustin-go-humanize": ("1.0.1-1", "ceb158f58b7f8dae56ad5e2d63b598de7c9c869c1d53883173048e91dd473b40"),
    "github-go-logr-logr": ("1.4.2-2", "5b8b1657114d514556dab93e9557203e9b5dacd17d0310279c32090aefe97bc3"),
    "github-go-logr-stdr": ("1.2.2-4", "c674664d908664441de94488a1db269276d9dd6aea1d3f61a5862f2b7f1dab81"),
    "github-gogo-protobuf": ("1.3.2-3", "8a4647e0b1d90ec2a2e537ee1921df033a837971b51318bab15a896d6fc5a803"),
    "github-golang-groupcache": (
        "0.0~git20210331.41bb18b-1",
        "12c59e6bdb6b32c81922421291b34f959f296cdd940e1d2a46670dd2c0d02b42",
    ),
    "github-golang-jwt-jwt": (
        "5.0.0+really4.5.2-1",
        "718128e4df8ce89159c1a283c4d8714608477c919b474ba1370b115e55ff4da5",
    ),
    "github-golang-protobuf-1-5": ("1.5.4-1", "2acaa782706b5d72e2f2ee1d387a8fd45f0b51c14b0494c28913219df99cb440"),
    "github-google-btree": ("1.0.1-1", "73396a0fc7ec004dddff67574be4d288609f2f571e454417aecd43baa792929e"),
    "github-google-renameio": ("2.0.0-2", "c57b53f9e1fc3c208fed3876c0db1be8e6d3d3938d13c437de34321981b1fa84"),
    "github-google-uuid": ("1.6.0-1", "dac5a782fcd3baee1e74e6129977d5e6accffa1dcb83ded6de13cb4167b6171d"),
    "github-gorilla-websocket": ("1.5.3-1", "f4cfa3ed32bec3c6f374c02ca952a2cfc9cc2052d4964be96fbb376868c886b6"),
    "github-grpc-ecosystem-go-grpc-prometheus": (
        "1.2.0+git20191002.6af20e3-5",
        "a2d0419c364962787f58afe9f7500b3baea785d5f49187ab7915dec2f57ec287",
    ),
    "github-grpc-ecosystem-grpc-gateway": (
        "2.20.0-2",
        "e742bbc35978f1340850179e876232ff27f9f7aaf80c6d1c028c8dadc4dc16e8",
    ),
    "github-jonboulle-clockwork": ("0.1.0-4.1", "fcca32cd963b9add88b1a6954302995161337beafc40fd9f98b9b17ccabb3a84"),
    "github-json-iterator-go": ("1.1.12-2", "fa56435bda7d40f5565636b8ce361e63f6ec73a17e5af4c4734add1feca237f9"),
    "github-klauspost-compress": ("1.18.0+ds1-1", "7add668a5b56de13d2e92b22e2e4e6c693121cedb89d832cd2978c76a814ea19"),
    "github-mattn-go-colorable": ("0.1.13-1", "2f44e9a91e20fc79f675649561888d20d656b06f0837ed821585f2bb0e3942e7"),
    "github-mattn-go-isatty": ("0.0.20-1", "14c0bf07228af69a058d4231876e11d5088aec3b74b3beb3d3c2ddb5ed90aeaf"),
    "github-modern-go-concurrent": ("1.0.3-1.1", "d49fedf2c7a250b2e7b720d37539995a78964b66a61327f466c67a94bab82999"),
    "github-modern-go-reflect2": ("1.0.2-2", "af150a5172cf4c19bb321a53e67103e7fb18d07c1baa1e816a235155265d3948"),
    "github-munnerz-goautoneg": (
        "0.0~git20191010.a7dc8b6-2",
        "17a0c8ce6c9cc9c45c9d395f20396f1f5019c660d84d6254952558c57f8b65dc",
    ),
    "github-pkg-diff": (
        "0.0~git20210226.20ebb0f-1",
        "d0daf8c539da15467a5c9e444359c4b500f7e1fae1a8efbcc44b535c997b92bc",
    ),
    "github-prometheus-client-golang": ("1.21.1-1", "84144ce427b4026191d1c879e4a9e67fc3ef051bf0d3848fba5dce1db84e6694"),
    "github-prometheus-client-model": ("0.6.0-1", "ae72e54a1a0e12974de0926ba562c856cd1960db0f7c2365a539a9c2c3bb8cdf"),
    "github-prometheus-common": ("0.62.0-3", "b396ad00a8b926af109991bda68e2f66f80b42f3f4455e0a322f8aeaad58e3fd"),
    "github-prometheus-procfs": ("0.15.1-1", "9644b8322a8202d31aa7a9c64ff98a4dc2fa0f6138ccc5aa88f0036bb504c6d5"),
    "github-sirupsen-logrus": ("1.9.0-1", "51fb87b05452e96be38b97c03d5f997f6ce3a144421f911338d6c4ea2e8aa118"),
    "github-soheilhy-cmux": ("0.1.5-2", "3093aafa0b8d6d5a33e5b75d144748e89cc80ca22523729a8c56f046a8c7e4ac"),
    "github-spf13-cobra": ("1.8.1-1", "139ec86efbe938a99ae70a7d695334fdc7c691a617c5739f36932b0de4ecdfd9"),
    "github-spf13-pflag": (
        "1.0.6~git20210604-d5e0c0615ace-1",
        "bd1c3c2a3e47512a64da02ebea900eb5a3f3c5d386e559d5718a3a935c0ea570",
    ),
    "github-tmc-grpc-websocket-proxy": (
        "0.0~git20200427.3cfed13-3",
        "770841885561df5179b9a1853bf3db5b6a5ace46186202779536c5df150b1ff0",
    ),
    "github-xiang90-probing": ("0.0.2-2", "9d7f1903f99c1bbe07049d0d0ffe8d133adbc556da61dc06fa3c463cdb7b83fb"),
    "go.uber-atomic": ("1.11.0-1", "fa84cb55fad518753928280f9798014f6fb3fb0e6f095292874266be81ece007"),
    "go.uber-multierr": ("1.6.0-1", "5af28d314c3594ab5dccd15aaf924dc06823b83d8bb60e47e3f0bb1724e7a8b2"),
    "go.uber-zap": ("1.26.0-1", "800dad93f764cc7db1b0c47569b525aa822dd28c59620eb150cfa139a18d53b3"),
    "golang-x-crypto": ("1:0.25.0-1", "c6ecd307e88b1d3af7ecfaee12b258c24aff3b16acbbc87acbe02079aabf5867"),
    "golang-x-net": ("1:0.27.0-2", "1f7576dfed2b293220186dd8a9c5c97b0858334ad67a700eb8569252b97ff395"),
    "golang-x-sys": ("0.22.0-1", "043942ee171abf52df6d43d1f56bc5aee4d9823e967fe38eee6236507b2e33fc"),
    "golang-x-term": ("0.22.0-1", "d15765ee9f6ac468f75bc73da20fecb2f1dbc0c9bca394020ae42bef510935af"),
    "golang-x-text": ("0.22.0-1", "00fd442cb79b6a344a3222b11d4c71f3c6b13d3cc9c55901e343fbbb9970147c"),
    "golang-x-time": ("0.5.0-1", "a43626a714924623a63c27744c5051eff6e95558646a5044d0a959da6ad59a79"),
    "google-genproto": (
        "0.0~git20210726.e7812ac-4",
        "22547f1657c5135316e390f942a0ae05992e503bb2f98deed16be6fd7b6f3cff",
    ),
    "google-grpc": ("1.64.0-7", "5a52fec571e4a5d7eddf0b9e1366901f7da8e7b19d7c869443f36ef50077bdb3"),
    "google-protobuf": ("1.36.5-1", "28914f483ac5e3a95c62fff519b82d8f6c4d9f40f7a9ca330a0841bdc79e867d"),
    "gopkg-natefinch-lumberjack.v2": ("2.1-2", "7fcb5fa86ec6373753bc6f56df148858acc9d9549259616f195bdf750b30988e"),
    "k8s-sigs-yaml": ("1.4.0-2", "a89ece6474445d790e564e9b34734de94b6f717552618bc151cac1b5493db9fa"),
    "mvdan-editorconfig": (
        "0.2.0+git20240816.eab549b-1",
        "d988b744db9da65853fb084a9f6d685ba25a02303102c25b46b503992bc585cc",
    ),
    "mvdan-sh": ("3.8.0-1", "22122abe09e0ebd111789921d5c14b4cc33522085b11333cb401e067b3f2c0fe"),
    "opentelemetry-contrib": ("0.56.0-5", "08883c2a5f4dc0b1db0f3eb10415810d9817cdeb0883afb5ce8e8109b99260e6"),
    "opentelemetry-otel": ("1.31.0-4", "616c46c7f60d36a85abe3fbf0d7064ca093667cc65cc71fcc0e957753a5a0f53"),
    "opentelemetry-proto": ("1.3.1-2", "94f4ac3253f38441759b50e09d7641cbe0263b00a4247679c17a103fe60b4511"),
}
"""Debian package, named as in `Program.needs` -> (version, sha256), of the suite `lab.windows.pins.DEBIAN_SUITE`."""
