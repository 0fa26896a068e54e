"""The report in a real browser: Debian's Chromium, driven by selenium."""

import base64
import json
import shutil

import pytest

from keras_bt.report import write_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
FIGURE_BOXES = """
return [...document.querySelectorAll("figure svg, img")].map(figure => {
    const box = figure.getBoundingClientRect();
    const drawn = figure.naturalWidth ?? figure.querySelectorAll("path, image").length;
    return {tag: figure.tagName, width: box.width, height: box.height, drawn: drawn};
});
"""
OVERFLOW_PIXELS = (
    "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
)
TEXT_COLORS = """
const text = document.querySelector("figure svg text");
return [getComputedStyle(text).fill, getComputedStyle(document.body).color];
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="Chromium is not installed (Debian: chromium, chromium-driver)",
    ),
]


@pytest.fixture(params=["light", "dark"])
def browser(request, tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path}/profile"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    scheme = {"name": "prefers-color-scheme", "value": request.param}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    yield driver, request.param
    driver.quit()


def requested_urls(driver):
    """URLs requested since the last call."""
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_report_renders_on_phone_and_desktop(run_folder, browser, tmp_path, pytestconfig):
    driver, scheme = browser
    folder = run_folder(class_names=("<script>hi()</script>", "dog"))
    page = write_report([folder])
    screenshots = pytestconfig.rootpath / "build" / "screenshots"
    screenshots.mkdir(parents=True, exist_ok=True)
    driver.get("about:blank")
    list(requested_urls(driver))  # discards those of the start page
    for name, (width, height) in SIZES.items():
        driver.set_window_size(width, height)
        driver.get(f"file://{page}")
        urls = [url for url in requested_urls(driver) if not url.startswith("data:")]
        assert urls == [f"file://{page}"]
        assert [entry["message"] for entry in driver.get_log("browser")] == []
        figures = driver.execute_script(FIGURE_BOXES)
        assert len([f for f in figures if f["tag"].lower() == "svg"]) == 11
        assert all(f["width"] > 10 and f["height"] > 10 and f["drawn"] > 0 for f in figures)
        assert driver.execute_script(OVERFLOW_PIXELS) == 0
        fill, color = driver.execute_script(TEXT_COLORS)
        assert fill == color  # also in dark mode
        image = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (screenshots / f"{name}-{scheme}.png").write_bytes(base64.b64decode(image["data"]))
    text = driver.find_element("tag name", "main").text
    result = json.loads((folder / "result.json").read_text())
    for accuracies in (result["trained"], result["untrained"], result["pixels"]):
        for value in accuracies.values():
            assert f"{100 * value:.1f} %" in text
    assert "<script>hi()</script>" in text
