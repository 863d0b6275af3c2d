"""Sending: names, archives, retries, checks after a lost answer, conflicts, and that no secret shows."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gofallback.controller.store import ArtifactStore, Stored
from gofallback.model.publish import Credential, PublishStore
from gofallback.publish import files
from gofallback.publish.credential import header
from gofallback.publish.errors import PublishError, TransientError
from gofallback.publish.files import Item, collect_files, public_name, select_artifacts
from gofallback.publish.retry import with_retries
from gofallback.publish.send import Row, publish
from gofallback.publish.store import StoredFile
from tests.unit.controller.test_store import CONTENT, manifest, spec

PLAIN = PublishStore(url="https://x.example.com/y", attempts=3)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    made = ArtifactStore(tmp_path / "artifacts")
    file = tmp_path / "download"
    file.write_bytes(CONTENT)
    for platform in ("linux/amd64", "windows/amd64"):
        made.add(manifest(spec(platform=platform)), file)
    return made


def found(store: ArtifactStore) -> list[Stored]:
    return select_artifacts(store, None, "v1.0.0")[1]


def test_every_file_of_an_artifact_gets_a_name_of_its_own_and_the_sums_come_last(
    store: ArtifactStore, tmp_path: Path
) -> None:
    for one in found(store):
        (one.path.parent / "provenance.json").write_text("{}")
        (one.path.parent / ".half").write_text("somebody is at work")
    (tmp_path / "work").mkdir()
    items = collect_files(found(store), tmp_path / "work", archives=True)
    assert [item.name for item in items] == [
        "hello-linux-amd64",
        "hello-linux-amd64.manifest.json",
        "hello-linux-amd64.provenance.json",
        "hello-linux-amd64.tar.gz",
        "hello-windows-amd64.exe",
        "hello-windows-amd64.manifest.json",
        "hello-windows-amd64.provenance.json",
        "hello-windows-amd64.zip",
        "checksums.txt",
    ]
    lines = items[-1].path.read_text().splitlines()
    assert lines[0] == f"{hashlib.sha256(CONTENT).hexdigest()}  hello-linux-amd64"
    assert len(lines) == len(items) - 1


def test_a_signature_named_after_the_binary_is_not_named_twice(store: ArtifactStore) -> None:
    linux, windows = found(store)
    assert public_name(linux, "hello.sig") == "hello-linux-amd64.sig"
    assert public_name(windows, "hello.exe.sig") == "hello-windows-amd64.sig"


def test_archives_depend_on_contents_only(store: ArtifactStore, tmp_path: Path) -> None:
    made = []
    for number in range(2):
        work = tmp_path / f"work{number}"
        work.mkdir()
        for one in found(store):
            one.path.touch()
            one.path.chmod(0o700 + number)
        made.append({item.name: item.sha256 for item in collect_files(found(store), work, archives=True)})
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "work0" / "hello-linux-amd64.tar.gz") as archive:
        entry = archive.getmember("hello-v1.0.0-linux-amd64/hello")
        assert (entry.mode, entry.mtime, entry.uid, entry.uname) == (0o755, 0, 0, "")
        assert archive.getnames() == ["hello-v1.0.0-linux-amd64/hello", "hello-v1.0.0-linux-amd64/manifest.json"]
    with zipfile.ZipFile(tmp_path / "work0" / "hello-windows-amd64.zip") as zipped:
        assert zipped.read("hello-v1.0.0-windows-amd64/hello.exe") == CONTENT


def test_the_build_that_came_last_is_published(store: ArtifactStore, tmp_path: Path) -> None:
    newer = spec().model_copy(update={"tags": ()})
    (tmp_path / "newer").write_bytes(b"newer")
    store.add(manifest(newer, b"newer", built_at="2026-11-23T00:00:00Z"), tmp_path / "newer")
    linux = next(one for one in found(store) if one.manifest.platform == "linux/amd64")
    assert linux.path.read_bytes() == b"newer"


def test_an_unknown_version_says_what_there_is(store: ArtifactStore) -> None:
    with pytest.raises(PublishError, match=r"^v9: not in the artifact store \(hello: v1.0.0\); build it with"):
        select_artifacts(store, None, "v9")


def test_a_version_of_several_services_asks_which(store: ArtifactStore, tmp_path: Path) -> None:
    store.add(manifest(spec(service="shop")), tmp_path / "download")
    with pytest.raises(PublishError, match="hello, shop have it; say which with --service"):
        select_artifacts(store, None, "v1.0.0")
    assert select_artifacts(store, "shop", "v1.0.0")[0] == "shop"


# Retries


def flaky(*outcomes: Exception | str) -> Callable[[], str]:
    left = list(outcomes)

    def act() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return act


def test_what_may_pass_is_tried_again_later_each_time() -> None:
    waits: list[float] = []
    reports: list[str] = []
    act = flaky(TransientError("reset"), TransientError("reset"), TransientError("503"), "done")
    assert with_retries(act, 5, reports.append, waits.append) == "done"
    assert 0.5 <= waits[0] <= 1.0 and 1.0 <= waits[1] <= 1.5 and 2.0 <= waits[2] <= 2.5
    assert reports[0].startswith("reset; again in ") and "(attempt 1 of 5)" in reports[0]


def test_a_store_is_waited_for_as_long_as_it_asks_but_not_for_ever() -> None:
    waits: list[float] = []
    with_retries(
        flaky(TransientError("429", 9), TransientError("429", 86_400), "done"), 5, lambda _: None, waits.append
    )
    assert waits == [9, 120]


def test_after_the_last_attempt_it_is_an_error() -> None:
    with pytest.raises(PublishError, match="x: connection refused; tried 2 times"):
        with_retries(
            flaky(TransientError("x: connection refused"), TransientError("x: connection refused")),
            2,
            print,
            lambda _: None,
        )


def test_what_is_final_is_not_tried_again() -> None:
    with pytest.raises(PublishError, match="401"):
        with_retries(flaky(PublishError("401"), "never"), 5, print, lambda _: None)


class Fake:
    """A store in memory; ``send`` meets the outcomes one after the other, then keeps what it gets."""

    def __init__(self, *outcomes: Exception, keeps: bool = False) -> None:
        self.outcomes, self.keeps = list(outcomes), keeps
        self.kept: dict[str, str] = {}
        self.sent: list[tuple[str, bool]] = []
        self.looks = 0

    def address(self, item: Item) -> str:
        return f"fake/{item.name}"

    def find(self, item: Item) -> StoredFile | None:
        self.looks += 1
        there = self.kept.get(item.name)
        return None if there is None else StoredFile(there == item.sha256, f"sha256 {there}", "fake")

    def send(self, item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        self.sent.append((item.name, replace))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is None or self.keeps:
            self.kept[item.name] = item.sha256
        if outcome:
            raise outcome


class Silent:
    def started(self, item: Item) -> None: ...
    def progressed(self, item: Item, done: int) -> None: ...
    def finished(self, row: Row) -> None: ...
    def report(self, line: str) -> None: ...


ITEMS = [Item(name, Path("/nowhere"), 4, digest * 32) for name, digest in (("one", "aa"), ("two", "bb"))]


def go(store: Fake, data: PublishStore = PLAIN) -> list[Row]:
    rows = [Row(item, store.address(item)) for item in ITEMS]
    try:
        publish(rows, store, data, Silent(), lambda _: None)
    except PublishError as error:
        rows[0].address = str(error)
    return rows


def test_an_upload_whose_answer_was_lost_is_not_sent_twice() -> None:
    store = Fake(TransientError("the connection broke"), keeps=True)
    assert [row.state for row in go(store)] == ["sent", "sent"]
    assert [name for name, _ in store.sent] == ["one", "two"]


def test_an_upload_that_was_not_executed_is_sent_again_without_another_check() -> None:
    store = Fake(TransientError("429", not_executed=True))
    go(store)
    assert [name for name, _ in store.sent] == ["one", "one", "two"]
    assert store.looks == 4


def test_half_an_upload_that_a_store_kept_is_replaced() -> None:
    store = Fake(TransientError("the connection broke"))
    store.outcomes.append(None)  # type: ignore[arg-type]
    store.kept = {}
    original = store.send

    def send(item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        if not store.sent:
            store.kept[item.name] = "half"
        original(item, progress, replace=replace)

    store.send = send  # type: ignore[method-assign]
    assert [row.state for row in go(store)] == ["sent", "sent"]
    assert store.sent[:2] == [("one", False), ("one", True)]


def test_nothing_is_sent_when_a_later_file_is_there_with_other_content() -> None:
    store = Fake()
    store.kept["two"] = "cc" * 32
    rows = go(store)
    assert [row.state for row in rows] == ["not sent", "not sent"] and store.sent == []
    assert "fake/two: is there with other content: sha256 cccc" in rows[0].address


def test_overwrite_replaces_it() -> None:
    store = Fake()
    store.kept["two"] = "cc" * 32
    go(store, PLAIN.model_copy(update={"overwrite": True}))
    assert store.sent == [("one", False), ("two", True)]


def test_files_before_a_failure_keep_their_state() -> None:
    store = Fake(None, PublishError("507: the store is full"))  # type: ignore[arg-type]
    assert [row.state for row in go(store)] == ["sent", "failed"]


# Secrets


def test_a_token_is_taken_out_of_every_error_whatever_a_store_answers() -> None:
    data = PublishStore(url="https://x/y", user="ci", token=Credential(env="T"))
    value = header(data, {"T": "qwertz-4711"})["Authorization"]
    for text in ("qwertz-4711", value, value.partition(" ")[2]):
        assert text not in str(PublishError(f"the store says: {text}!"))
        assert text not in str(TransientError(f"the store says: {text}!"))


def test_only_http_loads_nothing_of_s3() -> None:
    code = "import sys, gofallback.cli; print('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_two_files_of_one_name_are_refused(store: ArtifactStore, tmp_path: Path) -> None:
    linux = next(one for one in found(store) if one.manifest.platform == "linux/amd64")
    (linux.path.parent / "hello.manifest.json").write_text("{}")
    with pytest.raises(PublishError, match="would have this name"):
        collect_files([linux], tmp_path, archives=False)
    assert files.CHECKSUMS == "checksums.txt"  # type: ignore[attr-defined]
