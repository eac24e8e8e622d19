"""The site in a real Chromium: no error, no foreign request, nothing wider than a phone, readable by everybody."""
import io
import re
from pathlib import Path

import pytest
from sizes import ALL
from test_pages import MODULES, ROOT, public

SCREENSHOTS = ROOT / "_docs" / "screenshots"

LOOKED_AT = ["index.html", "story.html", "howto.html", "studies.html", "reference.html", "changelog.html",
             "search.html", "nbs/02_weights.html", "nbs/glossary.html", "nbs/explorer.html",
             "nbs/howto/your_features.html", "reference/weights.html"]
CHOSEN = LOOKED_AT if ALL else [LOOKED_AT[k] for k in (0, 6, 7, 9, 11)]  # one of each kind
SIZES = {"light": dict(viewport=dict(width=1280, height=900), color_scheme="light"),
         "dark": dict(viewport=dict(width=1280, height=900), color_scheme="dark"),
         "phone": dict(viewport=dict(width=390, height=844), color_scheme="light", has_touch=True)}
# the elements that stick out of the window without a frame of their own to scroll in
WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 5).map(e => e.outerHTML.slice(0, 120))
    .concat([`the page is ${document.documentElement.scrollWidth} wide`])"""
# what is found for some words, best first: title, address, and the words shown below it
FOUND = """async words => {
    while (!Search.hasIndex()) await new Promise(done => setTimeout(done, 20));
    history.replaceState(null, '', '?q=' + encodeURIComponent(words));
    const parsed = Search._parseQuery(words), found = Search._performSearch(...parsed).reverse().slice(0, 8);
    return Promise.all(found.map(async ([page, title, anchor, about, score, file, kind]) => {
        const html = await (await fetch(page + '.html')).text();
        const shown = kind === 'object' ? null : Search.makeSearchSummary(html, parsed[1], anchor);
        return [title, page + anchor, shown ? shown.textContent : ''];
    }));
}"""
SEARCH = """async names => {
    while (!Search.hasIndex()) await new Promise(done => setTimeout(done, 20));
    return names.map(name => {
        history.replaceState(null, '', '?q=' + encodeURIComponent(name));
        const found = Search._performSearch(...Search._parseQuery(name));
        return found.length ? found[found.length - 1][2].replace('#', '') : '';
    });
}"""

# thousands of coloured words, pieces of formulas and rows, alike on every page: looked at on a few
PLAINER = """() => {
    for (const pre of document.querySelectorAll('.highlight pre')) pre.textContent = pre.textContent;
    for (const formula of document.querySelectorAll('mjx-container')) formula.textContent = 'x';
    const more = 'tbody tr:nth-child(n+5), .genindextable li:nth-child(n+4)';
    for (const row of document.querySelectorAll(more)) row.remove();
}"""


@pytest.fixture(scope="module")
def trouble():
    return []


@pytest.fixture
def tab(browser, host, trouble):
    "A page in a window of its own; what goes wrong in it is noted."
    def open_tab(size="light"):
        context = browser.new_context(**SIZES[size])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and trouble.append(f"{page.url}: {m.text}"))
        page.on("pageerror", lambda error: trouble.append(f"{page.url}: {error}"))
        page.on("requestfailed", lambda r: "ERR_ABORTED" not in (r.failure or "") and trouble.append(
            f"{page.url}: {r.url} {r.failure}"))
        page.on("response", lambda r: r.status >= 400 and trouble.append(f"{page.url}: {r.url} {r.status}"))
        page.on("request", lambda r: not r.url.startswith((host, "data:", "blob:")) and trouble.append(
            f"{page.url} asks another host: {r.url}"))
        return page
    contexts = []
    trouble.clear()
    yield open_tab
    for context in contexts:
        context.close()


def settled(page, address):
    "Open an address and wait until its mathematics is set."
    page.goto(address, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")


def test_every_page_loads_cleanly_and_fits_a_phone(tab, host, pages, trouble):
    page, wide = tab("light"), []
    for path in [p for k, p in enumerate(pages) if ALL or k % 8 == 0 or p in LOOKED_AT]:
        page.set_viewport_size({"width": 1280, "height": 900})
        settled(page, f"{host}/{path}")
        wide += [f"{path}: {what}" for what in page.evaluate(WIDER)]
        page.set_viewport_size({"width": 390, "height": 844})
        wide += [f"{path} on a phone: {what}" for what in page.evaluate(WIDER)]
        wide += [f"{path}: mathematics that is none: {e}" for e in page.evaluate(
            "() => [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(e => e.outerHTML.slice(0, 200))")]
        wide += [f"{path}: a picture is broken: {e}" for e in page.evaluate(
            "() => [...document.images].filter(i => i.loading != 'lazy' && !i.naturalWidth).map(i => i.src)")]
    assert not trouble
    assert not wide, "\n".join(wide)


def test_every_public_name_is_found_first(tab, host, trouble):
    page = tab()
    page.goto(f"{host}/search.html?q=payoff")
    wanted = [f"eod_exit_ppo.{module}.{name}" for module in MODULES for name in public(module)]
    asked = [full.split(".", 2)[2] for full in wanted]
    found = page.evaluate(SEARCH, asked)
    missed = [f"{name}: {hit or 'nothing'}" for name, hit in zip(asked, found)
              if not hit.startswith("eod_exit_ppo.") or not hit.endswith("." + name)]
    assert not missed
    assert set(page.evaluate(SEARCH, wanted)) == set(wanted)
    assert not trouble


@pytest.mark.parametrize("words, wanted", [
    ("transaction costs", "nbs/03_exits#transaction-costs"), ("half day", "nbs/45_sessions#half-days"),
    ("resume", "nbs/27_checkpoint"), ("payoff", "reference/objective#eod_exit_ppo.objective.payoff")])
def test_words_of_the_desk_are_found(tab, host, trouble, words, wanted):
    "Among the first pages is the one that is about it, and what is shown of each are clean words."
    page = tab()
    page.goto(f"{host}/search.html?q=payoff")
    found = page.evaluate(FOUND, words)
    assert wanted in [at for _, at, _ in found], found
    # markup, bytes misread, the theme
    unclean = re.compile("[<>{}\\\\\ufffd\u00c2\u00c3]|&\\w+;|\u00e2\u20ac|Light Dark")
    assert not [(at, shown) for _, at, shown in found if unclean.search(shown)]
    assert not trouble


def test_search_by_hand(tab, host, trouble):
    page = tab()
    page.goto(f"{host}/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("normalize_neutral")
    page.keyboard.press("Enter")
    page.locator("#search-results li a").first.click()
    page.wait_for_url("**/reference/weights.html*")
    assert "eod_exit_ppo.weights.normalize_neutral" in page.url
    assert not trouble


def test_downloading_a_notebook_gives_the_clean_one(tab, host):
    page = tab()
    page.goto(f"{host}/nbs/03_exits.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download this notebook").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert download.value.suggested_filename == "03_exits.ipynb"
    assert '"nbformat": 4' in text and "#| hide" not in text and "#| export" not in text


def test_the_theme_can_be_switched_and_stays(tab, host, trouble):
    page = tab()
    page.goto(f"{host}/index.html")
    def mode(): return page.evaluate("document.documentElement.dataset.theme")
    seen = {mode()}
    for _ in range(3):
        page.locator(".theme-switch-button").locator("visible=true").first.click()
        if page.get_by_text("Dark", exact=True).locator("visible=true").count():
            page.get_by_text("Dark", exact=True).locator("visible=true").first.click()
        seen.add(mode())
        if mode() == "dark":
            break
    assert seen == {"light", "dark"}
    page.goto(f"{host}/story.html")
    assert mode() == "dark"
    assert not trouble


@pytest.mark.parametrize("size", SIZES)
def test_screenshots(tab, host, size, pages):
    "They are left in _docs/screenshots, to be looked at."
    from PIL import Image
    page, brightness = tab(size), []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for path in [p for p in CHOSEN if p in pages]:
        settled(page, f"{host}/{path}")
        name = re.sub(r"\W+", "-", path.removesuffix(".html"))
        png = page.screenshot(path=SCREENSHOTS / f"{name}-{size}.png")
        grey = Image.open(io.BytesIO(png)).convert("L")
        histogram = grey.histogram()
        brightness.append(sum(i * n for i, n in enumerate(histogram)) / sum(histogram))
    assert max(brightness) < 128 if size == "dark" else min(brightness) > 128


@pytest.mark.parametrize("size", SIZES)
def test_accessible(tab, host, axe, size, pages):
    "axe-core finds nothing serious: every page in the light, some in the dark and on a phone."
    page, found = tab(size), []
    every = pages if ALL else pages[::16]  # of those that nobody looks at
    def looked_at(p): return p in CHOSEN or size == "light" and p in every and not p.startswith("_modules/")
    for path in filter(looked_at, pages):
        settled(page, f"{host}/{path}")
        if path not in CHOSEN:
            page.evaluate(PLAINER)
        page.evaluate(axe + "; null")
        result = page.evaluate("""() => axe.run(document, {resultTypes: ['violations'], elementRef: false,
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})""")
        for violation in result["violations"]:
            if violation["impact"] in ("serious", "critical"):
                node = violation["nodes"][0]
                found.append(f"{path}: {violation['id']} ({len(violation['nodes'])}): {node['html'][:160]} "
                             f"{node['failureSummary'][:200]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("size", SIZES)
def test_the_explorer_answers_to_the_keyboard(tab, host, size, trouble):
    "An arrow key moves a slider; the sentence that is read out, the line and the table change with it."
    page = tab(size)
    page.goto(f"{host}/nbs/explorer.html")
    numbers = page.evaluate("JSON.parse(document.getElementById('explorer-numbers').textContent)")
    def said(): return page.locator("#explorer [aria-live=polite]").inner_text()
    def line(): return page.locator("#explorer svg .line").get_attribute("points")
    for name in ("signal", "cost", "impact", "day"):
        slider, before = page.locator(f"#explorer input[name={name}]"), (said(), line())
        slider.focus()
        told = slider.get_attribute("aria-valuetext")
        page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") != told and said() != before[0], name
        assert (line() != before[1]) == (name != "day"), name
    def at(name): return int(page.locator(f"#explorer input[name={name}]").input_value())
    s, c, k = map(at, ("signal", "cost", "impact"))
    assert f"the best exit is worth {numbers['best'][k][c][s] / 1000:.2f} % on average" in said()
    page.locator("#explorer summary").click()
    first = page.locator("#explorer table tr").nth(1).inner_text()
    assert first.endswith(f"{numbers['line'][k][c][s][0] / 1000:.2f} %")
    picture = page.locator("#explorer")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    picture.screenshot(path=SCREENSHOTS / f"explorer-{size}.png")
    assert not trouble
