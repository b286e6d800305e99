"""SIPp: one scripted SIP endpoint for one call."""

import re
import time
from pathlib import Path

import ports
from process import Process
from tone import sine

SCENARIOS = Path(__file__).parent / "sipp"


def _mu_law(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    level = min(abs(sample), 32635) + 132
    exponent = level.bit_length() - 8
    return ~(sign | exponent << 4 | (level >> (exponent + 3)) & 0x0F) & 0xFF


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
            text = file.read_text()
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

    async def done(self, timeout: float = 10) -> None:
        """Waits for the end and checks that all went as scripted."""
        status = await self.exits(timeout)
        errors = self.folder / "errors"
        why = errors.read_text(errors="replace") if errors.exists() else self.log[-2000:]
        assert status == 0, f"{self.name} ended with {status}: {why}\n{self.messages}"
