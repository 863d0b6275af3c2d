"""What the steps for a POSIX sh do: run by this machine's own sh, in a folder of the test."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gofallback.builder.paths import CACHES, FOLDERS, Layout, inside, join, literal, program
from gofallback.builder.sh import Sh
from gofallback.builder.state import marker
from gofallback.builder.state_parser import StateError, parse
from gofallback.gobuild.result import Measured, read_measured
from gofallback.windows.quoting import QuotingError

SH = Sh()
SHA = "ab" * 32


def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
    )


def out(line: str) -> list[str]:
    done = run(line)
    assert done.stderr == "", done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A builder's root, with a blank and a quote in its name: nothing may split or end there."""
    made = tmp_path / "it's a root"
    made.mkdir()
    return made


def test_arguments_arrive_as_they_are() -> None:
    words = ["a b", "it's", "$HOME", "%PATH%", '"', "*", ";", "", "\\n"]
    assert out(SH.command(["printf", "%s|", *words])) == ["|".join(words) + "|"]


def test_files_are_listed_with_their_bytes(root: Path) -> None:
    (root / "a b" / "c").mkdir(parents=True)
    (root / "a b" / "c" / "!x").write_text("1234567")
    assert out(SH.list_files(str(root))) == [f"7 {root}/a b/c/!x"]


def test_a_failing_step_ends_all_with_its_name(root: Path) -> None:
    done = run(SH.script([SH.or_exit("false", "mirror it's"), SH.echo("never")]))
    assert (done.returncode, done.stdout) == (1, "@failed mirror it's\n")
    assert run(SH.script([SH.enter(str(root / "none")), SH.echo("never")])).stdout == ""
    assert run(SH.script(["false"], always=True)).returncode == 0
    failed = run(SH.then("false", SH.echo("never")))
    assert (failed.returncode, failed.stdout) == (1, "")


def test_an_empty_value_means_that_the_variable_is_not_set() -> None:
    line, environment = SH.prepared('echo "${GIT_DIR-not set} $GOOS"', {"GIT_DIR": "", "GOOS": "linux"})
    assert run(line, **{"GIT_DIR": "of the login", **environment}).stdout == "not set linux\n"


def test_a_file_is_measured_as_the_reader_wants_it(root: Path) -> None:
    file = root / "hello"
    file.write_bytes(b"hello")
    steps = [SH.echo("@file a"), SH.measure(str(file)), SH.echo("@file b"), SH.measure(str(root / "none"))]
    assert read_measured(out(SH.script(steps))) == {"a": Measured(5, hashlib.sha256(b"hello").hexdigest())}
    assert out(SH.hash(str(root / "none"))) == []


def test_a_folder_is_renamed_into_place_once_and_proven(root: Path) -> None:
    new, final = root / "tmp" / "new", root / "out" / "hello" / "key"
    new.mkdir(parents=True)
    (new / "proof").write_text("new")
    line = SH.put_in_place(str(new), str(final), ["proof"])
    assert out(line) == ["@done"]
    assert out(line) == ["@done"], "repeated, because its answer was lost"
    assert (final / "proof").read_text() == "new"

    new.mkdir()
    (new / "proof").write_text("newer")
    old = root / "tmp" / "old"
    assert out(SH.put_in_place(str(new), str(final), ["proof"], mark=SH.write(f"{new}/m", "x 1"), aside=str(old))) == [
        "@done"
    ]
    assert ((final / "proof").read_text(), (final / "m").read_text()) == ("newer", "x 1\n")
    assert (old / "proof").read_text() == "new"

    new.mkdir()
    assert out(SH.put_in_place(str(new), str(final), ["proof"])) == [], "a folder without its proof is not done"


def test_the_newest_folders_stay(root: Path) -> None:
    for age in range(5):
        (root / f"k{age}").mkdir()
        os.utime(root / f"k{age}", (1000 - age, 1000 - age))
    assert out(SH.prune(str(root / "k4"), 2)) == []
    assert sorted(path.name for path in root.iterdir()) == ["k0", "k1", "k4"]


def test_what_is_removed_is_gone_even_where_go_took_the_right_to_write(root: Path) -> None:
    deep = root / "cache" / "module@v1"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    deep.chmod(0o555)
    (root / "tmp").mkdir()
    assert out(SH.remove_aside(str(root / "cache"), str(root / "tmp" / "removed-1"))) == []
    assert [path.name for path in root.rglob("*")] == ["tmp"]


def test_half_transfers_and_old_attempts_are_swept(root: Path) -> None:
    for name in ("go.tar.gz", "go.tar.gz.1.part", ".go.tar.gz.gofallback-part", "git.tar.gz"):
        (root / name).write_text("x")
    for name in ("unpack-go1.27.0-aa", "unpack-go1.27.0-bb", "unpack-git-2"):
        (root / name).mkdir()
    run(SH.script([SH.delete_parts(str(root / "go.tar.gz")), SH.sweep(str(root), "unpack-go1.27.0-")]))
    assert sorted(path.name for path in root.iterdir()) == ["git.tar.gz", "go.tar.gz", "unpack-git-2"]


def archive(path: Path, name: str) -> None:
    """One executable file `name` in an archive; its kind goes by the path."""
    if path.suffix in (".zip", ".whl"):
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o100755 << 16
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(entry, "#!/bin/sh\necho here\n")
        return
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o755, 20
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as tar:
        tar.addfile(info, io.BytesIO(b"#!/bin/sh\necho here\n"))


@pytest.mark.parametrize("name", ["go.tar.gz", "zig.tar.xz", "zig.zip", "ziglang-0.15.2.whl"])
def test_every_kind_of_archive_is_unpacked_with_the_right_to_execute(root: Path, name: str) -> None:
    archive(root / name, "bin/go")
    assert out(SH.unpack(str(root / name), str(root))) == []
    assert out(SH.command([str(root / "bin" / "go")])) == ["here"]


def test_a_zip_needs_one_of_three_programs_and_python_keeps_the_right_to_execute(root: Path) -> None:
    archive(root / "zig.whl", "zig")
    tools = root / "bin"
    tools.mkdir()
    assert SH.unpack_tools("zig.whl") == [["unzip", "bsdtar", "python3"]]
    assert [list(group) for group in SH.unpack_tools("git.tar.xz")] == [["tar"], ["xz"]]
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", SH.unpack(str(root / "zig.whl"), str(root))],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(root / "zig", os.X_OK)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine with one file, `file`."""
    (tmp_path / "file").write_bytes(b"content")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("program_of_host", ["curl", "wget"])
def test_a_download_has_its_name_only_when_it_is_complete(root: Path, site: str, program_of_host: str) -> None:
    found = shutil.which(program_of_host)
    if found is None:
        pytest.skip(f"this machine has no {program_of_host}")
    tools = root / "bin"
    tools.mkdir()
    for tool in (found, "/bin/mv"):
        (tools / Path(tool).name).symlink_to(tool)

    def get(name: str) -> subprocess.CompletedProcess[str]:
        line = SH.download(f"{site}/{name}", str(root / "it.part"), str(root / "it"))
        return subprocess.run(
            ["/bin/sh", "-c", line], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
        )

    missing = get("none")
    assert missing.returncode != 0
    assert "404" in missing.stderr
    assert not (root / "it").exists()
    assert get("file").returncode == 0
    assert (root / "it").read_bytes() == b"content"
    assert not (root / "it.part").exists()


def test_one_answer_has_the_whole_state(root: Path) -> None:
    at = str(root)
    for folder in Layout(at).folders():
        Path(folder).mkdir(parents=True, exist_ok=True)
    go = Path(Layout(at).toolchain("go", "1.27.0"))
    (go / "bin").mkdir(parents=True)
    (go / "bin" / "go").touch(mode=0o755)
    (go / "gofallback-toolchain.txt").write_text(marker("go", "1.27.0", "tar", "amd64", SHA) + "\n")
    (root / "toolchains" / "git-2.39.5").mkdir()
    (root / "downloads" / "go.tar.gz").write_bytes(b"12345")
    mirror = root / "mirrors" / "hello.git"
    mirror.mkdir()
    (mirror / "packed-refs").write_text(f"# pack-refs with: peeled\n{'1' * 40} refs/heads/main\n")
    (root / "work" / "hello" / ("1" * 40)).mkdir(parents=True)
    (root / "tmp" / "unpack-go1.27.0-0a1b").mkdir()

    state = parse(at, out(SH.state(at)))

    assert state.os == "linux"
    assert state.arch in ("amd64", "arm64")
    assert state.free_bytes and state.version
    assert {"tar", "sha256sum"} <= state.tools
    assert state.folders == {*FOLDERS, *(f"cache/{name}" for name in CACHES)}
    found = state.find("go", "1.27.0", use_installed=False)
    assert found is not None and (found.path, found.sha256) == (str(go), SHA)
    assert state.find("git", "2.39.5", use_installed=False) is None
    assert state.downloads == {"go.tar.gz": 5}
    assert state.mirrors == {"hello": ("1" * 40,)}
    assert state.checkouts == {"hello": ("1" * 40,)}
    assert state.leftovers == ("unpack-go1.27.0-0a1b",)
    assert (state.environment["HOME"], "PATH" in state.environment) == ("", False)


def test_the_state_of_a_fresh_host_is_empty_but_for_its_disk(tmp_path: Path) -> None:
    root = str(tmp_path / "not" / "yet")
    state = parse(root, out(SH.state(root)))
    assert (state.folders, state.toolchains, state.mirrors) == (frozenset(), {}, {})
    assert state.free_bytes


def test_go_and_git_of_the_machine_are_found_in_path(tmp_path: Path) -> None:
    home = tmp_path / "sdk"
    (home / "bin").mkdir(parents=True)
    (home / "VERSION").write_text("go1.25.1\ntime 2025-08-27T15:49:40Z\n")
    (home / "bin" / "go").touch(mode=0o755)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").symlink_to(home / "bin" / "go")
    root = str(tmp_path / "none")
    done = run(SH.state(root), PATH=f"{tools}:{os.environ['PATH']}")
    found = parse(root, done.stdout.splitlines()).find("go", "1.25.1")
    assert found is not None
    assert (found.path, found.origin, program("go", found.path)) == (str(home), "machine", str(home / "bin" / "go"))


def test_an_answer_of_another_shell_is_one_clear_line() -> None:
    with pytest.raises(StateError, match="is sh its shell"):
        parse("/home/b/g", ["'.' is not recognized as an internal or external command"])


@pytest.mark.parametrize("path", ["/h/g/tmp", "/h/g/a/../b", "/h/g//x"])
def test_paths_below_the_root_are_inside(path: str) -> None:
    assert inside("/h/g", path)


@pytest.mark.parametrize("path", ["/h/g", "/h/g/", "/h/g2/x", "/h/g/../x", "/h/G/x", "h/g/x", "C:\\h\\g\\x", "/h/g/.."])
def test_paths_elsewhere_are_outside(path: str) -> None:
    assert not inside("/h/g", path)


def test_paths_are_joined_by_the_shape_of_the_root() -> None:
    assert join("/h/g/", "work", "a/b/") == "/h/g/work/a/b"
    assert join("C:\\g", "work", "a/b") == "C:\\g\\work\\a\\b"
    assert literal("/h/it's") == "'/h/it'\"'\"'s'"
    with pytest.raises(QuotingError):
        literal("/h/a\nb")


def test_a_name_is_claimed_by_the_first_and_the_second_keeps_its_folder(root: Path) -> None:
    final = root / "above" / "final"
    for one in ("first", "second"):
        (root / one).mkdir()
        (root / one / one).touch()
        assert out(SH.claim(str(root / one), str(final))) == []
    assert [path.name for path in final.iterdir()] == ["first"]
    assert (root / "second" / "second").exists() and not (root / "first").exists()


def test_a_name_that_is_claimed_between_the_test_and_the_rename_keeps_what_the_first_made(root: Path) -> None:
    final, tools = root / "final", root / "tools"
    (root / "second").mkdir()
    tools.mkdir()
    (tools / "mv").write_text(
        f'#!/bin/sh\nmkdir "{final}" && touch "{final}/first" && exec {shutil.which("mv")} "$@"\n'
    )
    (tools / "mv").chmod(0o755)
    done = run(SH.claim(str(root / "second"), str(final)), PATH=f"{tools}:{os.environ['PATH']}")
    assert (done.stderr, [path.name for path in final.iterdir()]) == ("", ["first"])
    assert not (root / "second").exists()


def test_files_that_are_gone_or_have_another_size_are_named(root: Path) -> None:
    folder, listing = root / "proxy", root / "receipt's.txt"
    (folder / "a.b" / "@v").mkdir(parents=True)
    (folder / "a.b" / "@v" / "v1.0.0.zip").write_bytes(b"x" * 5)
    (folder / "a.b" / "@v" / "v1.0.0.mod").write_bytes(b"x" * 7)
    listing.write_text("5 a.b/@v/v1.0.0.zip\n7 a.b/@v/v1.0.0.mod\n")
    check = SH.check_files(str(listing), str(folder))
    assert out(check) == []
    listing.write_text("6 a.b/@v/v1.0.0.zip\n7 a.b/@v/v1.0.0.mod\n1 !c/@v/v1.0.0+incompatible.mod\n")
    assert out(check) == ["@missing a.b/@v/v1.0.0.zip", "@missing !c/@v/v1.0.0+incompatible.mod"]
    shutil.rmtree(folder / "a.b")
    assert len(out(check)) == 3
