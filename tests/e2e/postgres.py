"""A PostgreSQL of the test's own: a data folder and a socket, no service; a port only if it has a certificate."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import ports
from pki import Certified
from process import Process

# PostgreSQL refuses to run as root; Debian's package makes this user.
USER = "postgres"
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


class Postgres(Process):
    """One server with one database; with a certificate, also for those who come over TLS, and for nobody else over the network."""

    def __init__(self, folder: Path, certified: Certified | None = None):
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
        self.port, self._tls = 0, []
        if certified:
            self.port = ports.free()
            for file, name in ((certified.cert, "server.crt"), (certified.key, "server.key")):
                copy = self.data / name
                shutil.copyfile(file, copy)
                copy.chmod(0o600)
                os.chown(copy, user.pw_uid, user.pw_gid)
            (self.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
            self._tls = ["-c", "ssl=on", "-c", "listen_addresses=127.0.0.1", "-p", self.port]
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://offhook@localhost/postgres?host={self.home}"

    def start(self) -> None:
        """Starts the server, also once more after `stop`, and waits until it takes connections."""
        self.launch([*self._as_user, BIN / "postgres", "-D", self.data, "-k", self.home, "-h", "", *self._tls])
        end = time.monotonic() + 20
        port = ["-p", str(self.port)] if self.port else []
        while subprocess.run([BIN / "pg_isready", "-q", "-h", self.home, *port], cwd=self.home).returncode != 0:
            assert self.running and time.monotonic() < end, self.log
            time.sleep(0.05)

    def says(self, sql: str) -> str:
        """What `psql` prints for it, bare."""
        port = ["-p", str(self.port)] if self.port else []
        command = [BIN / "psql", "-X", "-A", "-t", "-h", self.home, *port, "-U", "offhook", "-d", "postgres", "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.home).stdout.strip()

    def stop(self, how: int = signal.SIGQUIT, timeout: float = 10) -> int | None:
        """Ends it as a power cut would, connections included."""
        return super().stop(how, timeout)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
