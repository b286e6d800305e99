"""A PostgreSQL of the test's own: a data folder and a socket, no port, no service."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from process import Process

# PostgreSQL refuses to run as root; Debian's package makes this user.
USER = "postgres"
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


class Postgres(Process):
    """One server with one database."""

    def __init__(self, folder: Path):
        super().__init__("postgres", folder)
        # Not below pytest's folder, which only root may enter.
        self.home = Path(tempfile.mkdtemp(prefix="offhook-postgres-"))
        user = pwd.getpwnam(USER)
        os.chown(self.home, user.pw_uid, user.pw_gid)
        self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
        self.data = self.home / "data"
        subprocess.run(
            [*self._as_user, BIN / "initdb", "-D", self.data, "-U", "offhook", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.home,
        )
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://offhook@localhost/postgres?host={self.home}"

    def start(self) -> None:
        """Starts the server, also once more after `stop`, and waits until it takes connections."""
        self.launch([*self._as_user, BIN / "postgres", "-D", self.data, "-k", self.home, "-h", ""])
        end = time.monotonic() + 20
        while subprocess.run([BIN / "pg_isready", "-q", "-h", self.home], cwd=self.home).returncode != 0:
            assert self.running and time.monotonic() < end, self.log
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGQUIT, timeout: float = 10) -> int | None:
        """Ends it as a power cut would, connections included."""
        return super().stop(how, timeout)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
