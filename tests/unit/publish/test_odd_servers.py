"""A store that answers what no store should: one line, soon, without a letter of the token. Servers on loopback."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gofallback.model.publish import PublishStore
from gofallback.publish import web
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item
from gofallback.publish.send import Row, open_store, publish
from gofallback.publish.store import Store

#: Of no form that `redact` would know by itself.
TOKEN = "k7Qcanary0123456789zzcdef"
Answer = bytes | Callable[[socket.socket], None]
NOT_THERE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Odd:
    """A server that answers each method in its own way."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        stream = connection.makefile("rb")
        line, length = stream.readline().decode(), 0
        while (header := stream.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        stream.read(length)
        method, path, *_ = line.split(" ")
        kind = next(
            (kind for kind in self.answers if kind.startswith(f"{method} ") and kind.split()[1] in path), method
        )
        answer = self.answers.get(kind, NOT_THERE)
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(answer)


@pytest.fixture
def odd() -> Iterator[Odd]:
    server = Odd()
    yield server
    server.close()


class Watcher:
    """Keeps what would be printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, item: Item) -> None: ...

    def progressed(self, item: Item, done: int) -> None: ...

    def finished(self, row: Row) -> None: ...

    def report(self, line: str) -> None:
        self.lines.append(line)


def refused(store: Store, data: PublishStore, file: Path) -> str:
    """What a person gets to see of it."""
    item, watcher = Item.of(file, "hello"), Watcher()
    with pytest.raises(PublishError) as error:
        publish([Row(item, store.address(item))], store, data, watcher, lambda _: None)
    shown = "\n".join([str(error.value), *watcher.lines])
    assert "\n" not in str(error.value) and TOKEN[:8] not in shown
    return str(error.value)


@pytest.fixture
def to_web(odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    def send() -> str:
        monkeypatch.setenv("TOKEN", TOKEN)
        url = f"http://127.0.0.1:{odd.port}/r"
        data = PublishStore.model_validate({"url": url, "token": {"env": "TOKEN"}, "timeout": 2, "attempts": 1})
        (tmp_path / "hello").write_bytes(b"x" * 1000)
        return refused(open_store(data, "hello", "v1"), data, tmp_path / "hello")

    return send


@pytest.mark.parametrize(
    "target", ["http://[::1", "http://h:99999999/", "http://h:abc/", f"http://{'a' * 300}/?sig={TOKEN}", "file:///etc"]
)
def test_a_redirect_to_what_is_no_address_is_one_line(odd: Odd, to_web: Callable[[], str], target: str) -> None:
    odd.answers["GET"] = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    line = to_web()
    assert "leads to an invalid address" in line or "redirect to file://" in line


def chunks(*parts: bytes) -> bytes:
    head = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (chunks(b"you sent " + TOKEN[:15].encode(), TOKEN[15:].encode(), b" with it"), "it says: you sent *** with it"),
        (chunks(b"you sent" + b" " * 1977 + TOKEN.encode() + b" more"), "it says: you sent"),
    ],
    ids=["in two pieces", "cut off by what is read at most"],
)
def test_no_part_of_the_token_is_shown_that_a_store_says_in_part(
    odd: Odd, to_web: Callable[[], str], answer: bytes, message: str
) -> None:
    odd.answers["PUT"] = answer
    assert to_web().endswith(message)


def test_a_store_that_talks_for_ever_is_not_listened_to_for_ever(
    odd: Odd, to_web: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "_EXCERPT_TIMEOUT", 0.05)
    stop = threading.Event()

    def drips(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
        while not stop.wait(0.01):
            connection.sendall(b"no, ")

    odd.answers["PUT"] = drips
    try:
        assert "400 Bad: the store refuses this file" in to_web()
    finally:
        stop.set()


UPLOADS = "<U><Upload><Key>hello/v1/hello</Key><UploadId>u</UploadId></Upload></U>"
AGAIN = "<P><IsTruncated>true</IsTruncated><NextPartNumberMarker>0</NextPartNumberMarker></P>"


def xml(text: str, head: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"HEAD": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"}, "an answer that makes no sense (KeyError)"),
        ({"HEAD": xml("", "Last-Modified: never\r\n")}, "an answer that makes no sense (ValueError)"),
        ({"GET": xml("<U/>"), "POST uploads": xml("<A/>")}, "an answer that makes no sense (KeyError)"),
        ({"GET uploads": xml("<U><Upload/></U>"), "POST uploads": xml("<A/>")}, "makes no sense (KeyError)"),
        ({"GET uploads": xml(UPLOADS), "GET uploadId": xml(AGAIN)}, "CreateMultipartUpload: 404"),
    ],
    ids=["no length", "no date", "no id", "uploads of nothing", "the same page for ever"],
)
def test_a_store_that_does_not_speak_s3_is_one_line(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], message: str
) -> None:
    from gofallback.publish.s3 import S3Store

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN)
    odd.answers.update(answers)
    url = f"s3://bucket?endpoint=http://127.0.0.1:{odd.port}"
    data = PublishStore.model_validate({"url": url, "timeout": 2, "attempts": 1})
    (tmp_path / "hello").write_bytes(b"x" * (5 << 20) + b"x")
    assert message in refused(S3Store(data, "hello", "v1", part=5 << 20), data, tmp_path / "hello")
