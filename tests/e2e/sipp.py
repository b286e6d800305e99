"""SIPp: one scripted SIP endpoint for one call."""

import asyncio
import re
import time
from pathlib import Path

import ports
from process import Process
from tone import sine

SCENARIOS = Path(__file__).parent / "sipp"


_MEDIA = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP {payload}
a=rtpmap:{payload} {name}/8000
a={direction}
"""
_PARTY = """Max-Forwards: 70
From: <sip:+15557654321@[local_ip]:[local_port]>;tag=[pid]f[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: <sip:[local_ip]:[local_port];transport=[transport]>"""
_VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\n"


def _sdp(direction: str = "sendrecv", name: str = "PCMU", version: str = "1", port: str = "[media_port]") -> str:
    return _MEDIA.format(direction=direction, name=name, payload=8 if name == "PCMA" else 0, version=version, port=port)


def _saved(name: str) -> str:
    return f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{name.replace("-", "").lower()}"/>'


# What scenarios write as `[=NAME WORDS…]`, so that each shows only what is odd about it.
PARTS = {
    # The caller's requests: outside of the dialog, within it, and the ACK of a failure.
    "request": lambda method, number="1", branch="[branch]", uri="sip:[service]@[remote_ip]:[remote_port]": (
        f"{method} {uri} SIP/2.0\n" + _VIA.format(branch=branch) + _PARTY.format(tag="", number=number, method=method)
    ),
    "within": lambda method, number: (
        f"{method} [next_url] SIP/2.0\n" + _VIA.format(branch="[branch]") + _PARTY.format(tag="[peer_tag_param]", number=number, method=method)
    ),
    "refused": lambda number="1": (
        "ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n[last_Via:]\nMax-Forwards: 70\n[last_From:]\n[last_To:]\n"
        f"[last_Call-ID:]\nCSeq: {number} ACK\nContent-Length: 0\n\n"
    ),
    # What a caller may hear before the answer.
    "soon": lambda: "".join(f'<recv response="{status}" optional="true"/>\n' for status in (100, 180, 183)),
    # The callee keeps what its later messages need.
    "keep": lambda: "".join(map(_saved, ("Via", "From", "To", "CSeq"))),
    "kept": lambda: '<Reference variables="via,from,to,cseq"/>',
    "answer": lambda tag, status, *reason: (
        f"SIP/2.0 {status} {' '.join(reason)}\nVia:[$via]\nFrom:[$from]\nTo:[$to];tag={tag}\nCall-ID: [call_id]\nCSeq:[$cseq]\n"
        "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"
    ),
    "back": lambda tag, method, number: (
        f"{method} [next_url] SIP/2.0\n" + _VIA.format(branch="[branch]") + f"Max-Forwards: 70\nFrom:[$to];tag={tag}\n"
        f"To:[$from]\nCall-ID: [call_id]\nCSeq: {number} {method}\nContact: <sip:[local_ip]:[local_port];transport=[transport]>"
    ),
    # The answer to what came last.
    "reply": lambda status="200", *reason: (
        f"SIP/2.0 {status} {' '.join(reason) or 'OK'}\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
        "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"
    ),
    "sdp": _sdp,
    "empty": lambda: "Content-Length: 0\n\n",
}


def _mu_law(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    level = min(abs(sample), 32635) + 132
    exponent = level.bit_length() - 8
    return ~(sign | exponent << 4 | (level >> (exponent + 3)) & 0x0F) & 0xFF


def _part(found: re.Match) -> str:
    return PARTS[found[1]](*found[2].split())


class Sipp(Process):
    """Plays `sipp/NAME.xml`, or one of its own scenarios if there is no such file; `exits()` returns 0 only if
    all went as scripted."""

    def __init__(self, folder: Path, scenario: str, target: str | None = None, user: str = "phone", transport: str = "u1",
                 echo: bool = True, calls: int = 1, more: list = (), **keys):
        super().__init__(f"sipp-{scenario}", folder)
        self.sip = ports.free()
        media = ports.free(8)
        (folder / "tone.raw").write_bytes(bytes(map(_mu_law, sine(440, 8000, 0, 8000))))
        command = ["sipp"] + ([target, "-s", user] if target else [])
        if (file := SCENARIOS / f"{scenario}.xml").exists():
            # SIPp wants the status code as a number when it reads the scenario, so `-key` comes too late.
            text = re.sub(r"\[=(\w+)((?: (?:\[[^\[\]]*\]|[^ \[\]]+)+)*)\]", _part, file.read_text())
            for key, value in keys.items():
                text = text.replace(f"[{key}]", str(value))
            (folder / "scenario.xml").write_text(text)
            command += ["-sf", folder / "scenario.xml"]
        else:
            command += ["-sn", scenario]
        command += [*more, "-i", "127.0.0.1", "-p", self.sip, "-t", transport]
        command += ["-mi", "127.0.0.1", "-mp", media, "-m", calls, "-nostdin", "-timeout", "50s", "-timeout_error"]
        command += ["-trace_msg", "-message_file", folder / "messages", "-trace_err", "-error_file", folder / "errors"]
        if echo and not target:
            command.append("-rtp_echo")
        self.launch(command)
        if not target:
            while not ports.is_bound(self.sip, "udp" if transport.startswith("u") else "tcp"):
                assert self.running, f"{self.name}: {self.log}"
                time.sleep(0.01)

    @property
    def messages(self) -> str:
        """Every SIP message of the call."""
        file = self.folder / "messages"
        return file.read_text(errors="replace") if file.exists() else ""

    def received(self) -> list[str]:
        """The first lines of what came in."""
        return re.findall(r"message received .*?:\s+(\S[^\r\n]*)", self.messages)

    async def will_have_received(self, what: str, times: int = 1, timeout: float = 10) -> None:
        """Waits until so many messages have come whose first line has this word."""
        end = time.monotonic() + timeout
        while sum(what in line.split() for line in self.received()) < times:
            assert time.monotonic() < end and self.running, f"{self.name}: not {times} times {what}\n{self.messages}"
            await asyncio.sleep(0.05)

    async def done(self, timeout: float = 10) -> None:
        """Waits for the end and checks that all went as scripted."""
        status = await self.exits(timeout)
        errors = self.folder / "errors"
        why = errors.read_text(errors="replace") if errors.exists() else self.log[-2000:]
        assert status == 0, f"{self.name} ended with {status}: {why}\n{self.messages}"
