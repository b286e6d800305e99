"""ejabberd on loopback, in the place of Prosody: the same ports and names, its own folder, no service of Debian's."""

import socket
import time
from pathlib import Path

import ports
from process import Process
from prosody import DOMAIN, GATEWAY, MIX, SECRET, USERS

# Where Debian keeps what ejabberd is made of.
LIBRARIES = "/usr/lib/x86_64-linux-gnu"


class Ejabberd(Process):
    """One server: c2s and websocket with SASL and without TLS, a component port, the modules of Debian's
    configuration that touch messages and presence, and `modules` beside them."""

    def __init__(self, folder: Path, modules: str = ""):
        super().__init__("ejabberd", folder)
        self.c2s = ports.free()
        self.component = ports.free()
        self.http = ports.free()
        (folder / "ejabberd.yml").write_text(
            f"""
hosts: ["{DOMAIN}"]
loglevel: info
auth_method: internal
auth_password_format: plain
listen:
  - port: {self.c2s}
    ip: "127.0.0.1"
    module: ejabberd_c2s
  - port: {self.component}
    ip: "127.0.0.1"
    module: ejabberd_service
    global_routes: false
    check_from: true
    hosts:
      "{GATEWAY}":
        password: "{SECRET}"
      "{MIX}":
        password: "{SECRET}"
  - port: {self.http}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /ws: ejabberd_http_ws
modules:
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
{modules}"""
        )
        users = ", ".join(
            f'ejabberd_auth:try_register(<<"{user}">>, <<"{DOMAIN}">>, <<"{password}">>)'
            for user, password in USERS.items()
        )
        # Without a node name there is no epmd and nothing of another ejabberd of this machine.
        self.launch(
            ["erl", "-noinput", "+S", "2:2", "-mnesia", "dir", f'"{folder}/mnesia"', "-s", "ejabberd", "-eval", users + ', io:format("users are there~n").'],
            env={
                "ERL_LIBS": LIBRARIES,
                "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(folder / "server.log"),
                "ERL_CRASH_DUMP": str(folder / "crash.dump"),
                "HOME": str(folder),
            },
        )
        end = time.monotonic() + 30
        for port in (self.c2s, self.component, self.http):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 0.2).close()
                    break
                except OSError:
                    if time.monotonic() > end or not self.running:
                        raise AssertionError(f"ejabberd does not listen on {port}:\n{self.log}") from None
                    time.sleep(0.05)
        # It listens before they are.
        self.logged("users are there", timeout=30)

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.http}/ws"
