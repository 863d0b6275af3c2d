"""Targets that pull: what comes, who knows the token, and every way in which a store can fail a target."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gofallback.model.publish import PublishStore
from gofallback.operations.target.release import put_release
from gofallback.release.pull import PullSource
from tests.lab.fleet import Fleet, Result
from tests.lab.pyinfra_host import connected
from tests.lab.s3_stores import moto, swift
from tests.lab.stores import READ_TOKEN, TOKEN, Nginx, nginx
from tests.lab.target import Target, hello

pytestmark = pytest.mark.lab

SAMPLER = (
    "while :; do for one in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\\0' ' ' < $one; echo; done; sleep 0.02; "
    "done 2>/dev/null | grep --line-buffered -e canary -e Signature >> /dev/shm/seen"
)


@pytest.fixture(scope="module")
def web(stocked: Fleet) -> Iterator[Nginx]:
    yield from nginx(f"{stocked.lab.file.prefix}1")


@pytest.fixture
def fresh(stocked: Fleet, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Targets as on the first day, and a controller with both tokens."""
    stocked.fresh_targets()
    monkeypatch.setenv("LAB_TOKEN", TOKEN)
    # in a file: what the lab itself starts on a target has this process's environment
    (stocked.home / "reader").write_text(READ_TOKEN + "\n")
    return stocked


def store(fleet: Fleet, url: str, **more: Any) -> dict[str, Any]:
    reader = {"file": str(fleet.home / "reader")}
    given = {"url": url, "token": {"env": "LAB_TOKEN"}, "read_token": reader, "plain_http": True}
    return {"stores": {"depot": {**given, "attempts": 2, **more}}}


def pull(fleet: Fleet, publish: dict[str, Any], version: str = "v1.0.0", **target: Any) -> Result:
    data = {"publish": publish, "target": {"delivery": "pull", **target}, "rollout": {"confirm_window": 10}}
    return fleet.run("rollout", "--data", f"version={version}", data=data)


def agents_requests(web: Nginx, path: str) -> list[str]:
    return [line for line in web.log().splitlines() if f" {path}" in line and "agent=gofallback-agent" in line]


def test_each_target_fetches_what_the_controller_sent_to_the_store_once(fresh: Fleet, web: Nginx) -> None:
    for target in fresh.lab.targets:
        target.run(f"systemd-run --collect --unit=sampler /bin/sh -c {shlex.quote(SAMPLER)}")
    result = pull(fresh, store(fresh, f"{web.url}/private/a"), pull_fallback="none")
    assert result.code == 0, result.output
    assert {fresh.answer(host) for host in ("t1", "t2")} == {"ok v1.0.0"}
    path = "/private/a/hello/v1.0.0/hello-linux-amd64"
    assert web.log().count(f"PUT {path} ") == 1
    assert len(agents_requests(web, path)) == 2
    assert all(f"auth=Bearer {READ_TOKEN}" in line for line in agents_requests(web, path)), "the token for reading"
    assert (
        len(re.findall(r"uploaded: 0\.0 MB sent|uploaded: [\d.]+ MB sent, [\d.]+ MB pulled from depot", result.output))
        == 2
    )
    assert READ_TOKEN not in result.output and TOKEN not in result.output
    for target in fresh.lab.targets:
        # the journal, every file, and what stood in arguments and environments meanwhile
        assert READ_TOKEN not in target.run("journalctl --no-pager -o export | cat").stdout
        seen = target.run("cat /dev/shm/seen").stdout
        assert seen and READ_TOKEN not in seen, "it saw itself, so it looks"
        searched = "/etc /home /opt /root /run /srv /tmp /var"
        assert target.run(f"grep -rlas -e {READ_TOKEN} {searched} --exclude-dir=journal || true").stdout == ""
    again = pull(fresh, store(fresh, f"{web.url}/private/a"), pull_fallback="none")
    assert again.code == 0 and "nothing was changed" in again.output
    fresh.fresh_targets()
    third = pull(fresh, store(fresh, f"{web.url}/private/a"), pull_fallback="none")
    assert third.code == 0 and "was there already" in third.output, third.output
    assert web.log().count(f"PUT {path} ") == 1, "what is in the store already is not sent again"


@pytest.mark.parametrize("kind", ["moto", "swift"])
def test_s3_is_pulled_from_by_signed_addresses_that_nobody_sees(
    fresh: Fleet, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{fresh.lab.file.prefix}1"
    for s3 in swift(address) if kind == "swift" else moto(tmp_path, address):
        s3.client().create_bucket(Bucket="releases")
        for key, value in s3.environment.items():
            monkeypatch.setenv(key, value)
        publish = {"stores": {"depot": {"url": f"s3://releases/pre?endpoint={s3.url}", "plain_http": True}}}
        result = pull(fresh, publish, pull_fallback="none")
        assert result.code == 0, result.output
        assert "pulled from depot" in result.output
        assert "Signature" not in result.output and s3.secret not in result.output
        assert {fresh.answer(host) for host in ("t1", "t2")} == {"ok v1.0.0"}


def test_a_store_that_fails_every_target_is_one_line_each_and_nothing_is_switched(fresh: Fleet, web: Nginx) -> None:
    assert pull(fresh, store(fresh, f"{web.url}/private/c")).code == 0
    result = pull(fresh, store(fresh, f"{web.url}/spoiled/c"), "v1.1.0", pull_fallback="none")
    assert result.code == 4, result.output
    assert (
        "cannot be pulled from depot: its sha256 is" in result.output
        and "that is not what was published" in result.output
    )
    assert {fresh.answer(host) for host in ("t1", "t2")} == {"ok v1.0.0"}
    assert fresh.lab.host("t1").run("ls -A /opt/hello/releases").stdout.count("\n") == 1, "nothing half there"


def test_what_cannot_be_pulled_is_pushed_with_a_note_unless_the_data_says_otherwise(fresh: Fleet, web: Nginx) -> None:
    result = pull(fresh, store(fresh, f"{web.url}/hidden/d"))
    assert result.code == 0, result.output
    assert (
        "404 Not Found; it was published, and is not there" in result.output and "it is pushed instead" in result.output
    )
    assert {fresh.answer(host) for host in ("t1", "t2")} == {"ok v1.0.0"}
    notes = "\n".join(fresh.report()["notes"])
    assert "t1: hello was pushed, as it cannot be pulled from depot" in notes


def test_a_store_that_does_not_take_the_binary_fails_the_run_or_is_gone_around(fresh: Fleet, web: Nginx) -> None:
    full = store(fresh, f"{web.url}/quota/e")
    result = pull(fresh, full, pull_fallback="none")
    assert result.code == 4, result.output
    assert (
        "cannot be published to depot" in result.output
        and "507 Insufficient Storage: the store is full" in result.output
    )
    assert fresh.live("t1") is None
    assert pull(fresh, full).code == 0
    assert fresh.answer("t1") == "ok v1.0.0"


def test_what_is_missing_on_the_controller_is_said_before_anything_is_done(fresh: Fleet, web: Nginx) -> None:
    lost = store(fresh, f"{web.url}/private/f", read_token={"env": "NOT_SET"})
    result = pull(fresh, lost, pull_fallback="none")
    assert result.code == 2, result.output
    assert "environment variable NOT_SET, which `read_token` names, is not set" in result.output
    assert "nothing was changed" in result.output and fresh.live("t1") is None


# One target, and the step alone


@pytest.fixture(scope="module")
def link(stocked: Fleet) -> Iterator[Target]:
    with connected(stocked.lab) as (state, hosts, said):
        yield Target(stocked.lab, state, hosts[0], said)


def source_at(web: Nginx, path: str, **more: Any) -> PullSource:
    """A source with the binary of v1.1.0 in the store, whatever targets then get."""
    from tests.lab.programs import program

    place = web.files / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(program("hello", "v1.1.0").path.read_bytes())
    place.chmod(0o644)
    given: dict[str, Any] = {"timeout": 2, "attempts": 2, "deadline": 30, "headers": {}, **more}
    url = given.pop("url", f"{web.url}/{path}")
    return PullSource("depot", url.split("/")[2], url, **given)


def attempt(link: Target, source: PullSource, **more: Any) -> bool:
    link.said.lines.clear()
    link.lab.targets[0].run("rm -rf /opt/hello/releases/*")
    _, upload = link.upload(hello(), "v1.1.0")
    assert upload is not None
    programs = tuple(
        replace(one, source=source if one.path == "bin/hello" else None, copies=()) for one in upload.programs
    )
    return put_release(link.state, link.host, replace(upload, programs=programs, **more))


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        (
            "private/x",
            {"headers": {"Authorization": "Bearer canary-wrong"}},
            "401 Unauthorized; the store refuses an anonymous reader",
        ),
        ("hidden/x", {}, "404 Not Found; it was published, and is not there for an anonymous reader"),
        ("spoiled/x", {}, "; that is not what was published; find out what changes files on the way"),
        ("slow/x", {"deadline": 3}, "not done within 3 s"),
        ("open/x", {"url": "http://127.0.0.1:9/x"}, "connection refused; tried 2 times; is 127.0.0.1:9 up"),
        ("open/x", {"url": "http://store.invalid/x"}, "lookup store.invalid"),
        ("open/x", {"proxy": "http://127.0.0.1:9"}, "proxyconnect tcp"),
    ],
)
def test_a_failure_of_the_store_is_one_line_and_leaves_the_target_as_it_was(
    link: Target, web: Nginx, path: str, more: dict[str, Any], said: str
) -> None:
    assert not attempt(link, source_at(web, path, **more))
    last = link.said.lines[-1]
    assert "cannot be pulled from depot: " in last and said in last, link.said.text
    assert "canary" not in link.said.text and "\n" not in last
    assert link.lab.targets[0].run("ls -A /opt/hello/releases | grep -c tmp || true").stdout.strip() == "0"


def test_a_redirect_to_another_host_goes_without_the_token(link: Target, web: Nginx) -> None:
    assert attempt(link, source_at(web, "led/x", headers={"Authorization": f"Bearer {READ_TOKEN}"}))
    asked = [line for line in web.log().splitlines() if line.startswith(f"{web.other} GET /led/x")]
    assert asked and all("auth=- named=-" in line for line in asked)
    assert "canary" not in link.said.text


def test_tls_needs_the_stores_authority_which_the_controller_sends_along(link: Target, web: Nginx) -> None:
    url, token = f"https://{web.address}:{web.tls}/open/tls", {"Authorization": f"Bearer {TOKEN}"}
    assert not attempt(link, source_at(web, "open/tls", url=url, headers=token))
    assert "x509: certificate signed by unknown authority" in link.said.lines[-1] and "`ca`" in link.said.lines[-1]
    ca = (web.root / "cert.pem").read_text()
    assert attempt(link, source_at(web, "open/tls", url=url, headers=token, ca=ca)), link.said.text


def test_a_disk_that_fills_up_under_way_is_said_as_such(link: Target, web: Nginx) -> None:
    machine = link.lab.targets[0]
    machine.run("rm -rf /opt/hello/releases/*")
    machine.fill_disk(leave_mb=9)  # the agent fits, and most of the binary does not
    try:
        assert not attempt(link, source_at(web, "open/disk"))
        assert "the disk is full: " in link.said.lines[-1] and "MB are needed" in link.said.lines[-1]
        assert not attempt(link, source_at(web, "open/disk"), minimum_free_mb=-1000)
        assert "the disk is full: the disk filled up" in link.said.lines[-1], link.said.text
    finally:
        machine.free_disk()


def test_the_data_of_a_store_never_shows_a_token() -> None:
    assert "canary" not in repr(PullSource("s", "h", "https://h/?X=canary", {"A": "canary"}))
    assert PublishStore.model_validate({"url": "https://x/y", "read_token": {"env": "A"}}).read_token
