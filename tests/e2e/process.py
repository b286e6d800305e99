"""A peer: a program with its own folder and log, stopped by its process id."""

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path


class Process:
    """Runs one program; what it prints goes to `FOLDER/NAME.log`."""

    # Also those whose start failed half way, which no fixture knows.
    launched: list["Process"] = []

    def __init__(self, name: str, folder: Path):
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / f"{name}.log"
        self.popen: subprocess.Popen | None = None

    def launch(self, command: list, env: dict | None = None, stdin=subprocess.DEVNULL, stdout=None) -> None:
        """Starts the program; what it prints goes to the log, or to `stdout` and only the errors to the log."""
        Process.launched.append(self)
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=stdin,
                stdout=stdout or log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
            )

    @property
    def log(self) -> str:
        """All it printed so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def logged(self, pattern: str, timeout: float = 10, after: int = 0) -> re.Match:
        """Waits until the log holds `pattern` `after` so many characters; blocks, so only for the time before a call."""
        end = time.monotonic() + timeout
        while True:
            ended = not self.running
            if found := re.search(pattern, self.log[after:], re.M):
                return found
            if ended or time.monotonic() > end:
                why = f"ended with {self.popen.returncode}" if ended else f"{timeout} s passed"
                raise AssertionError(f"{self.name}: {why} before {pattern!r}; log:\n{self.log}")
            time.sleep(0.02)

    async def will_log(self, pattern: str, timeout: float = 10) -> re.Match:
        """Waits until the log holds `pattern`."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self.log, re.M)):
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: no {pattern!r} in {timeout} s; log:\n{self.log}")
            await asyncio.sleep(0.02)
        return found

    async def exits(self, timeout: float = 10) -> int:
        """Waits until the program ends by itself; returns its exit status."""
        end = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: still running after {timeout} s; log:\n{self.log}")
            await asyncio.sleep(0.02)
        return self.popen.returncode

    def stop(self, how: int = signal.SIGTERM, timeout: float = 5) -> int | None:
        """Ends the program, by force after `timeout`; returns its exit status."""
        if self.popen is None:
            return None
        if self.running:
            self.popen.send_signal(how)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode
