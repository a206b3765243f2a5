"""Headless Chromium by the WebDriver protocol, as far as the page's test needs it. Debian: chromium, chromium-driver."""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from harness import DEADLINE, free_port

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--disable-dev-shm-usage"]


def missing():
    """Why there is no browser; nothing where there is one."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return f"{program} is not installed (Debian: chromium, chromium-driver)"
    return None


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="p2p-browser-")
        self.port = free_port()
        self.session = None
        # A group of its own: the browser's processes end with it, whatever becomes of the driver.
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            self._wait_for_driver()
            options = {"args": [*FLAGS, f"--user-data-dir={self.profile}"]}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        except BaseException:
            self.close()
            raise
        self.session = f"/session/{made['sessionId']}"

    def _wait_for_driver(self):
        end = time.monotonic() + DEADLINE
        while True:
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except OSError as error:
                if self.driver.poll() is not None or time.monotonic() > end:
                    raise AssertionError("chromedriver does not answer") from error
            time.sleep(0.05)  # asked again, not waited for

    def _call(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read())["value"]

    def _tell(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self._call("POST", f"{self.session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self._call("POST", f"{self.session}/url", {"url": url})

    def run_first(self, script):
        """In every page that is opened from now on, before its own scripts."""
        self._tell("Page.addScriptToEvaluateOnNewDocument", source=script)

    def run(self, script, *arguments):
        """What the script returns."""
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait_until(self, script, *arguments):
        """What the script returns, once that is true."""
        end = time.monotonic() + DEADLINE
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}; the page says: {self.text()}")
            time.sleep(0.05)  # asked again, not waited for
        return value

    def text(self):
        return self.run("return document.body.innerText")

    def set_size(self, width, height, phone=False):
        self._tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                   mobile=phone)

    def set_scheme(self, scheme):
        self._tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        size = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        shot = self._tell("Page.captureScreenshot", captureBeyondViewport=True,
                          clip={"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1})
        path.write_bytes(base64.b64decode(shot["data"]))

    def logs(self, kind):
        return self._call("POST", f"{self.session}/se/log", {"type": kind})

    def requested(self):
        """The addresses that the page asked for since this was called last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]

    def close(self):
        try:
            if self.session:
                self._call("DELETE", self.session)
        finally:
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()
            shutil.rmtree(self.profile, ignore_errors=True)
