"""The page in a real browser: Debian's chromium, driven by selenium."""

import base64
import json
import shutil

import pytest

from keras_bt.report import write_page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
FIGURES = """
const seen = [...document.querySelectorAll("figure svg, img")].map(figure => {
    const box = figure.getBoundingClientRect();
    const drawn = figure.naturalWidth ?? figure.querySelectorAll("path, image").length;
    return {tag: figure.tagName, width: box.width, height: box.height, drawn: drawn};
});
return seen;
"""
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
INK = """
const text = document.querySelector("figure svg text");
return [getComputedStyle(text).fill, getComputedStyle(document.body).color];
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no browser: chromium and chromedriver (Debian: chromium, chromium-driver) are "
        "needed to look at the report",
    ),
]


@pytest.fixture(params=["light", "dark"])
def browser(request, tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*QUIET, f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    scheme = {"name": "prefers-color-scheme", "value": request.param}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    yield driver, request.param
    driver.quit()


def requests(driver):
    """Addresses that the page asked for."""
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_the_report_in_a_browser(run_folder, browser, tmp_path, pytestconfig):
    driver, scheme = browser
    folder = run_folder(class_names=("<script>hi()</script>", "dog"))
    page = write_page([folder], folder / "report.html")
    kept = pytestconfig.rootpath / "build" / "screenshots"
    kept.mkdir(parents=True, exist_ok=True)
    driver.get("about:blank")
    list(requests(driver))  # those of the browser's own first page
    for name, (width, height) in SIZES.items():
        driver.set_window_size(width, height)
        driver.get(f"file://{page}")
        asked = [url for url in requests(driver) if not url.startswith("data:")]
        assert asked == [f"file://{page}"]
        assert [entry["message"] for entry in driver.get_log("browser")] == []
        figures = driver.execute_script(FIGURES)
        assert len([f for f in figures if f["tag"].lower() == "svg"]) == 11
        assert all(f["width"] > 10 and f["height"] > 10 and f["drawn"] > 0 for f in figures)
        assert driver.execute_script(OVERFLOW) == 0
        fill, color = driver.execute_script(INK)
        assert fill == color  # figures have the ink of the page, in dark as in light
        whole = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (kept / f"{name}-{scheme}.png").write_bytes(base64.b64decode(whole["data"]))
    shown = driver.find_element("tag name", "main").text
    result = json.loads((folder / "result.json").read_text())
    for figures in (result["trained"], result["untrained"], result["pixels"]):
        for value in figures.values():
            assert f"{100 * value:.1f} %" in shown
    assert "<script>hi()</script>" in shown
