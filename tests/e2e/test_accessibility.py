"""Every page as axe-core sees it, light and dark: nothing that keeps somebody out."""

from __future__ import annotations

import pytest
from driving import serving, tab
from scenes import SCENES, furnish, open_scene, settle
from servers import axe

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.e2e

GRAVE = {"serious", "critical"}
# axe-core reads two lines in one element as one word ("Anna81 faces") and misses it in the label "Anna, 81 faces": line
# by line they are in it. "+13" stands for faces that the label counts.
JUDGE = """
() => {
  const lines = (node) => node.nodeType === Node.TEXT_NODE
    ? [node.textContent.trim()] : [...node.childNodes].flatMap(lines);
  const isMisread = (id, { element }) => id === "label-content-name-mismatch" && lines(element).every(
    line => /^[+][0-9,]+$/.test(line) || element.ariaLabel.includes(line));
  return axe.run(document, { resultTypes: ["violations"], elementRef: true }).then(found => found.violations.map(
    ({ id, impact, nodes }) => ({ id, impact, nodes: nodes.filter(node => !isMisread(id, node)).map(node => ({
      where: node.target.flat().join(" >>> "), what: node.html.slice(0, 200), why: node.failureSummary })) })));
}
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    library = tmp_path_factory.mktemp("furnished") / "library"
    return {"library": library, **furnish(library)}


@pytest.fixture(scope="module")
def dashboard(known):
    with serving(known["library"]) as running:
        yield running


def findings(page) -> list[str]:
    """What axe-core holds against a page, in lines."""
    return [
        f"{rule['id']} ({rule['impact']}): {node['where']}\n  {node['what']}\n  {node['why']}"
        for rule in page.evaluate(JUDGE)
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def test_the_judge_looks_into_the_shadows_of_components(browser):
    page = browser.new_page()
    page.set_content("<html lang=en><title>Faces</title><main><h1>Faces</h1><div id=host></div></main>")
    page.evaluate("document.getElementById('host').attachShadow({ mode: 'open' }).innerHTML = '<button></button>'")
    page.evaluate(axe.script())
    found = findings(page)
    page.close()
    assert [line.split(" ")[0] for line in found] == ["button-name"]


@pytest.mark.parametrize("scene", SCENES)
def test_nobody_is_kept_out(browser, dashboard, known, scene):
    with tab(browser, dashboard) as page:
        open_scene(page, dashboard.url, SCENES[scene], known)
        page.evaluate(axe.script())
        found = {"light": findings(page)}
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("document.documentElement.classList.contains('fc-dark')")
        settle(page)
        found["dark"] = findings(page)
    assert not any(found.values()), "\n".join(f"{mode}: {line}" for mode in found for line in found[mode])
