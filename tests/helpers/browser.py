"""A headless Chromium, by its DevTools protocol over two pipes: what a reader sees, presses and prints."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}
_TEXTS = {"Enter": "\r"}


class Browser:
    """One Chromium that reaches nothing but this machine."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Chromium reads from 3 and writes to 4, so that none of the pipes may be either of them.
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out))
        arguments = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            f"--user-data-dir={self._folder.name}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]  # fmt: skip

        def connect():
            os.dup2(read, 3)
            os.dup2(write, 4)

        self._process = subprocess.Popen(
            arguments, preexec_fn=connect, pass_fds=(3, 4), stderr=subprocess.DEVNULL
        )
        for end in (theirs_in, theirs_out, read, write):
            os.close(end)
        self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._count, self._rest = 0, b""
        self.events = []

    def close(self):
        with contextlib.suppress(OSError):
            self.ask("Browser.close")
        self._process.wait(60)
        self._folder.cleanup()

    def page(self, url, **look):
        """A page that has been loaded."""
        return Page(self, url, **look)

    def ask(self, method, session=None, **parameters):
        """What Chromium answers to a command; what it tells meanwhile is in `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._out.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._count:
                assert "error" not in told, (method, told["error"])
                return told["result"]
            self.events.append(told)

    def wait(self, method, session):
        """Until it tells something."""
        while not any(one.get("method") == method and one.get("sessionId") == session for one in self.events):
            self.events.append(self._read())

    def _read(self):
        while b"\0" not in self._rest:
            piece = self._in.read1()
            assert piece, "chromium has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """A page.

    Args:
        browser: Where it is shown.
        url: Its address.
        width: Of the window, in points.
        dark: Whether the reader prefers dark pages.
        scripts: Whether the page's own scripts run.
    """

    def __init__(self, browser, url, *, width=1440, dark=False, scripts=True):
        self.browser = browser
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.media(dark=dark)
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.ask("Page.navigate", url=url)
        browser.wait("Page.loadEventFired", self.session)

    def ask(self, method, **parameters):
        return self.browser.ask(method, self.session, **parameters)

    def media(self, kind="", *, dark=False):
        """Show it as on a screen, or as printed; light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def run(self, script):
        """What a script gives: the body of an asynchronous function."""
        told = self.ask(
            "Runtime.evaluate",
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def load(self, source):
        """Run a script of its own, such as a library."""
        assert "exceptionDetails" not in self.ask("Runtime.evaluate", expression=source)

    def press(self, key):
        """Press a key where the focus is, and let go of it."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": _TEXTS[key]} if key in _TEXTS else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text):
        """Write a text where the focus is."""
        self.ask("Input.insertText", text=text)

    def pdf(self):
        """What is printed."""
        return base64.b64decode(self.ask("Page.printToPDF")["data"])

    def screenshot(self):
        """All of it, as a PNG."""
        whole = self.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(whole["data"])

    @property
    def complaints(self):
        """What the browser logged, errors of scripts among it."""
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [one["params"] for one in self._events() if one["method"] in kinds]

    @property
    def requests(self):
        """Everything that was asked for."""
        return [
            one["params"]["request"]["url"]
            for one in self._events()
            if one["method"] == "Network.requestWillBeSent"
        ]

    def _events(self):
        return [one for one in self.browser.events if one.get("sessionId") == self.session]
