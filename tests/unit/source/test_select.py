"""Which files a path or a pattern of group data means."""

from __future__ import annotations

import pytest

from gofallback.source.select import base_of, select

PATHS = ["LICENSE", "web/index.html", "web/js/app.js", "web/js/lib/a[1].js", "webby/x.html", "docs/a.md", "docs/b/c.md"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("LICENSE", {"LICENSE": "LICENSE"}),
        ("./web/index.html", {"web/index.html": "index.html"}),
        ("web", {"web/index.html": "index.html", "web/js/app.js": "js/app.js", "web/js/lib/a[1].js": "js/lib/a[1].js"}),
        (
            "web/",
            {"web/index.html": "index.html", "web/js/app.js": "js/app.js", "web/js/lib/a[1].js": "js/lib/a[1].js"},
        ),
        ("web/*", {"web/index.html": "index.html"}),
        (
            "web/**",
            {"web/index.html": "index.html", "web/js/app.js": "js/app.js", "web/js/lib/a[1].js": "js/lib/a[1].js"},
        ),
        ("web/**/*.js", {"web/js/app.js": "js/app.js", "web/js/lib/a[1].js": "js/lib/a[1].js"}),
        ("docs/?.md", {"docs/a.md": "a.md"}),
        ("web/js/lib/a[1].js", {"web/js/lib/a[1].js": "a[1].js"}),
        ("**/*.md", {"docs/a.md": "docs/a.md", "docs/b/c.md": "docs/b/c.md"}),
        ("LICENS", {}),
        ("*.txt", {}),
    ],
)
def test_a_path_a_folder_and_a_pattern_mean_these_files(pattern: str, expected: dict[str, str]) -> None:
    assert select(pattern, PATHS) == expected


def test_the_base_is_what_comes_before_the_first_wildcard() -> None:
    assert [base_of(one) for one in ("a/b", "a/*/b", "*.md", "a/b?/c")] == ["a/b", "a", "", "a"]
