"""An authority of the test's own, and certificates that it signs; made by the `openssl` program."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Certified:
    """A certificate and its key, as PEM files; `both` has the two in one file, as baresip wants them."""

    cert: Path
    key: Path

    @property
    def both(self) -> Path:
        file = self.cert.with_suffix(".both.pem")
        file.write_text(self.key.read_text() + self.cert.read_text())
        return file

    @property
    def keys(self) -> str:
        """The lines of `[sip.tls]`."""
        return f'cert = "{self.cert}"\nkey = "{self.key}"\n'


def _openssl(*arguments) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Signs certificates; `ca` is its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self._key = folder / "ca.pem", folder / "ca.key"
        self._new_key(self._key)
        _openssl("req", "-x509", "-key", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN=authority {folder.name}",
                 "-addext", "keyUsage=critical,keyCertSign")

    @staticmethod
    def _new_key(file: Path) -> None:
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file)

    def signs(self, name: str, *names: str) -> Certified:
        """A certificate for names such as `DNS:localhost`, `URI:sip:example.org`, `IP:127.0.0.1`."""
        made = Certified(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, more = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        self._new_key(made.key)
        _openssl("req", "-new", "-key", made.key, "-out", request, "-subj", f"/CN={name}")
        more.write_text(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2",
                 "-extfile", more, "-out", made.cert)
        return made
