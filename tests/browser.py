"""A headless Chromium, driven through chromedriver by the standard library alone."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
]


def missing():
    """Why there is no browser to test with, or an empty string."""
    programs = {"chromium": CHROMIUM, "chromedriver": DRIVER}
    absent = [name for name, path in programs.items() if not path]
    return f"not on this machine: {', '.join(absent)}" if absent else ""


class Browser:
    """One page at a time, with its console and its network requests."""

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(
            [DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.base = f"http://127.0.0.1:{port}"
        self.session = None
        try:
            self._wait()
            flags = [*FLAGS, f"--user-data-dir={self.profile.name}"]
            options = {"binary": CHROMIUM, "args": flags}
            wanted = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self.__exit__()
            raise
        self.session = answer["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            if self.session:
                self._send("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait(timeout=20)
            self.profile.cleanup()

    def _wait(self):
        for _ in range(100):
            try:
                if self._send("GET", "/status")["ready"]:
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None

    def cdp(self, command, **parameters):
        body = {"cmd": command, "params": parameters}
        return self._send("POST", f"/session/{self.session}/goog/cdp/execute", body)

    def open(self, path: Path, *, width=1200, scheme="light", media=""):
        """Load a file at a width in CSS pixels and a colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.cdp("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.cdp("Emulation.setEmulatedMedia", media=media, features=features)
        self.console()
        self.requests()
        self._send("POST", f"/session/{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, expression):
        """The value of a JavaScript expression on the page."""
        body = {"script": f"return {expression}", "args": []}
        return self._send("POST", f"/session/{self.session}/execute/sync", body)

    def _log(self, kind):
        return self._send("POST", f"/session/{self.session}/se/log", {"type": kind})

    def console(self):
        """What the console said since the last call."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self):
        """Addresses asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            m["params"]["request"]["url"]
            for m in messages
            if m["method"] == "Network.requestWillBeSent"
            and not m["params"]["documentURL"].startswith("chrome")  # the browser's own start page
        ]

    def screenshot(self, path: Path):
        """Write the page as PNG, whole or its first 16,000 pixels."""
        page = "document.scrollingElement"
        width, height = (self.run(f"{page}.scroll{side}") for side in ("Width", "Height"))
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 16_000), "scale": 1}
        image = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        Path(path).write_bytes(base64.b64decode(image))

    def pdf(self, path: Path):
        Path(path).write_bytes(base64.b64decode(self.cdp("Page.printToPDF")["data"]))
