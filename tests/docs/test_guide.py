"""What the documents tell a reader to type works: snippets run, commands parse, links lead on."""

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
PATCH = 64


def blocks(page, language):
    """(line, text) of each fenced block of a language; `line` is that of its first line."""
    found, start, lines = [], None, page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if start is None and line == f"```{language}":
            start = number + 1
        elif start is not None and line == "```":
            found.append((start, "\n".join(lines[start - 1 : number - 1])))
            start = None
    return found


def imported(text):
    """Names of the packages that a snippet imports."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {name.split(".")[0] for name in names}


def script(page):
    """The snippets of a page as one program with the page's line numbers."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for start, text in blocks(page, "python"):
        if all(importlib.util.find_spec(name) for name in imported(text)):
            lines[start - 1 : start - 1 + text.count("\n") + 1] = text.split("\n")
    return "\n".join(lines)


def commands(program):
    """(page:line, arguments) of each command line that starts with `program`."""
    found = []
    for page in PAGES:
        for start, text in blocks(page, "sh"):
            joined = text.replace("\\\n", "")
            for line in joined.splitlines():
                words = shlex.split(line, comments=True)
                words = [w for i, w in enumerate(words) if i or not re.fullmatch(r"\w+=\S*", w)]
                if words and words[0] == program:
                    found.append(pytest.param(words[1:], id=f"{page.name}:{start}:{line[:60]}"))
    return found


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """A folder with two tiny worlds, the first as patches and in class folders, and two lists."""
    from foveate.world import WorldSpec, write_world

    root = tmp_path_factory.mktemp("desk")
    write_world(root / "world", WorldSpec(scenes=2, size=256))
    write_world(root / "land", WorldSpec(scenes=8, size=160, bands=3))
    shutil.copy(root / "world/classes.yaml", root / "classes.yaml")
    corners = [(y, x) for y in range(0, 256, PATCH) for x in range(0, 256, PATCH)]
    for kind in ("images", "masks"):
        (root / kind).mkdir()
        with rasterio.open(root / "world" / kind / "scene-00.tif") as scene:
            for y, x in corners:
                window = Window(x, y, PATCH, PATCH)
                profile = {
                    "driver": "GTiff", "height": PATCH, "width": PATCH, "count": scene.count,
                    "dtype": scene.dtypes[0], "nodata": scene.nodata, "crs": scene.crs,
                    "transform": scene.window_transform(window),
                }  # fmt: skip
                with rasterio.open(root / kind / f"patch_{y}_{x}.tif", "w", **profile) as patch:
                    patch.write(scene.read(window=window))
    for k, patch in enumerate(sorted((root / "images").iterdir())):
        folder = root / "folders" / ("open_land", "town")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(patch, folder)
    (root / "lists").mkdir()
    for step, name in ((3, "lc"), (5, "cb")):
        order = [corners[i * step % len(corners)] for i in range(len(corners))]
        names = "scene-00 dsm-00 scene-00"
        rows = [f"{names} {y} {x} {1 - i / len(order)}" for i, (y, x) in enumerate(order)]
        (root / "lists" / f"{name}.txt").write_text("\n".join(rows), encoding="utf-8")
    return root


SLOW = {"guide.md", "models.md", "segmenters.md"}  # a page is minutes of small trainings


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in SLOW else ())
        for page in SNIPPETS
    ],
)
def test_snippets_run(page, desk, tmp_path):
    # In a process of its own: a snippet registers a method, which must not reach other tests.
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    program = tmp_path / f"{page.stem}_snippets.py"
    program.write_text(script(page), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", commands("foveate"))
def test_commands_parse(arguments, tmp_path, monkeypatch):
    # What a command names may be read when its job is made.
    (tmp_path / "concepts.yaml").write_text("forest: {weight: 2}\nwater: {}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    from typer.main import get_command

    from foveate.cli import commands as commands_of
    from foveate.cli.app import app

    group = get_command(app)
    if not arguments or arguments[0].startswith("--"):
        known = {name for parameter in group.params for name in parameter.opts} | {"--help"}
        assert set(arguments) <= known
        return
    name, *rest = arguments
    if rest == ["--help"]:
        assert name in group.list_commands(None)
        return
    groups = {
        "focus": commands_of.FOCUS,
        "observe": commands_of.OBSERVE,
        "bench": commands_of.BENCH,
    }
    made = {command.name: command for command in groups.get(name, commands_of.IMAGERY)}
    if name in groups:
        group, (name, *rest) = group.get_command(None, name), rest
    if name in made:
        check_job(made[name].parse(rest))
    else:
        group.get_command(None, name).make_context(name, list(rest))


def check_job(job):
    """Names, options and budget of a job mean something."""
    from foveate.models import parse_name

    for field in ("model", "selector", "text_model", "lr_model", "target_model"):
        if getattr(job, field, None):
            parse_name(getattr(job, field))
    kind = type(job).__name__
    if kind == "CurateJob":
        from foveate.budget import Budget
        from foveate.curate import get_method

        Budget.parse(job.budget)
        for method in job.chosen_methods():
            get_method(method).options(job.preset, job.options.get(method))
    if hasattr(job, "plan"):
        job.plan()
    if kind == "SelectJob":
        from foveate.observe.selection.ranking import check_policy

        assert job.mode
        check_policy(job.policy, job.covariate)


@pytest.mark.parametrize("arguments", commands("make"))
def test_make_targets_exist(arguments):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("arguments", commands("python"))
def test_scripts_exist(arguments):
    assert (ROOT / arguments[0]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page):
    """Anchors of the headings, as the usual hosts make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.strip().replace(" ", "-") for title in plain}
