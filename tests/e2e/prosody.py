"""Prosody on loopback, with users that need no registration and two slots for the gateway."""

import socket
import time
from pathlib import Path

import ports
from process import Process

USERS = {"alice": "secret-a", "bob": "secret-b"}
DOMAIN = "localhost"
GATEWAY = "phone.localhost"
MIX = "mix.localhost"
SECRET = "component-secret"


class Prosody(Process):
    """One server: c2s and websocket with SASL and without TLS, a component port, nothing else."""

    def __init__(self, folder: Path, nagle: bool = False):
        super().__init__("prosody", folder)
        self.nagle = nagle
        self.c2s = ports.free()
        self.component = ports.free()
        self.http = ports.free()
        self._write()
        self.start()

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.http}/xmpp-websocket"

    def _write(self) -> None:
        data = self.folder / "data"
        accounts = data / DOMAIN / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        for user, password in USERS.items():
            (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
        (self.folder / "prosody.cfg.lua").write_text(
            f"""
run_as_root = true
pidfile = "{self.folder}/prosody.pid"
data_path = "{data}"
log = {{ info = "*console" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.c2s} }}
component_ports = {{ {self.component} }}
component_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {self.http} }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{ }}
http_default_host = "{DOMAIN}"
consider_websocket_secure = true
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "websocket" }}
modules_disabled = {{ "s2s", "offline", "tls" }}
authentication = "internal_plain"
storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
{'' if self.nagle else 'network_settings = { nagle = false }'}
VirtualHost "{DOMAIN}"
Component "{GATEWAY}"
  component_secret = "{SECRET}"
Component "{MIX}"
  component_secret = "{SECRET}"
"""
        )

    def start(self) -> None:
        """Starts the server, also once more after `stop`, and waits until it listens."""
        self.launch(["prosody", "--config", self.folder / "prosody.cfg.lua", "-F"])
        end = time.monotonic() + 10
        for port in (self.c2s, self.component, self.http):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.2).close()
                    break
                except OSError:
                    if time.monotonic() > end or not self.running:
                        raise AssertionError(f"prosody does not listen on {port}:\n{self.log}") from None
                    time.sleep(0.02)
