"""The report in all its forms: what an SRE reads at the end of a run, on a bad day above all."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import get_args

import pytest
from rich.console import Console

from gofallback.report import html, markdown, table, timeline
from gofallback.report.model import Report, Span, Stage
from gofallback.report.rows import TargetRow
from gofallback.report.screen import console, overview, text
from gofallback.report.style import verdict_words
from gofallback.rollout.phases import TargetPhase, Verdict
from gofallback.rollout.phases import verdict as verdict_of
from tests.unit.reports import COMMIT, NEW, OLD, SHA, bad, good, row

EVIL = "<script>alert('x')</script>"


def test_the_table_shows_every_target_in_one_line() -> None:
    lines = text(table.render(good())).splitlines()
    assert lines[0].split() == ["target", "before", "release", "commit", "sha256", "health", "seconds", "outcome"]
    assert lines[2].split() == ["t1", "v1.0.0", NEW, COMMIT[:8], SHA[:12], "healthy", "4.2", "confirmed"]
    assert lines[-1] == "done: every target runs the wanted release and is healthy, after 74.2 s"


def test_the_table_of_a_bad_day_says_why_and_what_runs_now() -> None:
    shown = text(table.render(bad()))
    assert f"t1: reverted, put back because t2 failed; {OLD} runs there now (as before)" in shown
    assert f"t2: failed, GET /healthz answered 503; {OLD} runs there now (as before)" in shown
    assert "t3: untouched; nothing was changed there" in shown
    assert "reverted: the targets run what they ran before" in shown
    assert "t2: not healthy within 20 s" in shown
    assert "note: the mirror of hello is 3 h old" in shown


def test_a_first_release_with_nothing_to_go_back_to_is_reported() -> None:
    report = good().model_copy(update={"targets": [row("t1", outcome="failed", running="", previous="")]})
    assert "no release runs there now" in text(table.render(report))


@pytest.mark.parametrize("report", [good(), bad()], ids=["good", "bad"])
def test_nothing_is_wider_than_a_hundred_columns(report: Report) -> None:
    long = report.model_copy(
        update={
            "targets": [*report.targets, row("a-host-with-a-rather-long-name.example.com", release="v1." + "2" * 60)]
        }
    )
    lines = text(overview(long)).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert any(SHA[:12] in line for line in lines), "a hash must not be cut"


def test_several_services_are_distinguished() -> None:
    report = good().model_copy(update={"targets": [row("t1"), row("t1", service="other")]})
    lines = text(table.render(report)).splitlines()
    assert lines[0].split()[:4] == ["target", "service", "before", "release"]
    assert lines[3].split()[:2] == ["t1", "other"]


def test_the_output_is_plain_without_a_terminal() -> None:
    buffer = io.StringIO()
    console(buffer).print(overview(bad()))
    assert "\x1b" not in buffer.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_color_is_obeyed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    console(coloured).print(overview(bad()))
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    console(plain).print(overview(bad()))
    assert "\x1b" not in plain.getvalue()


def test_the_timeline_has_one_bar_for_each_host_and_stage_in_the_order_of_the_flow() -> None:
    lines = text(timeline.render(good())).splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["preflight", "build", "activate"]
    assert len(lines) == 6
    build = next(line for line in lines if line.startswith("build"))
    bar = re.search(r"(·*)(█+)(·*)", build)
    assert bar
    before, length, after = (len(part) for part in bar.groups())
    width = before + length + after
    assert abs(before / width - 23.5 / 74.2) < 0.05
    assert abs(length / width - 24.5 / 74.2) < 0.05
    assert build.endswith("24.5 s")


def test_the_timeline_marks_what_failed_in_words() -> None:
    lines = text(timeline.render(bad())).splitlines()
    assert lines[-2].endswith("4.00 s reverted")
    assert lines[-1].endswith("4.20 s failed")


def test_the_timeline_of_a_large_fleet_shows_failures_and_the_slowest() -> None:
    spans = [Span(host=f"t{number}", start=0, end=1 + number / 100) for number in range(50)]
    spans[3] = Span(host="t3", start=0, end=0.1, status="failed")
    report = good().model_copy(update={"stages": [Stage(name="activate", spans=spans)]})
    lines = text(timeline.render(report)).splitlines()
    assert len(lines) == 13
    assert any("t3 " in line and line.endswith("failed") for line in lines)
    assert any("t49 " in line for line in lines)
    assert lines[-1].strip() == "and 38 more hosts, up to 1.38 s"


def test_the_timeline_can_be_drawn_without_unicode() -> None:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=buffer, width=100).print(timeline.render(good()))
    buffer.seek(0)
    assert "###" in buffer.read()


class Outline(HTMLParser):
    """Tags with what identifies them, and every address the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.bars: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag == "section":
            self.sections.append(found.get("id") or "")
        if tag == "g" and "data-stage" in found:
            self.bars.append((found["data-stage"] or "", ""))
        if tag == "rect":
            self.bars.append((self.bars[-1][0], (found.get("class") or "").removeprefix("bar ")))
        self.loads += [value for key in ("src", "href", "action") if (value := found.get(key))]


def outline(report: Report) -> Outline:
    parser = Outline()
    parser.feed(html.render(report))
    return parser


def test_the_page_has_its_parts_and_one_bar_for_each_host_and_stage() -> None:
    page = outline(bad())
    assert page.sections == ["targets", "timeline", "artifacts", "notes"]
    assert [bar for bar in page.bars if bar[1]] == [
        ("preflight", "ok"),
        ("preflight", "ok"),
        ("preflight", "ok"),
        ("build", "ok"),
        ("activate", "reverted"),
        ("activate", "failed"),
    ]


@pytest.mark.parametrize("phase", sorted(set(TargetPhase) - {TargetPhase.PLANNED}))
def test_every_outcome_of_a_target_has_a_colour_on_the_page(phase: TargetPhase) -> None:
    style = html.render(bad()).partition("</style>")[0]
    assert f".{phase}, " in style or f".{phase} {{" in style, "white on white otherwise"


def test_the_page_opens_offline_and_runs_nothing() -> None:
    page = outline(bad())
    assert page.loads == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "default-src 'none'" in html.render(bad())
    assert "url(" not in html.render(bad())


def test_bars_of_the_page_lie_where_the_seconds_say() -> None:
    drawing = html.draw(good())
    build = next(band for band in drawing.bands if band.name == "build").bars[0]
    plot = 760
    assert build.x == pytest.approx(drawing.left + 23.5 / 74.2 * plot, abs=0.1)
    assert build.width == pytest.approx(24.5 / 74.2 * plot, abs=0.1)
    colours = {
        bar.status: bar.colour for band in html.draw(bad()).bands if band.name == "activate" for bar in band.bars
    }
    assert len({*colours.values(), build.colour}) == 3, "failed, reverted and good bars differ"


def test_the_drawing_is_well_formed_xml() -> None:
    page = html.render(bad())
    drawing = page[page.index("<svg") : page.index("</svg>") + 6]
    assert len(ET.fromstring(drawing).findall(".//rect")) == 6


def test_a_run_that_was_refused_at_once_still_has_a_page() -> None:
    empty = good().model_copy(
        update={
            "stages": [],
            "targets": [],
            "artifacts": [],
            "sources": [],
            "verdict": "refused",
            "reason": "locked by bob",
        }
    )
    assert outline(empty).sections == []
    assert "locked by bob" in html.render(empty)
    assert "refused" in text(overview(empty))
    assert "refused" in markdown.render(empty)


def poisoned() -> Report:
    report = bad()
    return Report.model_validate(
        {
            **report.model_dump(),
            "command": f"pyinfra --data reason={EVIL}",
            "reason": f"{EVIL} | `code` *bold*",
            "notes": [EVIL],
            "targets": [row(f"t{EVIL}", outcome="failed", reason=EVIL + "\n# heading").model_dump()],
            "stages": [Stage(name="build", spans=[Span(host=EVIL, start=0, end=1, detail=EVIL)]).model_dump()],
        }
    )


def test_what_hosts_say_cannot_become_part_of_the_page() -> None:
    page = html.render(poisoned())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "script" not in outline(poisoned()).tags


def test_what_hosts_say_cannot_break_the_markdown() -> None:
    text = markdown.render(poisoned())
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert "<script" not in outside
    assert "\\|" in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]
    rows = [line for line in outside.splitlines() if line.startswith("| t")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 10 for line in rows)


def test_what_hosts_say_is_not_taken_for_terminal_markup() -> None:
    report = good().model_copy(
        update={"reason": "[red]x[/red]", "targets": [row("t1", outcome="failed", reason="[bold]")]}
    )
    shown = text(table.render(report))
    assert "[red]x[/red]" in shown
    assert "failed, [bold];" in shown


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("clone https://bob:hunter2@git.example.com/x.git", "clone https://bob:***@git.example.com/x.git"),
        ("--data api_token=abc123 -v", "--data api_token=*** -v"),
        ('{"password": "p w", "user": "bob"}', '{"password": ***, "user": "bob"}'),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer ***"),
        ("used ghp_0123456789abcdefABCD here", "used *** here"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----", "***"),
        ("GET /healthz answered 503 after 2 s", "GET /healthz answered 503 after 2 s"),
    ],
)
def test_what_looks_like_a_secret_never_gets_into_a_report(written: str, kept: str) -> None:
    report = Report.model_validate({**good().model_dump(), "reason": written, "notes": [written]})
    assert report.reason == kept
    assert report.notes == [kept]


def test_the_summary_for_an_incident_says_it_all() -> None:
    shown = markdown.render(bad())
    assert shown.startswith("## reverted: the targets run what they ran before\n")
    assert "- **why**: t2: not healthy within 20 s" in shown
    assert f"commit `{COMMIT}`" in shown
    assert f"| t2 | hello | failed | {OLD} | {OLD} | {COMMIT[:12]} | {SHA[:12]} | unhealthy | 4.2 |" in shown
    assert "| activate | 63.0 | 8.20 s | 2 | t1 reverted, t2 failed |" in shown
    assert "the mirror of hello is 3 h old" in shown


def test_a_report_comes_back_from_its_json() -> None:
    assert Report.model_validate_json(bad().model_dump_json()) == bad()


def rows(*outcomes: str) -> list[TargetRow]:
    return [row(f"t{index}", outcome=TargetPhase(outcome)) for index, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("targets", "flags", "verdict"),
    [
        (rows("confirmed", "confirmed"), {}, "done"),
        (rows("confirmed", "unchanged"), {}, "done"),
        (rows("unchanged", "unchanged"), {}, "unchanged"),
        ([], {}, "unchanged"),
        (rows("confirmed", "failed"), {}, "partly"),
        (rows("confirmed", "untouched"), {}, "partly"),
        (rows("reverted", "reverted", "untouched"), {}, "reverted"),
        (rows("reverted", "failed"), {}, "failed"),
        (rows("failed"), {}, "failed"),
        (rows("untouched", "untouched"), {"refused": True}, "refused"),
        ([], {"refused": True}, "refused"),
        (rows("untouched"), {"failed": True}, "failed"),
        (rows("unchanged"), {"failed": True}, "failed"),
        (rows("confirmed"), {"failed": True}, "failed"),
        (rows("unchanged", "reverted"), {}, "partly"),
        (rows("confirmed", "reverted", "untouched"), {}, "partly"),
        (rows("confirmed", "provisional"), {}, "partly"),
        (rows("provisional", "provisional"), {}, "failed"),
        (rows("reverted", "provisional"), {}, "failed"),
        ([row("t1", health="unhealthy"), row("t2", outcome="reverted")], {}, "failed"),
        ([row("t1", outcome="unchanged", health="unhealthy")], {}, "failed"),
    ],
)
def test_the_verdict_follows_from_the_targets(
    targets: list[TargetRow], flags: dict[str, bool], verdict: Verdict
) -> None:
    assert verdict_of([(row.outcome, row.health != "unhealthy") for row in targets], **flags) == verdict


def test_each_way_a_run_can_end_has_an_exit_status_of_its_own() -> None:
    found = {verdict: good().model_copy(update={"verdict": verdict}).exit_status for verdict in get_args(Verdict)}
    assert found == {"done": 0, "unchanged": 0, "refused": 2, "reverted": 3, "failed": 4, "partly": 5}


def test_a_dynamic_binary_is_shown_with_the_libc_it_needs_and_what_the_targets_have() -> None:
    said = "needs glibc 2.31 or later; there is glibc 2.31 on t1, glibc 2.36 on t2"
    report = good()
    linked = report.model_copy(update={"artifacts": [report.artifacts[0].model_copy(update={"libc": said})]})
    assert f"- hello linux/amd64: {said}" in markdown.render(linked)
    assert f"<p>hello linux/amd64: {said}</p>" in html.render(linked)
    assert "<p>hello linux/amd64" not in html.render(report)


@pytest.mark.parametrize(
    ("verdict", "words"), [("done", "the builders are wiped"), ("unchanged", "nothing of gofallback was left")]
)
def test_a_wipe_does_not_say_that_everything_is_in_place(verdict: Verdict, words: str) -> None:
    report = good().model_copy(update={"command": "wipe", "targets": [], "verdict": verdict})
    assert verdict_words(report).startswith(words)
