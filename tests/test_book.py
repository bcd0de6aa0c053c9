"""The smoke notebooks run, the book builds without a warning, and its pages read well in a browser."""

import functools
import http.server
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import pytest

from reprolib.losses.dice import dice_loss
from reprolib.notebooks import build_book, gate, pages, smoke_book
from reprolib.paths import EXECUTED
from reprolib.studies import STUDIES

pytestmark = pytest.mark.book

WIDTHS = {"phone": 390, "desktop": 1280}
AXE = Path(__file__).parent / "axe" / "axe.min.js"  # axe-core 4.14.1 from npm, under the licence beside it
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (  # noqa: SIM905
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """The folder of the HTML book of a fresh smoke run: what `make study` does."""
    return smoke_book(tmp_path_factory.mktemp("smoke")).parent


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """The folder of the HTML book of the committed pages: what `make book` does."""
    return build_book(html=tmp_path_factory.mktemp("published") / "html").parent


@pytest.fixture(params=["smoke", "published"])
def book(request) -> Path:
    return request.getfixturevalue(request.param)


class Page(HTMLParser):
    """What a page refers to, and what it says."""

    def __init__(self, file: Path):
        super().__init__()
        self.targets, self.ids, self.text = [], set(), []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        self.targets += [attrs[key] for key in ("src", "href") if attrs.get(key)]

    def handle_data(self, data):
        self.text.append(data)


def html_files(book: Path) -> list[Path]:
    return sorted(file for file in book.rglob("*.html") if "_static" not in file.parts)


@pytest.mark.parametrize("name", pages())
def test_a_committed_page_is_whole_and_up_to_date(name):
    gate(EXECUTED / f"{name}.ipynb")


def test_the_book_has_its_pages(book):
    documents = {str(file.relative_to(book)) for file in html_files(book)}
    assert documents >= {"index.html", "methods.html", "reproduce.html", "api.html", "references.html"}
    assert documents >= {f"executed/{name}.html" for name in pages()}


def test_the_api_reference_shows_names_defaults_and_docstrings(published):
    page = Page(published / "api.html")
    text = "".join(page.text)
    assert {"reprolib.photos.label", "reprolib.losses.consensus.consensus_loss"} <= page.ids
    assert "alpha=10.0" in text
    assert (dice_loss.__doc__ or "").splitlines()[0] in text


def test_no_page_shows_a_traceback(book):
    for file in html_files(book):
        text = "".join(Page(file).text)
        failed = r"Traceback \(most recent call last\)"
        if file.name != "api.html":  # whose docstrings name the errors that functions raise
            failed += r"|^\w+Error:"
        assert not re.search(failed, text, re.MULTILINE), file.name


def test_every_picture_and_every_link_leads_somewhere(book):
    missing = []
    for file in html_files(book):
        for target in Page(file).targets:
            link = urlsplit(target)
            if link.scheme or link.netloc or not link.path:
                continue
            if not (file.parent / unquote(link.path)).exists():
                missing.append((file.name, target))
    assert missing == []


def faults(source: str) -> list[str]:
    """What a strict parser finds wrong with a page: line and fault; ids that several elements have."""
    html5lib = pytest.importorskip("html5lib")
    parser = html5lib.HTMLParser()
    ids = Counter(element.get("id") for element in parser.parse(source).iter() if element.get("id"))
    wrong = [f"line {line}: {html5lib.constants.E[code] % about}" for (line, _), code, about in parser.errors]
    return wrong + [f"several elements have the id {id}" for id, count in ids.items() if count > 1]


@pytest.mark.parametrize(
    ("inside", "fault"),
    [
        ("<p>fine</p>", []),
        ("<section><p>never closed", ["line 2: Unexpected end tag (body). Missing end tag (section)."]),
        ("<p><div></div></p>", ["line 2: Unexpected end tag (p). Ignored."]),
        ('<i id="a"></i><i id="a"></i>', ["several elements have the id a"]),
    ],
)
def test_faults_of_html_are_found(inside, fault):
    assert faults(f"<!DOCTYPE html><title>a page</title>\n{inside}</body>") == fault


def test_every_page_is_valid_html(book):
    wrong = {file.name: faults(file.read_text(encoding="utf-8")) for file in html_files(book)}
    del wrong["index.html"]  # Jupyter Book's own: one line that leads to the first page, without a document type
    assert {name: of for name, of in wrong.items() if of} == {}


def test_the_pages_do_not_need_the_network_to_be_read(book):
    for file in html_files(book):
        source = file.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+', source) == [], file.name


# One page that opens every page of the book in a frame of a given width and sends back what it sees.
PROBE = """<!doctype html><body><script>
const pages = %s, widths = %s, seen = [];
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "900px";
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page; document.body.append(frame); await loaded;
  const inside = frame.contentDocument;
  inside.querySelectorAll("img").forEach(picture => picture.loading = "eager");
  await Promise.all([...inside.images].map(picture => picture.decode().catch(() => null)));
  seen.push({page, width,
    characters: inside.querySelector("main").innerText.length,
    heading: inside.querySelector("main h1")?.innerText || "",
    overflow: inside.documentElement.scrollWidth - inside.documentElement.clientWidth,
    headings: ["h1", "h2", "h3"].map(name => inside.querySelector(`main article ${name}`)).filter(Boolean).map(
      heading => parseFloat(inside.defaultView.getComputedStyle(heading).fontSize)),
    broken: [...inside.images].filter(picture => !picture.naturalWidth).map(picture => picture.src)});
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await look(page, width);
})().catch(error => seen.push({error: String(error)}))
  .then(() => fetch("/seen", {method: "POST", body: JSON.stringify(seen)}));
</script></body>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the book and the probe; `server.seen` receives what the probe sends."""

    def do_GET(self):
        own = {
            "/probe.html": ("text/html", lambda: self.server.probe.encode()),
            "/axe.js": ("text/javascript", AXE.read_bytes),
        }
        if self.path not in own:
            return super().do_GET()
        kind, content = own[self.path]
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(content())

    def do_POST(self):
        self.server.seen.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(book):
    """The book at an address of its own: only frames of one address may be looked into."""
    handler = functools.partial(Handler, directory=book)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.seen, server.url = queue.Queue(), f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def chromium(folder: Path, *arguments: str) -> list[str]:
    """The command of a headless Chromium with a throw-away profile in `folder`."""
    return [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]


def look(server, folder: Path, probe: str):
    """What a page sends back that is opened at /probe.html beside the book."""
    server.probe = probe
    browser = subprocess.Popen(
        chromium(folder, f"{server.url}/probe.html"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return server.seen.get(timeout=180)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)  # the browser and its helpers
        browser.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_every_page_reads_well_on_phone_and_desktop(book, server, tmp_path):
    names = [str(file.relative_to(book)) for file in html_files(book)]
    names = [name for name in names if name not in ("index.html", "genindex.html", "search.html")]
    seen = look(server, tmp_path, PROBE % (json.dumps(names), json.dumps(list(WIDTHS.values()))))
    assert len(seen) == len(names) * len(WIDTHS)
    assert [view for view in seen if view["broken"]] == []
    assert [view for view in seen if view["overflow"] > 0] == []
    assert [view for view in seen if view["headings"] != sorted(set(view["headings"]), reverse=True)] == []
    assert [view for view in seen if not view["heading"] or view["characters"] < 200] == []


# Opens the first page in a frame of 1400 × 900 and sends back where things are, what its images and figures are called,
# and what the search field leaves of the table of claims.
FIRST_PAGE = """<!doctype html><body style="margin: 0"><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
(async () => {
  const frame = document.createElement("iframe");
  frame.style.width = "1400px"; frame.style.height = "900px"; frame.style.border = 0;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = "executed/overview.html"; document.body.append(frame); await loaded;
  const inside = frame.contentDocument, seen = {};
  const all = name => [...inside.querySelectorAll(name)];
  for (let tries = 0; tries < 200 && !inside.querySelector(".dt-search input"); tries++) await wait(50);
  seen.bottoms = Object.fromEntries([".strip", ".findings", ".matrix"].map(name =>
    [name, inside.querySelector(name)?.getBoundingClientRect().bottom ?? null]));
  seen.images = all("main img").map(image => image.getAttribute("alt"));
  seen.unnamed = all("main figure").filter(figure => !figure.querySelector("figcaption, caption")).length;
  const field = inside.querySelector(".dt-search input");
  const shown = () => all("#table-of-claims tbody tr").map(row => row.innerText);
  seen.before = shown();
  if (field) { field.value = "pspnet"; field.dispatchEvent(new Event("input", {bubbles: true})); await wait(600); }
  seen.after = shown();
  if (field) { field.value = ""; field.dispatchEvent(new Event("input", {bubbles: true})); await wait(600); }
  return seen;
})().catch(error => ({error: String(error)}))
  .then(seen => fetch("/seen", {method: "POST", body: JSON.stringify(seen)}));
</script></body>"""


@pytest.fixture
def first_page(server, tmp_path) -> dict:
    """What `FIRST_PAGE` saw of the first page."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    seen = look(server, tmp_path, FIRST_PAGE)
    assert "error" not in seen, seen
    return seen


def test_the_first_page_is_good_at_first_sight(first_page):
    bottoms = first_page["bottoms"]
    assert 0 < bottoms[".findings"] <= 900
    assert 0 < min(bottoms[".strip"], bottoms[".matrix"]) <= 900
    assert len(first_page["images"]) >= 10  # two for each paper
    assert [alt for alt in first_page["images"] if not alt or len(alt) < 15 or alt.endswith((".png", ".jpeg"))] == []
    assert first_page["unnamed"] == 0
    assert 0 < len(first_page["after"]) < len(first_page["before"])
    assert [row for row in first_page["after"] if "pspnet" not in row.lower()] == []


# Opens every page in a frame and sends back what axe-core finds in the light and in the dark theme.
ACCESSIBLE = """<!doctype html><body style="margin: 0"><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
async function look(page) {
  const frame = document.createElement("iframe"), seen = {};
  frame.style.width = "1400px"; frame.style.height = "900px"; frame.style.border = 0;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page; document.body.append(frame); await loaded;
  const inside = frame.contentDocument, script = inside.createElement("script");
  const ready = new Promise(done => script.onload = done);
  script.src = "/axe.js"; inside.head.append(script); await ready;
  for (const theme of ["light", "dark"]) {
    inside.documentElement.dataset.theme = theme;
    await wait(600);
    // not ours to name: the theme's two buttons, the folds of code cells, docutils' list of citations
    const theirs = [".search-button-field", ".theme-switch-button", ".citation-list"];
    const ours = {include: [["html"]], exclude: theirs.map(name => [name])};
    const rules = {"label-content-name-mismatch": {enabled: false}};
    const found = await frame.contentWindow.axe.run(ours, {resultTypes: ["violations"], rules});
    seen[theme] = found.violations.filter(one => ["serious", "critical"].includes(one.impact)).map(one =>
      `${one.id}: ${one.help}: ` + one.nodes.map(node => node.target.join(" ")).join(", "));
  }
  frame.remove();
  return seen;
}
(async () => {
  const seen = {};
  for (const page of %s) seen[page] = await look(page);
  return seen;
})().catch(error => ({error: String(error)}))
  .then(seen => fetch("/seen", {method: "POST", body: JSON.stringify(seen)}));
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_axe_finds_nothing_serious_on_any_page_in_light_or_dark(book, server, tmp_path):
    names = [str(file.relative_to(book)) for file in html_files(book)]
    names = [name for name in names if name not in ("index.html", "genindex.html", "search.html")]
    seen = look(server, tmp_path, ACCESSIBLE % json.dumps(names))
    assert set(seen) == set(names), seen
    assert {name: found for name, found in seen.items() if found != {"light": [], "dark": []}} == {}


# Opens the page of each paper in a frame of 1400 × 900 and sends back where its findings and its first figure end.
FIRST_SCREENS = """<!doctype html><body style="margin: 0"><script>
(async () => {
  const seen = {};
  for (const name of %s) {
    const frame = document.createElement("iframe");
    frame.style.width = "1400px"; frame.style.height = "900px"; frame.style.border = 0;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = `executed/${name}.html`; document.body.append(frame); await loaded;
    const section = frame.contentDocument.querySelector(".findings").closest("section");
    const figure = section.querySelector("img");
    await figure.decode();
    seen[name] = [section.querySelector(".findings"), figure].map(part => part.getBoundingClientRect().bottom);
    frame.remove();
  }
  return seen;
})().catch(error => ({error: String(error)}))
  .then(seen => fetch("/seen", {method: "POST", body: JSON.stringify(seen)}));
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_first_screen_of_a_paper_holds_its_findings_and_its_headline_figure(server, tmp_path):
    seen = look(server, tmp_path, FIRST_SCREENS % json.dumps(STUDIES))
    assert set(seen) == set(STUDIES), seen
    assert {name: ends for name, ends in seen.items() if not 0 < ends[0] < ends[1] <= 900} == {}


def test_the_first_page_is_a_plain_table_of_claims_without_scripts(book):
    source = (book / "executed" / "overview.html").read_text(encoding="utf-8")
    plain = re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL)
    table = plain[plain.index("table-of-claims_fallback") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr") > 50
    assert "Fuzzy lips" in table


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_first_page_is_painted(book, server, tmp_path, width):
    picture = tmp_path / "page.png"
    page = f"{server.url}/executed/overview.html"
    command = chromium(tmp_path, f"--screenshot={picture}", f"--window-size={width},900", page)
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    image = cv2.imread(str(picture))
    assert image.shape[1] == width
    assert image.std() > 10  # text on paper, not an empty window
