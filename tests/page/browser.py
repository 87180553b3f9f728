"""A page in a real browser: what a script that runs in it found."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

EARLY = "<script>window.seenErrors = []; window.addEventListener('error', (e) => window.seenErrors.push(String(e.message)));</script>"
FRAME = """
<script>
window.addEventListener("load", () => setTimeout(() => {{
  const seen = {{ errors: window.seenErrors, width: window.innerWidth }};
  try {{ (() => {{ {script} }})(); }} catch (error) {{ seen.errors.push(String(error)); }}
  parent.postMessage(JSON.stringify(seen), "*");
}}, 500));
</script>
"""
# a window has a least width; a frame in it has the width that is asked for
AROUND = """<!doctype html><html style="color-scheme: {scheme}"><body style="margin: 0">
<iframe src="page.html" style="border: 0; width: {width}px; height: {height}px"></iframe>
<script>window.addEventListener("message", (event) => {{
  const place = document.createElement("pre");
  place.id = "seen"; place.textContent = event.data;
  document.body.append(place);
}});</script></body></html>"""


def seen_in_a_browser(page: str, script: str, *, size: tuple[int, int], dark: bool = False) -> dict[str, Any]:
    """Open a page and run a script that fills `seen`; no error may occur.

    Args:
        size: width and height of the window, in pixels.
    """
    text = page.replace("<body>", f"<body>{EARLY}", 1).replace("</body>", f"{FRAME.format(script=script)}</body>", 1)
    with tempfile.TemporaryDirectory() as profile:
        (Path(profile) / "page.html").write_text(text, encoding="utf-8")
        around = AROUND.format(scheme="dark" if dark else "light", width=size[0], height=size[1])
        path = Path(profile) / "around.html"
        path.write_text(around, encoding="utf-8")
        assert CHROMIUM is not None
        done = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
                "--window-size=1600,1200", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--virtual-time-budget=10000", "--dump-dom", path.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found is not None
    seen: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    assert seen.pop("errors") == []
    assert seen.pop("width") == size[0]
    return seen
