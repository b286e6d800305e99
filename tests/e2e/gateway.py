"""The program under test: `offhook run`, `echo`, `dial` and `check`."""

import asyncio
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import ports
import prosody
from process import Process

BINARY = Path(
    os.environ.get("OFFHOOK")
    or Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parents[2] / "target")
    / "debug/offhook"
)
NUMBER = "+15551234567"
CONTACT = f"{NUMBER}@{prosody.GATEWAY}"
OUR_NUMBER = "+15550001000"

TEMPLATE = """
[xmpp]
server = "127.0.0.1:{component}"
domain = "{domain}"
secret = "{secret}"

[sip]
listen = [{listen}]
{sip_keys}

[media]
bind = "{bind}"
xmpp_port = {ice}
rtp_ports = "{rtp}-{rtp_last}"
{media_keys}

[[trunk]]
name = "carrier"
uri = "{trunk}"
from_networks = ["127.0.0.0/8"]
options_s = {options_s}
{trunk_keys}

[[route]]
match = "*"
trunk = [{trunks}]

[[number]]
number = "{number}"
ring = ["{ring}"]

[access]
allow = ["{allow}"]
calls_per_minute = 100

[call]
ring_limit_s = {ring_limit_s}
"""


class Gateway(Process):
    """`offhook run` between one Prosody and one trunk."""

    def __init__(self, folder: Path, server: prosody.Prosody, trunk: str, ring_limit_s: int = 30, more: str = "",
                 trunk_keys: str = "", options_s: int = 0, sip_keys: str = "", listen: list[str] | None = None, tls: str = "",
                 trunks: str = '"carrier"', under: tuple = (), bind: str = "127.0.0.1", media_keys: str = "",
                 domain: str = prosody.GATEWAY, ring: str = "alice@localhost", allow: str = "localhost"):
        super().__init__("gateway", folder)
        # The port above is for TLS; `tls` is what stands in [sip.tls].
        self.sip = ports.free(2)
        self.sips = self.sip + 1
        listen = (listen or []) + [f"udp://127.0.0.1:{self.sip}", f"tcp://127.0.0.1:{self.sip}"]
        if tls:
            listen.append(f"tls://127.0.0.1:{self.sips}")
            more += f"\n[sip.tls]\n{tls}\n"
        # Two for each media thread, of which there is one for each processor.
        self.ice = ports.free(64)
        self.rtp = ports.free(40)
        self.config = folder / "offhook.toml"
        self.config.write_text(
            TEMPLATE.format(
                component=server.component,
                domain=domain,
                ring=ring,
                allow=allow,
                secret=prosody.SECRET,
                listen=", ".join(f'"{one}"' for one in listen),
                sip_keys=sip_keys,
                options_s=options_s,
                bind=bind,
                media_keys=media_keys,
                ice=self.ice,
                rtp=self.rtp,
                rtp_last=self.rtp + 39,
                trunk=trunk,
                trunks=trunks,
                trunk_keys=trunk_keys,
                number=OUR_NUMBER,
                ring_limit_s=ring_limit_s,
            )
            + more
        )
        # What the program is started by, such as `nsenter …`.
        self.under = under
        self.start()
        # The kernel's list may leave out some while others come and go: what is missed here would be a leak later.
        self.idle = sorted({one for _ in range(3) for one in self.sockets()})

    def start(self) -> None:
        """Starts it, also once more after its end, and waits until it is ready."""
        before = len(self.log)
        self.launch([*self.under, BINARY, "run", "--config", self.config], env={"NO_COLOR": "1"})
        self.logged(r"^ready ", 20, before)

    def kill(self) -> None:
        """Ends it as a crash would: without a word."""
        self.popen.kill()
        self.popen.wait()

    def sockets(self) -> list[str]:
        """What it listens on: `udp 5060`, `tcp 5060`, …"""
        mine = set()
        for link in Path(f"/proc/{self.popen.pid}/fd").iterdir():
            try:
                if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link)):
                    mine.add(found[1])
            except OSError:
                continue  # closed between the two looks
        held = []
        for kind in ("udp", "tcp", "udp6", "tcp6"):
            for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
                words = line.split()
                # State 07 is an unconnected UDP socket, 0A a TCP listener.
                if words[9] in mine and words[3] in ("07", "0A"):
                    held.append(f"{kind} {int(words[1].rsplit(':', 1)[1], 16)}")
        return sorted(held)

    async def will_be_idle(self, timeout: float = 5) -> None:
        """Waits until no socket of a call is left."""
        end = time.monotonic() + timeout
        while (left := self.sockets()) != self.idle:
            assert time.monotonic() < end, f"sockets left open: {sorted(set(left) - set(self.idle))}"
            await asyncio.sleep(0.05)

    @property
    def media_ports(self) -> list[int]:
        """Every UDP port that sound may come to."""
        shared = range(self.ice, self.ice + 2 * (os.cpu_count() or 1))
        return [*shared, *range(self.rtp, self.rtp + 40)]

    def endings(self) -> list[str]:
        """The one line at info that each ended call leaves."""
        return [line for line in self.log.splitlines() if " INFO " in line and "call ended" in line]

    async def will_have_ended(self, reason: str, calls: int = 1) -> None:
        """Waits for the lines of `calls` ended calls, each of which must say `reason`, and until no socket of them is left."""
        await self.will_log(rf"(?s)(call ended.*){{{calls}}}", 5)
        lines = self.endings()
        assert len(lines) == calls, "\n".join(lines)
        for line in lines:
            assert re.search(rf"reason=\"?{reason}\b", line), line
        await self.will_be_idle()

    def check_end(self) -> None:
        """Stops it and checks that it ended well and lost no word on the way."""
        if self.running:
            left = sorted(set(self.sockets()) - set(self.idle))
            status = self.stop(timeout=10)
            assert status == 0, f"offhook run ended with {status} after SIGTERM:\n{self.log}"
            assert not left, f"sockets left open after the last call: {left}"
        assert "panicked" not in self.log, self.log
        assert " ERROR " not in self.log, self.log
        # Numbers and addresses of people are for debug only.
        for private in (NUMBER, NUMBER[1:], "alice@localhost", "bob@localhost"):
            assert private not in self.log, f"{private} in the log:\n{self.log}"


class Echo(Process):
    """`offhook echo`."""

    def __init__(self, folder: Path):
        super().__init__("echo", folder)
        self.sip = ports.free()
        self.launch([BINARY, "echo", "--listen", f"udp://127.0.0.1:{self.sip}"])
        end = time.monotonic() + 10
        while not ports.is_bound(self.sip):
            assert self.running and time.monotonic() < end, self.log
            time.sleep(0.02)

    @property
    def uri(self) -> str:
        return f"sip:127.0.0.1:{self.sip};transport=udp"


@dataclass
class Ended:
    """A command that ran to its end."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out.strip().splitlines()[-1])


async def offhook(*arguments, timeout: float = 30) -> Ended:
    """Runs the program with these arguments."""
    program = await asyncio.create_subprocess_exec(
        str(BINARY),
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(program.communicate(), timeout)
    except TimeoutError:
        program.kill()
        out, err = await program.communicate()
        raise AssertionError(f"offhook {arguments}: no end in {timeout} s\n{out.decode()}\n{err.decode()}") from None
    return Ended(program.returncode, out.decode(), err.decode())


async def dial(server: prosody.Prosody, folder: Path, to: str, *more) -> Ended:
    """`offhook dial … --json`."""
    return await client("dial", server, folder, "--to", to, *more)


async def listen(server: prosody.Prosody, folder: Path, *more) -> Ended:
    """`offhook listen … --json`."""
    return await client("listen", server, folder, *more)


async def client(command: str, server: prosody.Prosody, folder: Path, *more, user: str = "alice") -> Ended:
    """The program as an XMPP client."""
    password = folder / f"{user}.password"
    password.write_text(prosody.USERS[user] + "\n")
    return await offhook(
        command, "--account", f"{user}@{prosody.DOMAIN}", "--password-file", password,
        "--server", f"127.0.0.1:{server.c2s}", "--json", *more,
    )
