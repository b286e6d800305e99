"""A DNS server of the test's own: dnsmasq that knows nothing but what it is told."""

import time
from pathlib import Path

import ports
from process import Process


class Dns(Process):
    """`Dns(folder, "host-record=a.test,127.0.0.1", …)`; the lines are dnsmasq's."""

    def __init__(self, folder: Path, *lines: str):
        super().__init__("dnsmasq", folder)
        self.port = ports.free()
        config = ["no-resolv", "no-hosts", "local=/test/", "log-queries", "log-facility=-", *lines]
        (folder / "dnsmasq.conf").write_text("\n".join(config) + "\n")
        self.launch([
            "/usr/sbin/dnsmasq", "--keep-in-foreground", "--port", self.port, "--listen-address=127.0.0.1",
            "--bind-interfaces", "--user=", "--pid-file=", "--conf-file=" + str(folder / "dnsmasq.conf"),
        ])
        end = time.monotonic() + 10
        while not ports.is_bound(self.port):
            assert self.running and time.monotonic() < end, self.log
            time.sleep(0.02)

    @property
    def key(self) -> str:
        """The line of `[sip]`."""
        return f'nameserver = "127.0.0.1:{self.port}"'
