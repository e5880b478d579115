"""The path of Chromium; `CHROMIUM` may name it. Without one the browser tests are left out; in CI that is a failure."""

import os
import shutil

LEFT_OUT = "No Chromium found: the browser tests are left out (Debian: apt install chromium, or name one in CHROMIUM)."


def path():
    """The browser's path, or None."""
    names = os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"
    return next((found for name in names if name and (found := shutil.which(name))), None)


def is_left_out():
    return path() is None and os.environ.get("CI") != "true"
