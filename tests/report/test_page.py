"""The page as a file: complete, offline, and deaf to what names say."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from foveate.report import write_report

HOSTILE = "</script><img src=x onerror=alert(1)>"
QUOTES = "\"'><svg onload=alert(2)>{{ 7 * 7 }}&lt;b&gt;"
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """Collects the elements, their attributes and what stands in scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def page_of(run):
    text = write_report(run).read_text(encoding="utf-8")
    return text, Page(text)


def check_inert(page):
    for tag, attributes in page.elements:
        assert tag not in {"img", "iframe", "object", "embed", "base", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag  # the policy forbids it, so nothing may rely on it
            if name in {"src", "href", "xlink:href", "action"}:
                assert value.startswith(("#", "data:image/")), (tag, value[:40])


def test_page_is_complete_and_well_formed(make_run):
    text, page = page_of(make_run(methods={"fa-cb": np.arange(8), "lc": np.arange(8)[::-1]}))
    assert page.open == []
    check_inert(page)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", text)
    policy = next(a["content"] for t, a in page.elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    uses = {a["href"][1:] for t, a in page.elements if t == "use"}
    assert uses
    assert uses <= set(ids)


def test_same_run_same_bytes(make_run, tmp_path):
    run = make_run()
    one, two = (write_report(run, tmp_path / name) for name in ("1.html", "2.html"))
    assert one.read_bytes() == two.read_bytes()
    assert write_report(run) == run / "report.html"


def test_hostile_names_stay_text(make_run):
    run = make_run(
        scenes=(HOSTILE, QUOTES),
        classes=(HOSTILE, QUOTES),
        methods={HOSTILE.replace("/", ""): np.arange(8), "m'\"": np.arange(8)[::-1]},
        titles={"m'\"": f"Title ({QUOTES[:14]})"},
        excluded={HOSTILE: QUOTES},
        uri="javascript:alert(3)",
        command=f"foveate curate '{HOSTILE}' {QUOTES}",
    )
    text, page = page_of(run)
    check_inert(page)
    assert page.open == []
    assert HOSTILE not in text
    assert "49" not in re.findall(r"&gt;(\d+)&amp;lt;b", text)  # the template ran nothing
    assert sum(t == "script" for t, _ in page.elements) == 1  # no data in scripts
    facts = next(a["data-about"] for _, a in page.elements if "data-about" in a)
    assert f"{HOSTILE}\t50\u202f%" in facts.split("\n")


def test_colours_are_checked(make_run):
    run = make_run()
    legend = run / "tables/legend.json"
    legend.write_text(legend.read_text().replace("#008000", "red;x"))
    text, _ = page_of(run)
    assert "red;x" not in text


@pytest.mark.parametrize(
    "options",
    [
        {"scenes": ("only",), "per_scene": 1, "kept": 1, "methods": {"m": [0]}},
        {"classes": ("one",), "counts": np.ones((8, 1))},
        {"classes": tuple(f"class {i}" for i in range(40))},
        {"classes": None, "thumbs": False},
        {"per_scene": 2, "methods": {f"m{i}": np.roll(range(4), i) for i in range(50)}},
        {"methods": {"a": np.arange(8), "b": np.arange(8)}, "depth": 2},
        {"depth": 0},
        {"kept": 8},
    ],
    ids=["one patch", "1 class", "40 classes", "bare", "50 methods", "depth", "no scores", "all"],
)
def test_extremes(make_run, options):
    text, page = page_of(make_run(**options))
    check_inert(page)
    assert page.open == []
    assert ">nan<" not in text
    assert "None" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
