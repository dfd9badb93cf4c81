"""The pictures of the README, taken of the published reports: `python -m tests.screenshots`, with names only those."""

import shutil
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from reports.runs import collect
from reports.site import publish
from tests.conftest import ARGUMENTS

_PUBLISHED = Path(__file__).parent.parent / "reports" / "published"
_H100 = "nvidia-h100-torch2.11.0-transformers5.17.0"
_OLD = "nvidia-h100-torch2.11.0-transformers4.48.3"
_TURNED = {
    "rows": "dtype",
    "rows2": "quantisation",
    "architecture": "falcon_alibi",
    "cell": "falcon_alibi-float32-eager-prefill",
}

# name -> page, fragment, what to scroll to, width, height, colours
_PICTURES = {
    "light": (f"runs/{_H100}.html", {}, "", 1400, 1240, "light"),
    "dark": (f"runs/{_H100}.html", _TURNED, "matrix", 1400, 900, "dark"),
    "narrow": (f"runs/{_H100}.html", {}, "", 390, 844, "light"),
    "support": ("index.html", {"type": "mistral"}, "", 1400, 1180, "light"),
    "diff": (f"diff/{_OLD}--{_H100}.html", {}, "", 1400, 900, "light"),
    "guide": ("guide.html", {}, "", 1900, 900, "light"),
}


def main(names: Collection[str]) -> None:
    """Write the pictures of these names beside the reports."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder)
        publish(collect(_PUBLISHED, site), site)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*ARGUMENTS, "--hide-scrollbars"]
        )
        for name in names:
            path, fragment, section, width, height, colours = _PICTURES[name]
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(f"{(site / path).as_uri()}#{urlencode(fragment)}")
            if section:
                page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
            page.screenshot(path=_PUBLISHED / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:] or _PICTURES)
