"""Builds by the real go.exe: what they make, what is not made twice, and each way to fail with its cause and remedy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gofallback.artifact.binary import inspect
from gofallback.artifact.verify import problems
from gofallback.gobuild import agent_source, plan
from gofallback.gobuild.result import Built
from gofallback.operations import build as build_operation
from gofallback.operations.agent import deliver_agent
from gofallback.operations.job import Job
from tests.lab.module_proxy import private_server, publish
from tests.lab.windows_builder import GO, ROOT, Bench, commit, git, repository, windows_bench, write

pytestmark = pytest.mark.lab

DEP = "example.test/dep"
USES_DEP = {
    "go.mod": f"module example.test/hello\n\ngo 1.26\n\nrequire {DEP} v1.0.0\n",
    "main.go": f'package main\n\nimport "{DEP}"\n\nfunc main() {{ println(dep.Name()) }}\n',
}
DEP_FILES = {"dep.go": 'package dep\n\nfunc Name() string { return "dep" }\n'}
PROXY = {"GOPROXY": "file:///C:/gofallback/proxy", "GONOSUMDB": "*"}
SUM = f"{DEP} v1.0.0 h1:{{}}=\n{DEP} v1.0.0/go.mod h1:{{}}=\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with windows_bench(tmp_path_factory.mktemp("controller")) as bench:
        publish(bench.drive / "proxy", DEP, "v1.0.0", DEP_FILES)
        yield bench


def fetched(bench: Bench, built: Built, folder: Path) -> Path:
    """The binary on this machine."""
    local = folder / "fetched" / built.spec.file_name
    local.parent.mkdir()
    assert bench.host.get_file(built.path, str(local))
    return local


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "windows/386", "darwin/arm64", "freebsd/amd64"])
def test_every_platform_is_what_was_asked_for(bench: Bench, tmp_path: Path, platform: str) -> None:
    service = bench.service(repository(tmp_path / "small"), version_variable="main.version")
    built = bench.build(service, platform)
    assert built is not None, bench.messages.text
    local = fetched(bench, built[0], tmp_path)
    assert problems(inspect(local), built[0].spec, sha256=built[0].sha256, size=built[0].size) == []
    assert f"{platform}: built in" in bench.messages.text


def test_an_output_that_is_there_is_not_built_again_and_a_damaged_one_is(bench: Bench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "kept"))
    first = bench.build(service)
    assert first is not None, bench.messages.text
    again = bench.build(service)
    assert again is not None
    assert again[0].reused
    assert again[0].manifest == first[0].manifest
    file = bench.local(first[0].path)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    third = bench.build(service)
    assert third is not None
    assert not third[0].reused
    assert third[0].sha256 == first[0].sha256


def test_builders_state_shows_the_checkout(bench: Bench, tmp_path: Path) -> None:
    built = bench.build(bench.service(repository(tmp_path / "shown")))
    assert built is not None, bench.messages.text
    from gofallback.facts.builder import builder_state

    state = builder_state(bench.host, ROOT, refresh=True)
    assert built[0].spec.commit in state.checkouts["shown"]


def test_the_agent_builds_from_the_package(bench: Bench, tmp_path: Path) -> None:
    files = agent_source.agent_files()
    digest = agent_source.agent_digest(files)
    assert deliver_agent(bench.state, bench.host, files, digest, ROOT, tmp_path), bench.messages.text
    spec = plan.agent_spec(GO, "linux/amd64", digest)
    job = Job((spec,), bench.builder, bench.goroot, bench.git, tmp_path / "records")
    built: list[Built] = []
    assert build_operation.build(bench.state, bench.host, job, built.append), bench.messages.text
    assert problems(inspect(fetched(bench, built[0], tmp_path)), spec, sha256=built[0].sha256, size=built[0].size) == []


def test_modules_come_from_the_proxy_that_group_data_names(bench: Bench, tmp_path: Path) -> None:
    from subprocess import run

    repo = repository(tmp_path / "modules", USES_DEP)
    write(repo, {"go.sum": go_sum(bench, repo)})
    commit(repo)
    assert run(["git", "-C", str(repo), "status", "--porcelain"], capture_output=True, check=True).stdout == b""
    assert bench.build(bench.service(repo, environment=PROXY)) is not None, bench.messages.text
    assert "go mod download: passed" in bench.messages.text


def go_sum(bench: Bench, repo: Path) -> str:
    """What `go mod tidy` on the builder writes."""
    folder = bench.drive / "tidy"
    write(folder, {name: (repo / name).read_text() for name in ("go.mod", "main.go")})
    bench.ask(
        f'set "GOROOT={bench.goroot}"& set "GOPROXY={PROXY["GOPROXY"]}"& set "GONOSUMDB=*"& set "GOTOOLCHAIN=local"& '
        f'set "GOMODCACHE={ROOT}\\cache\\gomodcache"& cd /d {ROOT}\\tidy& {bench.goroot}\\bin\\go.exe mod tidy'
    )
    return (folder / "go.sum").read_text()


def test_vendored_modules_need_no_proxy(bench: Bench, tmp_path: Path) -> None:
    vendored = {
        **USES_DEP,
        "vendor/modules.txt": f"# {DEP} v1.0.0\n## explicit; go 1.26\n{DEP}\n",
        f"vendor/{DEP}/dep.go": DEP_FILES["dep.go"],
    }
    repo = repository(tmp_path / "vendored", vendored)
    for modules in ("auto", "vendor"):
        service = bench.service(repo, modules=modules, environment={"GOPROXY": "off"})
        assert bench.build(service) is not None, bench.messages.text


def test_code_of_a_submodule_is_compiled_and_the_stamp_is_clean(bench: Bench, tmp_path: Path) -> None:
    repository(tmp_path / "dep", {"go.mod": f"module {DEP}\n\ngo 1.26\n", "main.go": DEP_FILES["dep.go"]})
    gomod = USES_DEP["go.mod"] + f"\nreplace {DEP} => ./third/dep\n"
    repo = repository(tmp_path / "withsub", {**USES_DEP, "go.mod": gomod}, tag="v0.9.0")
    git(repo, "submodule", "add", "-q", "../dep", "third/dep")
    commit(repo)
    git(repo, "tag", "v1.0.0")
    service = bench.service(repo, source={"submodules": True}, environment={"GOPROXY": "off"})
    built = bench.build(service)
    assert built is not None, bench.messages.text
    info = inspect(fetched(bench, built[0], tmp_path))
    assert problems(info, built[0].spec, sha256=built[0].sha256, size=built[0].size) == []


def test_vet_and_test_are_gates(bench: Bench, tmp_path: Path) -> None:
    good = {"main_test.go": 'package main\n\nimport "testing"\n\nfunc TestIt(t *testing.T) {}\n'}
    repo = repository(tmp_path / "gates", good)
    assert bench.build(bench.service(repo, vet=True, test=True)) is not None, bench.messages.text
    assert "go vet: passed" in bench.messages.text
    assert "go test: passed" in bench.messages.text
    write(repo, {"main_test.go": good["main_test.go"].replace("{}", '{ t.Fatal("no good") }')})
    commit(repo)
    text = bench.failure(bench.service(repo, test=True))
    assert "go test: TestIt: main_test.go:5: no good" in text
    assert "build.test: false" in text
    write(repo, {"main.go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Printf("%d\\n", "x") }\n'})
    commit(repo)
    text = bench.failure(bench.service(repo, vet=True))
    assert "go vet: main.go:5:" in text


def test_go_sum_mismatch(bench: Bench, tmp_path: Path) -> None:
    wrong = {**USES_DEP, "go.sum": SUM.format("A" * 43, "A" * 43)}
    text = bench.failure(bench.service(repository(tmp_path / "mismatch", wrong), environment=PROXY))
    assert "dependency" in text
    assert f"{DEP}@v1.0.0" in text
    assert "go.sum" in text


def test_module_version_that_nobody_has(bench: Bench, tmp_path: Path) -> None:
    missing = {**USES_DEP, "go.mod": USES_DEP["go.mod"].replace("v1.0.0", "v1.5.0")}
    text = bench.failure(bench.service(repository(tmp_path / "absent", missing), environment=PROXY))
    assert f"dependency: not found: go: {DEP}@v1.5.0" in text
    assert "GOPROXY" in text


def test_private_module_without_a_credential(bench: Bench, tmp_path: Path) -> None:
    private = {name: text.replace(DEP, "github.com/example/dep") for name, text in USES_DEP.items()}
    repo = repository(tmp_path / "private", private)
    with private_server(f"{bench.lab.file.prefix}1") as url:
        environment = {
            "GOPROXY": "direct",
            "GOPRIVATE": "*",
            # The lab has no github.com: git is sent to a server that answers as github does without a login.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{url}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
        }
        text = bench.failure(bench.service(repo, environment=environment))
    assert "no credential for github.com/example/dep@v1.0.0" in text
    assert "go mod vendor" in text


def test_compile_error_names_file_and_line(bench: Bench, tmp_path: Path) -> None:
    broken = {"cmd/app/main.go": "package main\n\nfunc main() { undefinedThing() }\n"}
    service = bench.service(repository(tmp_path / "broken", broken), package="./cmd/app")
    assert "compile error: cmd/app/main.go:3:15: undefined: undefinedThing" in bench.failure(service)


def test_toolchain_older_than_go_mod_wants(bench: Bench, tmp_path: Path) -> None:
    future = {"go.mod": "module example.test/hello\n\ngo 1.99.0\n"}
    text = bench.failure(bench.service(repository(tmp_path / "future", future)))
    assert "Go toolchain: the source needs Go 1.99.0, the builder has to use 1.26.6" in text
    assert "toolchain.pins" in text


def test_a_build_that_takes_too_long_is_ended_with_all_its_processes(bench: Bench, tmp_path: Path) -> None:
    slow = {"main.go": 'package main\n\nimport "net/http"\n\nfunc main() { http.ListenAndServe(":1", nil) }\n'}
    service = bench.service(repository(tmp_path / "slow", slow), modules="vendor", strip=False)
    write(tmp_path / "slow", {"vendor/modules.txt": ""})
    commit(tmp_path / "slow")
    text = bench.failure(service, "linux/riscv64", timeout=4)
    assert "timeout: not finished after 4 s" in text
    assert "build.timeout" in text
    time.sleep(2)
    running = bench.machine.run("tasklist").stdout.lower()
    assert "go.exe" not in running
    assert "compile.exe" not in running


HOLDER = """package main

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	name, _ := syscall.UTF16PtrFromString(os.Args[1])
	seconds, _ := strconv.Atoi(os.Args[2])
	const nobodyElse = 0
	_, err := syscall.CreateFile(name, syscall.GENERIC_WRITE, nobodyElse, nil, syscall.CREATE_ALWAYS, 0, 0)
	if err != nil {
		panic(err)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
}
"""


@pytest.fixture(scope="module")
def holder(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program on the builder that has a file open and lets nobody else have it, as an antivirus does."""
    repo = repository(tmp_path_factory.mktemp("program") / "holder", {"main.go": HOLDER})
    built = bench.build(bench.service(repo), "windows/amd64")
    assert built is not None, bench.messages.text
    return built[0].path


@contextmanager
def held_open(bench: Bench, holder: str, path: str, seconds: int) -> Iterator[None]:
    """Within, the holder has the file open, for ``seconds`` at most."""
    bench.local(path).parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=lambda: bench.machine.run(f"{holder} {path} {seconds}", check=False))
    thread.start()
    for _ in range(200):
        if bench.local(path).exists():
            break
        time.sleep(0.05)
    try:
        yield
    finally:
        bench.machine.run("taskkill /f /im holder.exe", check=False)
        thread.join()


def output_of(bench: Bench, name: str, tmp_path: Path) -> tuple[Job, str]:
    service = bench.service(repository(tmp_path / name))
    job = bench.job(service, ["linux/amd64"])
    return job, f"{job.temporary(job.specs[0])}\\{name}"


def test_a_file_held_for_a_moment_is_tried_again(bench: Bench, holder: str, tmp_path: Path) -> None:
    _, path = output_of(bench, "moment", tmp_path)
    service = bench.service(tmp_path / "moment")

    def let_go() -> None:
        while "trying again" not in bench.messages.text and holding.is_set():
            time.sleep(0.1)
        bench.machine.run("taskkill /f /im holder.exe", check=False)

    holding = threading.Event()
    holding.set()
    with held_open(bench, holder, path, 110):
        assert bench.deliver(service)
        thread = threading.Thread(target=let_go)
        thread.start()
        built = bench.build(service)
        holding.clear()
        thread.join()
    assert built is not None, bench.messages.text
    assert "trying again" in bench.messages.text


def test_a_file_held_for_ever_is_reported_with_the_remedy(bench: Bench, holder: str, tmp_path: Path) -> None:
    _, path = output_of(bench, "held", tmp_path)
    with held_open(bench, holder, path, 110):
        text = bench.failure(bench.service(tmp_path / "held"))
    assert "file locked or access denied" in text
    assert "antivirus" in text
    assert bench.messages.text.count("trying again") == 3


def test_connection_that_breaks_in_mid_build_does_not_end_the_run(bench: Bench, tmp_path: Path) -> None:
    big = {"main.go": 'package main\n\nimport "encoding/xml"\n\nfunc main() { println(xml.Header) }\n'}
    service = bench.service(repository(tmp_path / "cutoff", big))

    def restart() -> None:
        time.sleep(4)
        bench.machine.stop_sshd()
        time.sleep(1)
        bench.machine.start_sshd()

    assert bench.deliver(service)
    thread = threading.Thread(target=restart)
    thread.start()
    built = bench.build(service, "linux/ppc64le")
    thread.join()
    assert built is not None, bench.messages.text
    assert "connection lost" in bench.messages.text
    assert "it goes on there" in bench.messages.text
    assert "building again" not in bench.messages.text


def test_full_disk_and_success_once_there_is_room(bench: Bench, tmp_path: Path) -> None:
    wide = {"main.go": 'package main\n\nimport "encoding/json"\n\nfunc main() { println(json.Valid(nil)) }\n'}
    service = bench.service(repository(tmp_path / "full", wide))
    assert bench.deliver(service)
    bench.machine.fill_disk(leave_mb=2)
    try:
        text = bench.failure(service, "linux/s390x")
    finally:
        bench.machine.free_disk()
    assert "disk full" in text
    assert "make room on the builder's drive" in text
    assert bench.build(service, "linux/s390x") is not None, bench.messages.text
