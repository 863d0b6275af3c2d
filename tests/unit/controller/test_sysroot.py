"""A sysroot: named by its content, its links followed within it, and proven on the builder."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from gofallback.controller.sysroot import LIST, Sysroot, SysrootError, packed, read
from gofallback.operations.cgo import check_line, read_check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sysroot"
    (made / "usr/include").mkdir(parents=True)
    (made / "usr/lib").mkdir()
    (made / "usr/include/foo.h").write_text("int foo(void);\n")
    (made / "usr/lib/libfoo.so.1.2").write_bytes(b"\x7fELF")
    (made / "usr/lib/libfoo.so").symlink_to("libfoo.so.1.2")
    return made


def named(path: Path, cache: Path) -> Sysroot:
    return read(path, cache, where="services.hello.build.cgo.sysroot")


def test_time_owner_and_form_do_not_change_the_name(folder: Path, tmp_path: Path) -> None:
    found = named(folder, tmp_path / "cache")
    assert hashlib.sha256(found.listing).hexdigest() == found.digest
    os.utime(folder / "usr/include/foo.h", (1, 1))
    with tarfile.open(tmp_path / "s.tar.xz", "w:xz") as archive:
        archive.add(folder / "usr", "usr")
    with tarfile.open(tmp_path / "top.tar.gz", "w:gz") as archive:
        archive.add(folder, "debian-sysroot")
    others = [folder, tmp_path / "s.tar.xz", tmp_path / "top.tar.gz"]
    assert {named(one, tmp_path / "cache").digest for one in others} == {found.digest}
    (folder / "usr/include/foo.h").write_text("int foo(int);\n")
    assert named(folder, tmp_path / "cache").digest != found.digest


def test_a_link_becomes_what_it_points_to_within_the_sysroot(folder: Path, tmp_path: Path) -> None:
    (folder / "usr/lib/libabs.so").symlink_to("/usr/lib/libfoo.so.1.2")
    (folder / "usr/lib/libgone.so").symlink_to("/no/such/file")
    (folder / "usr/lib/passwd").symlink_to("../../../../../../../../etc/passwd")
    (folder / "usr/lib/loop").symlink_to("loop")
    (folder / "usr/lib/up").symlink_to("..")
    (folder / "lib").symlink_to("usr/lib")
    files = dict(named(folder, tmp_path / "cache").files)
    assert files["usr/lib/libfoo.so"].read_bytes() == b"\x7fELF"
    assert files["usr/lib/libabs.so"].read_bytes() == b"\x7fELF"
    assert files["lib/libfoo.so"].read_bytes() == b"\x7fELF"
    assert not [name for name in files if "gone" in name or "passwd" in name or "loop" in name]
    assert not [name for name in files if "up/lib/up" in name]


def test_the_packed_archive_is_the_same_bytes_at_every_time(folder: Path, tmp_path: Path) -> None:
    found = named(folder, tmp_path / "cache")
    first = packed(found, tmp_path / "one", lambda line: None).read_bytes()
    os.utime(folder / "usr/include/foo.h", (1, 1))
    assert packed(named(folder, tmp_path / "cache"), tmp_path / "two", lambda line: None).read_bytes() == first
    with tarfile.open(tmp_path / "one" / f"{found.digest}.tar") as archive:
        assert archive.getnames() == [LIST, *(name for name, _ in found.files)]
        assert all(entry.isreg() for entry in archive)


@pytest.mark.parametrize("left", [0, 700, -200, -1])
def test_a_packed_archive_that_was_cut_short_is_packed_again(folder: Path, tmp_path: Path, left: int) -> None:
    found = named(folder, tmp_path / "cache")
    path = packed(found, tmp_path / "one", lambda line: None)
    whole = path.read_bytes()
    path.write_bytes(whole[:left] if left >= 0 else whole[: _last_byte(path) + 1 + left])
    said: list[str] = []
    assert packed(found, tmp_path / "one", said.append).read_bytes() == whole and said
    assert packed(found, tmp_path / "one", said.append) == path and len(said) == 1


def test_a_packed_archive_that_was_changed_is_packed_again(folder: Path, tmp_path: Path) -> None:
    found = named(folder, tmp_path / "cache")
    path = packed(found, tmp_path / "one", lambda line: None)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"int foo(void);", b"int bar(void);"))
    assert packed(found, tmp_path / "one", lambda line: None).read_bytes() == whole


def _last_byte(path: Path) -> int:
    with tarfile.open(path) as archive:
        return max(entry.offset_data + entry.size for entry in archive) - 1


def test_a_file_that_changes_meanwhile_is_noticed(folder: Path, tmp_path: Path) -> None:
    found = named(folder, tmp_path / "cache")
    (folder / "usr/include/foo.h").write_text("changed\n")
    with pytest.raises(SysrootError, match="was changed while the sysroot was packed; run again"):
        packed(found, tmp_path / "one", lambda line: None)
    assert list((tmp_path / "one").iterdir()) == []


def test_what_cannot_be_a_sysroot_is_refused_with_its_key(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.tar").write_bytes(b"no archive")
    (tmp_path / "x.zip").write_bytes(b"no archive")
    (tmp_path / "x.deb").write_bytes(b"!<arch>")
    for name, said in {
        "missing": "is not there; expected a folder or an archive",
        "empty": "holds no file",
        "x.tar": "cannot be unpacked",
        "x.zip": "cannot be unpacked",
        "x.deb": "is no archive",
    }.items():
        with pytest.raises(SysrootError) as caught:
            named(tmp_path / name, tmp_path / "cache")
        assert said in str(caught.value)
        assert str(caught.value).startswith("services.hello.build.cgo.sysroot: ")
    assert not [one for one in (tmp_path / "cache").glob("*") if one.is_dir()]


def test_an_archive_that_leads_out_of_itself_writes_nothing_there(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("usr")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("usr/evil"))
    (tmp_path / "outside").mkdir()
    with pytest.raises(SysrootError, match="cannot be unpacked"):
        named(tmp_path / "bad.tar", tmp_path / "cache")
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_archive_of_nothing_but_a_link_leads_nowhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        link = tarfile.TarInfo("here")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        archive.addfile(link)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "private").write_text("x")
    with pytest.raises(SysrootError, match="holds no file"):
        named(tmp_path / "bad.tar", tmp_path / "cache")


def test_a_zip_is_read_too(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("usr/include/foo.h", "int foo(void);\n")
    assert [name for name, _ in named(tmp_path / "s.zip", tmp_path / "cache").files] == ["usr/include/foo.h"]


def test_names_that_windows_cannot_hold_beside_each_other_are_known(folder: Path, tmp_path: Path) -> None:
    assert named(folder, tmp_path / "cache").same_on_windows == ()
    (folder / "usr/include/FOO.h").write_text("")
    assert named(folder, tmp_path / "cache").same_on_windows == (("usr/include/FOO.h", "usr/include/foo.h"),)


def test_the_folders_of_a_sysroot_are_known(folder: Path, tmp_path: Path) -> None:
    assert named(folder, tmp_path / "cache").folders == {"usr", "usr/include", "usr/lib"}


def test_a_builders_answer_about_a_sysroot(folder: Path, tmp_path: Path) -> None:
    found = named(folder, tmp_path / "cache")
    there = "/home/builder/gofallback/cache/sysroots/" + found.digest
    assert read_check(("@list",), there, found) == "missing"
    assert read_check(("@list", found.digest, "@same", "@count 4"), there, found) == "whole"
    assert read_check(("@list", found.digest, "@count 4"), there, found) == "damaged"
    assert read_check(("@list", found.digest, "@same", "@count 5"), there, found) == "damaged"
    assert read_check(("@list", "f" * 64, "@same", "@count 4"), there, found) == "damaged"
    windows = "C:\\gofallback\\cache\\sysroots\\" + found.digest
    told = [f"@z {len(found.listing)} {windows}\\{LIST}", f"@z 15 {windows}\\usr\\include\\foo.h"]
    told += [f"@z 4 {windows}\\usr\\lib\\{name}" for name in ("libfoo.so", "libfoo.so.1.2")]
    assert read_check(("@list", found.digest, *told), windows, found) == "whole"
    assert read_check(("@list", found.digest, *told[:-1]), windows, found) == "damaged"
    assert read_check(("@list", found.digest, *told, f"@z 0 {windows}\\usr\\x"), windows, found) == "damaged"


def test_the_question_on_linux_is_answered_by_a_real_shell(folder: Path, tmp_path: Path) -> None:
    import subprocess

    found = named(folder, tmp_path / "cache")
    there = tmp_path / "there is a blank"
    there.mkdir()

    def ask() -> str:
        done = subprocess.run(["sh", "-c", check_line(str(there))], capture_output=True, text=True, check=True)
        return read_check(tuple(done.stdout.splitlines()), str(there), found)

    assert ask() == "missing"
    with tarfile.open(packed(found, tmp_path / "one", lambda line: None)) as archive:
        archive.extractall(there, filter="data")
    assert ask() == "whole"
    (there / "usr/include/foo.h").write_text("int fop(void);\n")
    assert ask() == "damaged"
