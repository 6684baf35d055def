"""The page as a file, and as a browser shows it.

The browser is the distribution's Chromium, which these tests find by its usual names. Axe-core comes from npm.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from report_material import make_store

from fprdo_bridge import cli
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.page.writer import Wishes, write_page

pytestmark = pytest.mark.slow

MARKUP = ("<img src=x onerror=document.title='hit'>", "</script><b>$&'\"", "p2")
TITLE = "<script>document.title='hit'</script> & more"
WIDTHS = (1400, 390)
AXE = "axe-core@4.10.3"


def write(folder: Path, **arguments) -> Path:
    store = make_store(folder, **arguments)
    with Store(store, create=False) as one:
        write_page(one, None, folder / "page.html", Wishes())
    return folder / "page.html"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page of a whole run."""
    return write(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def hostile_file(tmp_path_factory) -> Path:
    """The page of a run whose names are markup."""
    return write(tmp_path_factory.mktemp("hostile"), items=MARKUP, title=TITLE, failed=True)


def pictures_in(page: Path) -> list[dict]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" class="picture-data">(.*?)</script>', text, re.S)
    return [json.loads(one) for one in found]


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_same_store_gives_the_same_page(page_file, tmp_path):
    with Store(page_file.parent / "store", create=False) as store:
        write_page(store, "two", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == page_file.read_bytes()


def test_no_address_is_loaded(page_file):
    """Addresses stand in plotly's packed script alone, and the page forbids itself to use any."""
    text = page_file.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:|//)|@import|url\(\s*["']?(?:https?:|//)""", text)
    assert "default-src 'none'" in text


def test_names_are_no_markup(hostile_file):
    text = hostile_file.read_text(encoding="utf-8")
    assert "<img src=x" not in text and "<b>$&" not in text and "<script>alert" not in text and "<i>p0" not in text
    assert "<b>x264" not in text and "&lt;b&gt;x264" in text
    assert {one["item"] for one in pictures_in(hostile_file)} == set(MARKUP)


def test_names_that_a_terminal_or_a_line_would_take_amiss(tmp_path):
    """Control characters, signs of direction and bytes that are no UTF-8 are shown as escapes."""
    names = (os.fsdecode(b"\xff"), "a\x1b[31m\u202eb", "two\nlines")
    page = write(tmp_path, items=names)
    text = page.read_text(encoding="utf-8")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert {one["item"] for one in pictures_in(page)} == {r"\udcff", r"a\x1b[31m\u202eb", "two\nlines"}


def test_pictures_have_everything(page_file):
    for one in pictures_in(page_file):
        assert one["original"].startswith("data:image/webp;base64,") and one["weights"].startswith("data:image/png")
        assert one["notes"] == [] and len(one["versions"]) == 8
        for version in one["versions"]:
            assert version["errors"] and version["picture"] and len(version["blocks"]) == 6 * 24
            assert ("offsets" in version) == (version["variant"] != "stock")
            assert abs(version["percent"]) < 45
            assert version["boxes"] == [{"task": "features lite0", "box": [10, 8, 30, 20], "label": "3", "score": 0.9}]


def test_a_missing_picture_is_said(tmp_path):
    store = make_store(tmp_path)
    (tmp_path / "small" / "p1.png").unlink()
    (tmp_path / "small" / "p0.png").write_bytes((tmp_path / "small" / "p2.png").read_bytes())
    with Store(store, create=False) as one:
        write_page(one, None, tmp_path / "page.html")
    by = {picture["item"]: picture for picture in pictures_in(tmp_path / "page.html")}
    for item in ("p0", "p1"):
        assert f"the original of {item} is not where it was coded from" in by[item]["notes"][0]
        assert "original" not in by[item] and len(by[item]["versions"]) == 8
    assert by["p2"]["notes"] == []


def test_data_says_where_pictures_lie(tmp_path):
    store = make_store(tmp_path)
    (tmp_path / "small").rename(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "data" / "small")
    with Store(store, create=False) as one:
        write_page(one, None, tmp_path / "page.html", Wishes(data=tmp_path / "data"))
    assert all(picture["notes"] == [] for picture in pictures_in(tmp_path / "page.html"))


def test_a_damaged_bitstream_is_said(tmp_path):
    store = make_store(tmp_path)
    for path in (store / "jobs").glob("*/*/bitstream.bin"):
        path.write_bytes(b"\0\0\1nothing")
    with Store(store, create=False) as one:
        write_page(one, None, tmp_path / "page.html")
    for picture in pictures_in(tmp_path / "page.html"):
        assert picture["versions"] == [] and len(picture["notes"]) == 8


def test_a_store_without_results(tmp_path):
    (tmp_path / "store").mkdir()
    with Store(tmp_path / "store") as one:
        write_page(one, None, tmp_path / "page.html")
    assert "No results yet" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "done, said",
    [(0.0, "Nothing is done yet: 0 of 96 encodes."), (0.2, "No BD-rate yet: 18 of 96 encodes are done."),
     (0.5, "Half a run")],
)  # fmt: skip
def test_half_a_run(tmp_path, done, said):
    assert said in write(tmp_path, done=done).read_text(encoding="utf-8")


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command(page_file, tmp_path, capsys):
    store = page_file.parent / "store"
    assert cli.main(["report", str(store), "-o", str(tmp_path / "a.html"), "--pictures", "p1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.html'}\n"
    assert [one["item"] for one in pictures_in(tmp_path / "a.html")] == ["p1"]
    assert cli.main(["report", str(store), "two", "-o", str(tmp_path / "b.html"), "--pictures", "0"]) == 0
    assert pictures_in(tmp_path / "b.html") == []


@pytest.mark.parametrize(
    "words, message",
    [
        (["--pictures", "p9"], "--pictures p9: the run has no such picture or clip"),
        (["--pictures", ","], "--pictures: give a number or names"),
        (["--pictures", "101"], "--pictures 101: use 0 to 100"),
        (["three"], "holds no run of three; there are: two"),
        (["--data", "nowhere"], "--data nowhere: no such folder"),
    ],
)
def test_mistakes(page_file, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(page_file.parent / "store"), *words, "-o", "a.html"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "a.html").exists()


def test_several_conditions_have_to_be_named(tmp_path):
    store = make_store(tmp_path)
    shutil.copytree(store / "runs" / "two", store / "runs" / "three")
    with Store(store, create=False) as one, pytest.raises(FprdoError, match="holds three, two; name one of them"):
        write_page(one, None, tmp_path / "page.html")


@pytest.mark.parametrize("name", ["store.json", "runs/two/manifest.jsonl"])
def test_the_page_takes_no_file_of_the_store(tmp_path, name, capsys):
    store = make_store(tmp_path)
    before = (store / name).read_bytes()
    assert cli.main(["report", str(store), "-o", str(store / name)]) == 2
    assert (store / name).read_bytes() == before and "give the" in capsys.readouterr().err


@pytest.mark.parametrize("failed", [False, True])
def test_quickstart_ends_with_the_page(tmp_path, monkeypatch, capsys, failed):
    """The last line of fprdo quickstart is the path of the page; here of a store that is there already.

    Where jobs failed, the page shows the others, and the status is that of fprdo ctc.
    """
    import fprdo_bridge.cli.parser as parser

    monkeypatch.chdir(tmp_path)
    make_store(tmp_path)
    own = parser.run
    words_of = []

    def run(words):
        words_of.append(words[0])
        if words[0] == "ctc":
            (tmp_path / "out").mkdir()
            shutil.move(tmp_path / "store", tmp_path / "out" / "demo")
            (tmp_path / "out/demo/runs/two").rename(tmp_path / "out/demo/runs/quickstart")
            if failed:
                raise SystemExit(1)
        else:
            own(words)

    monkeypatch.setattr(parser, "run", run)
    monkeypatch.setattr("fprdo_bridge.report.heatmap.draw_weight_file", lambda *_: None)
    monkeypatch.setattr("fprdo_bridge.video.source.open_source", lambda name: None)
    with pytest.raises(SystemExit, match="1") if failed else nullcontext():
        own(["quickstart"])
    assert words_of == ["ctc", "report"]
    assert capsys.readouterr().out.splitlines()[-1] == "out/demo/page.html"
    assert (tmp_path / "out/demo/page.html").is_file()


# ---- the browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium: install the distribution's package chromium")
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    with api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield one
        one.close()


class Shown:
    """A page that is open, with what it said and asked for."""

    def __init__(self, browser, path: Path, width: int = 1400, scheme: str = "light"):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda one: self.said.append(one.text))
        self.page.on("pageerror", lambda one: self.said.append(str(one)))
        self.page.on("request", lambda one: self.asked.append(one.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]", timeout=20_000)

    def __enter__(self) -> "Shown":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def plots(self) -> None:
        """Wait until the curves are drawn."""
        self.page.locator("#curves").scroll_into_view_if_needed()
        self.page.wait_for_selector("#plots .plot .scatterlayer .trace path", timeout=20_000)

    def quiet(self) -> None:
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        assert sum(url.startswith("file:") for url in self.asked) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens(browser, page_file, width, scheme):
    """No message, no request, nothing wider than the window; the answer is in the first screen."""
    with Shown(browser, page_file, width, scheme) as shown:
        page = shown.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#lead").bounding_box()["y"] < 200
        box = page.locator(".card .amount strong").first.bounding_box()
        assert box["y"] + box["height"] < 650
        shown.plots()
        page.locator("#pictures").scroll_into_view_if_needed()
        page.wait_for_selector("#side-left img")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(15, 19, 24)") == (scheme == "dark")
        shown.quiet()


def test_the_theme_can_be_chosen(browser, page_file):
    with Shown(browser, page_file) as shown:
        shown.plots()
        colour = "getComputedStyle(document.body).backgroundColor"
        before = shown.page.evaluate(colour)
        shown.page.click("#theme")
        assert shown.page.evaluate(colour) == "rgb(15, 19, 24)" != before
        stroke = "getComputedStyle(document.querySelector('#plots .js-line')).stroke"
        assert shown.page.evaluate(stroke) == "rgb(230, 237, 243)"  # black would not be seen
        shown.page.click("#theme")
        assert shown.page.evaluate(colour) == before
        shown.quiet()


def test_the_slider_by_keys_and_by_mouse(browser, page_file):
    with Shown(browser, page_file) as shown:
        page = shown.page
        clip = "document.querySelector('#side-left').style.clipPath"
        slide = page.locator("#slide")
        slide.focus()
        assert page.evaluate(clip) == "inset(0px 50% 0px 0px)"
        page.keyboard.press("ArrowRight")
        assert page.evaluate(clip) == "inset(0px 49% 0px 0px)"
        page.keyboard.press("Home")
        assert page.evaluate(clip) == "inset(0px 100% 0px 0px)"
        sheet = page.locator("#sheet")
        sheet.scroll_into_view_if_needed()
        box = sheet.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
        page.mouse.up()
        assert page.evaluate("Number(document.querySelector('#slide').value)") == pytest.approx(50, abs=1)
        shown.quiet()


def test_every_view_of_a_picture(browser, page_file):
    """All views and overlays draw something, and the words say what."""
    with Shown(browser, page_file) as shown:
        page = shown.page
        page.locator("#thumbs button").nth(1).click()
        assert page.locator("#thumbs button[aria-pressed=true]").count() == 1
        page.select_option("#right", label="x264 0.164 intra, idse tau=1")
        pixels = "[...document.querySelectorAll('#side-right canvas')].map((one) => one.toDataURL()).join()"
        seen = set()
        views = [("picture", one) for one in ("weights", "offsets", "blocks", "boxes")]
        for what, overlay in [*views, ("errors", ""), ("weighted", "")]:
            page.select_option("#what", what)
            page.select_option("#overlay", overlay)
            page.wait_for_function(f"{pixels}.length > 100")
            page.wait_for_timeout(50)
            seen.add(page.evaluate(pixels))
            assert all(page.evaluate("[...document.querySelectorAll('.side canvas')].map((one) => one.ariaLabel)"))
        assert len(seen) == 6
        assert "bits" in page.inner_text("#bits")
        page.select_option("#zoom", "2")
        assert page.locator("#sheet").bounding_box()["width"] == pytest.approx(192, abs=1)
        shown.quiet()


def test_tables_sort_filter_and_copy(browser, page_file):
    with Shown(browser, page_file) as shown:
        page = shown.page
        table = page.locator("#table-overall")
        button = table.get_by_role("button", name="features lite0")
        cells = (
            "[...document.querySelectorAll('#table-overall tbody tr')]"
            ".map((row) => parseFloat(row.cells[3].textContent))"
        )
        button.click()
        rising = page.evaluate(cells)
        assert rising == sorted(rising) and len(set(rising)) > 1
        assert table.locator("th[aria-sort=ascending]").count() == 1
        button.click()
        assert page.evaluate(cells) == sorted(rising, reverse=True)
        table.locator("input").fill("tau=3 second")
        assert table.locator("tbody tr").count() == 1
        copies = {}
        for name in ("Markdown", "CSV", "LaTeX"):
            table.get_by_role("button", name=re.compile(f"as {name}")).click()
            page.wait_for_timeout(30)
            copies[name] = page.evaluate("navigator.clipboard.readText()")
        assert copies["Markdown"].splitlines()[2].startswith("| second &lt;b>x264&lt;/b> | idse tau=3 | stock | -10.0")
        heads, row = csv.reader(copies["CSV"].splitlines())
        assert heads[2:7] == ["anchor", "features lite0", "features lite0 low", "features lite0 high", "luma PSNR"]
        assert row[:4] == ["second <b>x264</b>", "idse tau=3", "stock", "-10"] and len(heads) == len(row)
        assert copies["LaTeX"].startswith("\\begin{tabular}{lllr") and "\\end{tabular}" in copies["LaTeX"]
        shown.quiet()


def test_a_variant_switched_off_is_off_everywhere(browser, page_file):
    with Shown(browser, page_file) as shown:
        page = shown.page
        shown.plots()
        traces = "[...document.querySelectorAll('#plots .plot')].map((one) => one.querySelectorAll('.trace').length)"
        rows = page.locator("#table-overall tbody tr").count()
        versions = page.locator("#left option").count()
        before = page.evaluate(traces)
        page.get_by_role("checkbox", name="idse tau=1").uncheck()
        page.wait_for_timeout(200)
        after = page.evaluate(traces)
        assert [b - a for a, b in zip(after, before)] == [2 if one else 0 for one in before] and any(before)
        assert page.locator("#table-overall tbody tr").count() == rows - 2
        assert page.locator("#left option").count() == versions - 2
        page.get_by_role("checkbox", name="idse tau=1").check()
        page.wait_for_timeout(200)
        assert page.evaluate(traces) == before
        shown.quiet()


def test_a_point_gives_its_command(browser, page_file):
    with Shown(browser, page_file) as shown:
        page = shown.page
        page.select_option("#curve-place", label="p1")
        shown.plots()
        page.evaluate("document.querySelector('#plots .plot').lastChild.emit('plotly_click', {points: [{customdata: "
                      "document.querySelector('#plots .plot').lastChild.data[1].customdata[0]}]})")  # fmt: skip
        assert "x264 --crf" in page.inner_text("#point pre")
        shown.quiet()


def test_the_figure_shows_what_is_chosen(browser, page_file):
    with Shown(browser, page_file) as shown:
        page = shown.page
        assert page.locator(".forest-one:visible").count() == 1
        first = page.locator(".forest-one:visible").get_attribute("aria-label")
        page.select_option("#forest-choice", label="idse where the picture pays nothing, against stock")
        assert page.locator(".forest-one:visible").get_attribute("aria-label") != first
        shown.quiet()


@pytest.mark.parametrize("width", WIDTHS)
def test_names_that_are_markup(browser, hostile_file, width):
    with Shown(browser, hostile_file, width) as shown:
        page = shown.page
        shown.plots()
        page.locator("#pictures").scroll_into_view_if_needed()
        for index in range(3):
            page.locator("#thumbs button").nth(index).click()
        page.locator("#commands summary").click()
        page.wait_for_timeout(100)
        assert page.title() == f"{TITLE} – fprdo"
        assert page.locator("img[src=x]").count() == 0
        assert "second <b>x264</b>" in page.inner_text(".cards")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown.quiet()


@pytest.mark.parametrize("done", [0.0, 0.2, 0.5])
def test_half_a_run_opens(browser, tmp_path, done):
    with Shown(browser, write(tmp_path, done=done, failed=True)) as shown:
        shown.page.locator("#curves").scroll_into_view_if_needed()
        shown.page.locator("#pictures").scroll_into_view_if_needed()
        shown.page.locator("#curve-encoder").select_option(index=0)
        shown.page.wait_for_timeout(300)
        assert "failed: 1" in shown.page.inner_text("#problems")
        shown.quiet()


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script of axe-core."""
    if shutil.which("npm") is None:
        pytest.skip("no npm to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", AXE]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not answer: {AXE} is missing")
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip(f"npm does not give {AXE}")
    return script.read_text(encoding="utf-8")


@pytest.mark.parametrize("width, scheme", [(1400, "dark"), (390, "light")])
def test_accessibility(browser, axe, page_file, width, scheme):
    with Shown(browser, page_file, width, scheme) as shown:
        shown.plots()
        shown.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        shown.page.evaluate(axe)
        found = shown.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [(one["id"], [node["html"][:200] for node in one["nodes"][:4]]) for one in found
                   if one["impact"] in ("serious", "critical")]  # fmt: skip
        assert serious == []
