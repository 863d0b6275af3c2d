"""Approvals count by real signatures; each way in which one does not count has its own line."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from gofallback.approval.digest import ApprovalError, release_of
from gofallback.approval.requester import Requester, find_requester
from gofallback.approval.signers import Signer, parse_signers
from gofallback.approval.statement import time_text
from gofallback.approval.tally import ApprovalPolicy, Tally
from gofallback.artifact.manifest import Manifest
from tests.unit.approvals import NOW, RELEASE, Project, manifest
from tests.unit.approvals import project as make_project

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def only_line(tally: Tally) -> str:
    """The one refusal; alice's approval is good in these tests."""
    assert [one.principal for one in tally.accepted] == ["alice@example.com"]
    assert not tally.enough
    assert len(tally.rejected) == 1 and "\n" not in tally.rejected[0]
    return tally.rejected[0]


def test_two_people_are_enough_and_are_listed_with_their_keys(project: Project) -> None:
    project.approve("alice")
    project.approve("bob")
    tally = project.count()
    assert tally.enough and not tally.rejected
    assert [(one.principal, one.key) for one in tally.accepted] == [
        ("alice@example.com", project.fingerprint("alice")),
        ("bob@example.com", project.fingerprint("bob")),
    ]
    assert tally.accepted[0].file == "approvals/production/hello/v1.1.0/alice@example.com.json"
    assert tally.accepted[0].expires == time_text(NOW + timedelta(hours=23))


def test_without_any_the_line_says_how_many_are_needed_and_who_could_give_them(project: Project) -> None:
    line = project.count(required=3).summary()
    assert line.startswith("0 of 3 approvals; who could still approve: alice@example.com, bob@example.com, carol")


def test_one_of_two_names_who_approved_and_who_is_missing(project: Project) -> None:
    project.approve("alice")
    tally = project.count(requester=Requester(("dave@example.com",), frozenset(), "named"))
    assert not tally.enough
    assert tally.summary() == (
        "1 of 2 approvals (alice@example.com); who could still approve: bob@example.com, carol@example.com"
    )


def test_a_changed_statement_does_not_count(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.write_bytes(project.statement("bob", expires=time_text(NOW + timedelta(days=300))).text())
    assert "the statement was changed after it was signed, or the signature is that of another file" in only_line(
        project.count()
    )


def test_a_changed_digest_does_not_count(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.write_bytes(project.statement("bob", digest="0" * 64).text())
    assert only_line(project.count()).endswith("its digest was changed after it was signed")


def test_a_digest_changed_to_that_of_the_release_does_not_count_either(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob", digest="0" * 64)
    path.write_bytes(project.statement("bob").text())
    assert "the statement was changed after it was signed" in only_line(project.count())


def test_an_approval_of_other_binaries_does_not_count(project: Project) -> None:
    project.approve("alice")
    other = release_of("hello", "v1.1.0", [manifest(content=b"other")])
    project.approve("bob", digest=other.digest, platforms=list(other.platforms))
    line = only_line(project.count())
    assert f"approves other binaries of v1.1.0: digest {other.digest[:12]} (commit cccccccccccc, linux/amd64)" in line
    assert f"this controller has {RELEASE.digest[:12]} (commit cccccccccccc, linux/amd64 linux/arm64)" in line


def test_an_expired_approval_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", expires=time_text(NOW - timedelta(seconds=1)))
    line = only_line(project.count())
    assert line.endswith(f"expired at {time_text(NOW - timedelta(seconds=1))}; bob@example.com has to approve again")


def test_an_approval_counts_no_longer_than_the_environment_allows(project: Project) -> None:
    project.approve("alice", at=time_text(NOW - timedelta(hours=1)))
    project.approve("bob", at=time_text(NOW - timedelta(hours=3)))
    assert "expired at" in only_line(project.count(validity=2))


def test_an_approval_ends_at_its_second(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", expires=time_text(NOW))
    assert project.count(now=NOW - timedelta(seconds=1)).enough
    assert not project.count(now=NOW).enough


def test_an_approval_from_the_future_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", at=time_text(NOW + timedelta(hours=1)))
    assert "in the future; check the clocks" in only_line(project.count())


def test_a_signature_for_another_purpose_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", namespace="git")
    assert only_line(project.count()).endswith("its signature was made for another purpose than gofallback-approval")


def test_a_key_that_may_not_sign_approvals_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.person("bob", 'namespaces="git"')
    project.approve("bob")
    line = only_line(project.count())
    assert line.endswith("may not sign in the namespace gofallback-approval (allowed_signers)")


@pytest.mark.parametrize("limit", ['valid-before="20200101"', 'valid-after="20900101"'])
def test_a_key_that_is_not_valid_now_does_not_count(project: Project, limit: str) -> None:
    project.approve("alice")
    project.person("bob", limit)
    project.approve("bob")
    tally = project.count()
    assert "the key that signed it is not valid now (allowed_signers: valid-after, valid-before)" in only_line(tally)
    assert "bob@example.com" not in tally.remaining_signers


def test_an_approval_for_another_environment_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", environment="staging")
    assert only_line(project.count()).endswith("approves environment staging, not production")


@pytest.mark.parametrize(("what", "value"), [("version", "v1.0.0"), ("service", "other")])
def test_an_approval_of_something_else_does_not_count(project: Project, what: str, value: str) -> None:
    project.approve("alice")
    project.approve("bob", **{what: value})
    assert f"approves {what} {value}, not " in only_line(project.count())


def test_an_unknown_key_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.person("mallory", allowed=False)
    project.approve("bob", key="mallory")
    assert only_line(project.count()).endswith("the key that signed it is not bob@example.com's in allowed_signers")


def test_somebody_unknown_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.person("mallory", allowed=False)
    project.approve("mallory")
    assert "is not mallory@example.com's in allowed_signers" in only_line(project.count())


def test_another_persons_key_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob", key="alice")
    assert "is not bob@example.com's in allowed_signers" in only_line(project.count())


def test_the_same_person_counts_once(project: Project) -> None:
    project.approve("alice")
    project.approve("alice", file="zoe@example.com", reason="again")
    line = only_line(project.count())
    assert line.startswith("approvals/production/hello/v1.1.0/zoe@example.com.json: ")
    assert "alice@example.com has already approved (approvals/production/hello/v1.1.0/alice@" in line


def test_the_same_key_under_two_names_counts_once(project: Project) -> None:
    project.allow("ally@example.com", "alice")
    project.approve("alice")
    project.approve("ally", key="alice")
    line = only_line(project.count())
    assert "is signed by the same key as" in line and "ally@example.com and alice@example.com are one person" in line


def test_the_requesters_own_approval_does_not_count(project: Project) -> None:
    project.approve("alice")
    project.approve("bob")
    tally = project.count(requester=Requester(("bob@example.com",), frozenset(), "named"))
    assert only_line(tally).endswith("bob@example.com requests this run, and cannot approve it as well")


def test_the_requesters_own_key_does_not_count_under_another_name(project: Project) -> None:
    project.allow("bert@example.com", "bob")
    project.approve("alice")
    project.approve("bert", key="bob")
    tally = project.count(requester=Requester(("bob@example.com",), frozenset({project.fingerprint("bob")}), "by key"))
    assert "requests this run" in only_line(tally)


def test_an_unsigned_statement_does_not_count(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.with_name(path.name + ".sig").unlink()
    assert only_line(project.count()).endswith("is not signed (bob@example.com.json.sig is missing)")


def test_a_signature_without_its_statement_is_reported(project: Project) -> None:
    project.approve("alice")
    project.approve("bob").unlink()
    assert only_line(project.count()).endswith("bob@example.com.json: is missing, only its signature is there")


def test_the_signature_of_another_file_does_not_count(project: Project) -> None:
    alice = project.approve("alice")
    bob = project.approve("bob")
    shutil.copy(alice.with_name(alice.name + ".sig"), bob.with_name(bob.name + ".sig"))
    assert only_line(project.count()).endswith("its signature is that of alice@example.com.json")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"]
)
def test_what_is_no_signature_does_not_count(project: Project, content: bytes) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.with_name(path.name + ".sig").write_bytes(content)
    assert only_line(project.count()).endswith("its signature cannot be read")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{}", "is no statement of approval ("),
        (b"not json", "is no statement of approval ("),
        (b"x" * 70_000, "has more than 65536 bytes"),
    ],
)
def test_what_is_no_statement_does_not_count(project: Project, content: bytes, line: str) -> None:
    project.approve("alice")
    project.approve("bob").write_bytes(content)
    assert line in only_line(project.count())


def test_a_statement_with_other_line_ends_says_so(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "is not as `gofallback approve` wrote it (line ends? a key twice?)" in only_line(project.count())


def test_a_key_given_twice_is_no_way_round_the_signature(project: Project) -> None:
    project.approve("alice")
    path = project.approve("bob")
    path.write_bytes(path.read_bytes().replace(b'  "at":', b'  "environment": "staging",\n  "at":'))
    assert "a key twice?" in only_line(project.count())


def test_a_certificate_of_the_people_counts_by_the_certified_key(project: Project) -> None:
    """cert-authority lines of allowed_signers work as ssh-keygen has them; the key counts, not the certificate."""
    authority = project.person("ca", allowed=False)
    erin = project.person("erin", allowed=False)
    argv = ["ssh-keygen", "-q", "-s", str(authority), "-I", "erin", "-n", "erin@example.com", f"{erin}.pub"]
    subprocess.run(argv, check=True)
    project.allow("*@example.com", "ca", "cert-authority")
    project.approve("alice")
    project.approve("erin", key="erin-cert.pub")
    tally = project.count()
    assert tally.enough and tally.accepted[1].key == project.fingerprint("erin")


def test_without_ssh_keygen_one_line_says_so(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ApprovalError, match=r"^ssh-keygen: not found on this controller.*install openssh-client$"):
        project.count()


def test_without_allowed_signers_one_line_says_so(project: Project) -> None:
    (project.root / "allowed_signers").unlink()
    with pytest.raises(ApprovalError, match=r"^allowed_signers: cannot be read \(No such file"):
        project.count()


def test_allowed_signers_that_name_nobody_are_refused(project: Project) -> None:
    (project.root / "allowed_signers").write_text("# nobody yet\n")
    with pytest.raises(ApprovalError, match=r"^allowed_signers: has no one who may approve"):
        project.count()


def test_an_environment_that_is_no_folder_name_is_refused(project: Project) -> None:
    from gofallback.model.approval import Approval

    with pytest.raises(ApprovalError, match=r"^environment '../x': should be letters"):
        ApprovalPolicy(project.root, "../x", Approval()).folder("hello", "v1")


# What is approved


def test_the_digest_is_the_same_whoever_built_it_and_when() -> None:
    rebuilt = release_of(
        "hello", "v1.1.0", [manifest("linux/arm64"), manifest(builder="w9", built_at="2027-01-01T00:00:00Z")]
    )
    assert rebuilt.digest == RELEASE.digest


@pytest.mark.parametrize(
    "other",
    [
        [manifest()],
        [manifest(content=b"tampered"), manifest("linux/arm64")],
        [manifest(go_version="1.26.0"), manifest("linux/arm64", go_version="1.26.0")],
        [manifest(commit="d" * 40), manifest("linux/arm64", commit="d" * 40)],
    ],
)
def test_another_platform_byte_toolchain_or_commit_is_another_digest(other: list[Manifest]) -> None:
    assert release_of("hello", "v1.1.0", other).digest != RELEASE.digest


def test_of_two_builds_of_a_platform_the_later_one_counts_or_the_one_the_run_takes() -> None:
    old, new = manifest(), manifest(go_version="1.28.0", built_at="2026-11-23T00:00:00Z")
    assert release_of("hello", "v1.1.0", [old, new]).digest == release_of("hello", "v1.1.0", [new]).digest
    chosen = release_of("hello", "v1.1.0", [old, new], {("linux/amd64", "hello"): old.key})
    assert chosen.digest == release_of("hello", "v1.1.0", [old]).digest


def test_artifacts_of_a_moved_tag_are_never_one_release() -> None:
    moved = manifest("linux/arm64", commit="d" * 40)
    with pytest.raises(ApprovalError, match=r"of several commits \(cccccccccccc and dddddddddddd\), a tag was moved"):
        chosen = {("linux/amd64", "hello"): manifest().key, ("linux/arm64", "hello"): moved.key}
        release_of("hello", "v1.1.0", [manifest(), moved], chosen)


def test_nothing_in_the_store_says_how_to_build_it() -> None:
    with pytest.raises(ApprovalError, match=r"not in the artifact store; build it with deploys/drill.py"):
        release_of("hello", "v1.1.0", [])


# Who asks


def signers_of(project: Project) -> list[Signer]:
    return parse_signers((project.root / "allowed_signers").read_text())


def test_fingerprints_of_allowed_signers_are_those_of_ssh_keygen(project: Project) -> None:
    found = {
        one.principals[0]: one.fingerprint for one in parse_signers((project.root / "allowed_signers").read_text())
    }
    assert found == {f"{name}@example.com": project.fingerprint(name) for name in ("alice", "bob", "carol", "dave")}


def test_the_requester_is_found_by_the_key_at_hand(project: Project) -> None:
    found = find_requester(signers_of(project), None, [project.fingerprint("bob")], {"alice"})
    assert found.principals == ("bob@example.com",) and str(found) == "bob@example.com (has the SSH key)"


@pytest.mark.parametrize("user", ["carol", "carol@example.com"])
def test_without_a_known_key_the_user_name_tells(project: Project, user: str) -> None:
    found = find_requester(signers_of(project), None, ["SHA256:x"], {user, "root"})
    assert found.principals == ("carol@example.com",)


def test_whoever_claims_to_be_another_is_still_known_by_the_key(project: Project) -> None:
    found = find_requester(signers_of(project), "dave@example.com", [project.fingerprint("bob")], set())
    assert found.principals == ("bob@example.com", "dave@example.com")


def test_a_claimed_name_that_nobody_has_is_refused_with_those_there_are(project: Project) -> None:
    with pytest.raises(ApprovalError, match=r"did you mean alice@example.com\? it has: alice@example.com, bob"):
        find_requester(signers_of(project), "alcie@example.com", [], set())


def test_somebody_without_a_key_or_name_there_is_nobodys_requester(project: Project) -> None:
    found = find_requester(signers_of(project), None, ["SHA256:x"], {"deploy"})
    assert found.principals == () and str(found) == "nobody in allowed_signers"


def test_usable_keys_are_those_in_the_home_and_those_named(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gofallback.approval.keygen import usable_keys

    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    shutil.copy(project.keys / "alice", tmp_path / "home" / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "home" / ".ssh" / "id_ed25519").chmod(0o600)
    found = usable_keys([project.keys / "bob", project.keys / "missing"])
    assert found == {project.fingerprint("alice"), project.fingerprint("bob")}


def test_lines_of_allowed_signers_that_ssh_keygen_would_not_read_name_nobody() -> None:
    text = "alice@x\nbob@x ssh-ed25519 not-base64!\n\n# c\ncarol@x bad option ssh-ed25519 AAAA"
    assert parse_signers(text) == []
