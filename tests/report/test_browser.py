"""The page in a real browser: scripts run, names do not, and no request goes to the network."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from bench_runs import write_benched
from focus_runs import write_focus
from observe_runs import write_completed, write_selected, write_trained

from foveate.report import render, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture
def load(tmp_path):
    def load(path, fragment=""):
        """Return the page's DOM after its scripts ran, and what the browser complained about."""
        done = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-dev-shm-usage",
                f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000",
                "--dump-dom", f"{path.as_uri()}{fragment}",
            ],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]

    return load


def options_on(dom):
    """Return the options whose parts of the page are on."""
    return set(re.findall(r'data-option="(\d+)" class="on"', dom))


def test_tabs_follow_the_address(make_run, load):
    order = np.arange(8)
    run = make_run(methods={"fa-cb": order, "l c": order[::-1]}, kept=3)
    dom, console = load(write_report(run), "#method=l%20c")
    assert console == []
    assert 'data-ready="yes"' in dom
    assert 'data-current="l c"' in dom
    assert options_on(dom) == {"1"}
    assert re.findall(r'data-option="1" class="on">(\d picks)', dom) == ["0 picks", "3 picks"]
    assert "#1 \u00b7 1.000 \u00b7 y000000_x000030_10x10" in dom


@pytest.mark.slow
def test_without_scripts_every_option_is_there(make_run, load):
    order = np.arange(8)
    page = write_report(make_run(methods={"a": order, "b": order[::-1]}))
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    dom, _ = load(page)
    assert 'class="js"' not in dom
    assert {"0", "1"} == set(re.findall(r'<div data-option="(\d)"', dom))


def test_policy_blocks_injected_scripts_and_images(make_run, load):
    page = write_report(make_run(methods={"a": np.arange(8), "b": np.arange(8)}))
    text = page.read_text(encoding="utf-8")
    attack = "<script>document.title='owned'</script><img src='https://example.org/x.png'>"
    page.write_text(text.replace("<main", attack + "<main", 1), encoding="utf-8")
    dom, console = load(page)
    assert "<title>owned" not in dom
    assert sum("Content Security Policy" in line for line in console) == 2


def test_enlarging_with_hostile_names(make_run, load, monkeypatch):
    act = """
    addEventListener("load", () => {
      document.querySelector("[data-about]").click();
      document.documentElement.dataset.box = document.querySelector("dialog").textContent;
      document.querySelector("dialog button").click();
      document.querySelector("[data-enlarge]").click();
      document.documentElement.dataset.map = document.querySelector("dialog path.outline").tagName;
    });
    """
    read = render._read
    monkeypatch.setattr(render, "_read", lambda n: read(n) + (act if n.endswith(".js") else ""))
    name = HOSTILE.replace("/", "")  # a method's name is a file's, too
    run = make_run(
        scenes=(HOSTILE, "b"), classes=(HOSTILE, "land"), excluded={HOSTILE: HOSTILE},
        command=HOSTILE, methods={name: range(8), "b": range(8)},
    )  # fmt: skip
    dom, console = load(write_report(run))
    assert console == []
    assert 'data-ready="yes"' in dom
    assert "<img" not in dom
    enlarged = re.search(r'data-box="(.*?)" ?(?:data|>)', dom).group(1)
    assert "rank 1, selected" in enlarged
    assert "50\u202f%" in enlarged
    assert 'data-map="path"' in dom
    assert "<title>owned" not in dom
    assert re.search(r"<dialog[^>]* open", dom)


def test_focus_page_works_without_scripts_and_runs_none(tmp_path, load):
    run = write_focus(tmp_path / "run", names=[HOSTILE, "b"], label=HOSTILE, prediction=HOSTILE)
    page = write_report(run)
    dom, console = load(page)
    assert console == []  # the policy drops nothing that the page needs
    assert "<img" not in dom
    assert "<title>owned" not in dom
    assert dom.count('class="regions"') == 2
    attack = "<script>document.title='owned'</script>"
    text = page.read_text(encoding="utf-8").replace("<main", attack + "<main", 1)
    page.write_text(text, encoding="utf-8")
    dom, console = load(page)
    assert "<title>owned" not in dom
    assert sum("Content Security Policy" in line for line in console) == 1
    assert len(re.findall(r'type="radio"[^>]*checked', dom)) == 2


@pytest.mark.parametrize(
    "write",
    [
        write_completed,
        *(pytest.param(w, marks=pytest.mark.slow) for w in (write_trained, write_selected)),
    ],
)
def test_policy_drops_no_part_of_an_observe_page(tmp_path, load, write):
    run = write(tmp_path / "run")
    record = run / "run.json"
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace("foveate observe", json.dumps(HOSTILE)[1:-1]), encoding="utf-8")
    dom, console = load(write_report(run))
    assert console == []
    assert "<img" not in dom
    assert "<title>owned" not in dom
    assert 'class="outline"' in dom


@pytest.mark.slow
def test_policy_drops_no_part_of_a_benchmark_page(tmp_path, load):
    dom, console = load(write_report(write_benched(tmp_path / "run", command=HOSTILE)))
    assert console == []
    assert "<img" not in dom
    assert "<title>owned" not in dom
    assert dom.count('class="whisker"') == 4
