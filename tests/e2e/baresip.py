"""baresip without a sound card: plays a sine, records what it hears, obeys on a TCP port."""

import asyncio
import json
import re
from pathlib import Path

import ports
from pki import Certified
from process import Process
from tone import Sound, read_wav

# Names as baresip wants them; a bare `opus` would silently mean every codec.
CODECS = {"opus": "opus/48000/2", "G722": "g722/16000/1", "PCMU": "pcmu/8000/1", "PCMA": "pcma/8000/1"}


class Baresip(Process):
    """One SIP phone on `udp://127.0.0.1:PORT`; `async with phone:` opens its control connection."""

    def __init__(self, folder: Path, hz: int = 660, codecs: list[str] | None = None, answer: str = "manual", user: str = "phone",
                 mediaenc: str = "", tls: Certified | None = None, ca: Path | None = None, host: str = "127.0.0.1", video: bool = False):
        super().__init__("baresip", folder)
        self.user = user
        self.host = f"[{host}]" if ":" in host else host
        # The port above the SIP port is SIPS, so the control port is the third.
        self.sip = ports.free(4)
        self.sips = self.sip + 1
        self.control = self.sip + 2
        self.console = self.sip + 3
        self.rtp = ports.free(20)
        self.events: list[dict] = []
        self.shown = ""
        self._snapshots = 0
        self._news: asyncio.Condition | None = None
        self._answers: dict[str, asyncio.Future] = {}
        chosen = ",".join(CODECS[name] for name in codecs or CODECS)
        (folder / "sounds").mkdir(exist_ok=True)
        modules = ["account.so", "g711.so", "g722.so", "opus.so", "ausine.so", "aubridge.so", "sndfile.so", "srtp.so", "dtls_srtp.so", "cons.so", "ctrl_tcp.so"]
        if video:
            modules.insert(-1, "vp8.so")
            modules.insert(-1, "fakevideo.so")
            modules.insert(-1, "snapshot.so")
        # `module_app` of menu.so gives the commands dial, accept and hangup.
        (folder / "config").write_text(
            "\n".join(
                [
                    f"sip_listen {self.host}:{self.sip}",
                    "module_path /usr/lib/baresip/modules",
                    *(f"module {name}" for name in modules[1:-1]),
                    "module_tmp account.so",
                    "module_app ctrl_tcp.so",
                    "module_app menu.so",
                    f"ctrl_tcp_listen 127.0.0.1:{self.control}",
                    # Where it shows the texts that come; the log has none.
                    f"cons_listen 127.0.0.1:{self.console}",
                    f"audio_source ausine,{hz}",
                    "audio_player aubridge,ear",
                    "audio_alert aubridge,bell",
                    "ausrc_srate 48000",
                    "ausrc_channels 2",
                    "auplay_srate 48000",
                    "auplay_channels 1",
                    f"snd_path {folder}/sounds",
                    f"rtp_ports {self.rtp}-{self.rtp + 19}",
                    f"net_interface {host}",
                    *(["prefer_ipv6 yes"] if ":" in host else []),
                    "call_local_timeout 120",
                    # A grey picture that shows nowhere; snapshot.so writes down what comes.
                    *(["video_source fakevideo,nil", "video_display fakevideo,nil", "video_size 320x240", "video_fps 10"]
                      if video else []),
                    "statmode_default off",
                    *([f"sip_certificate {tls.both}", f"sip_cafile {ca}"] if tls else []),
                    "",
                ]
            )
        )
        (folder / "accounts").write_text(
            f"<sip:{user}@{self.host}:{self.sips if tls else self.sip}{';transport=tls' if tls else ''}>"
            + f";regint=0;audio_codecs={chosen};answermode={answer}"
            + (";video_codecs=VP8" if video else "")
            + (f";mediaenc={mediaenc}" if mediaenc else "")
            + "\n"
        )
        self.launch(["baresip", "-f", folder, "-v"])
        self.logged(r"baresip is ready")

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@{self.host}:{self.sip}"

    async def __aenter__(self) -> "Baresip":
        self._news = asyncio.Condition()
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.control)
        self._task = asyncio.ensure_future(self._read())
        shown, self._shown_to = await asyncio.open_connection("127.0.0.1", self.console)
        self._showing = asyncio.ensure_future(self._show(shown))
        return self

    async def __aexit__(self, *_) -> None:
        self._task.cancel()
        self._showing.cancel()
        self._writer.close()
        self._shown_to.close()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while size := await self._reader.readuntil(b":"):
            body = await self._reader.readexactly(int(size[:-1]) + 1)
            news = json.loads(body[:-1])
            news["at"] = loop.time()
            if news.get("response"):
                if answer := self._answers.pop(news.get("token", ""), None):
                    answer.set_result(news)
            else:
                async with self._news:
                    self.events.append(news)
                    self._news.notify_all()

    async def _show(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            self.shown += data.decode(errors="replace")

    async def command(self, command: str, params: str = "") -> dict:
        """Runs one of baresip's commands, such as `dial`, `accept`, `hangup`."""
        token = f"t{len(self._answers)}-{asyncio.get_running_loop().time()}"
        answer = self._answers[token] = asyncio.get_running_loop().create_future()
        text = json.dumps({"command": command, "params": params, "token": token})
        self._writer.write(f"{len(text.encode())}:{text},".encode())
        return await asyncio.wait_for(answer, 5)

    async def will_say(self, kind: str, timeout: float = 10) -> dict:
        """Waits for an event such as CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED."""

        def found() -> dict | None:
            return next((e for e in self.events if e.get("type") == kind), None)

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), timeout)
            except TimeoutError:
                said = [e.get("type") for e in self.events]
                raise AssertionError(f"{self.name}: no {kind} in {timeout} s; said {said}\n{self.log}") from None
            return found()

    async def write(self, to: str, text: str) -> None:
        """Sends a text. Only contact.so can, to the contact that its file has when it is loaded."""
        (self.folder / "contacts").write_text(f'"somebody" <{to}>\n')
        await self.command("insmod", "contact")
        await self.command("message", text)
        await self.command("rmmod", "contact")

    async def will_read(self, text: str, timeout: float = 10) -> None:
        """Waits until it shows a text."""
        end = asyncio.get_running_loop().time() + timeout
        while f'"{text}"' not in self.shown:
            assert asyncio.get_running_loop().time() < end, f"{self.name}: no {text!r} in {timeout} s; it showed {self.shown!r}"
            await asyncio.sleep(0.02)

    async def sees(self, timeout: float = 10) -> bytes:
        """Waits for the next picture that it decodes, and returns it as a PNG."""
        taken = self.folder / f"seen{self._snapshots}.png"
        self._snapshots += 1
        await self.command("snapshot_recv", str(taken))
        end = asyncio.get_running_loop().time() + timeout
        # The last chunk of a PNG is IEND.
        while not (taken.exists() and b"IEND" in taken.read_bytes()[-12:]):
            assert asyncio.get_running_loop().time() < end, f"{self.name} saw nothing in {timeout} s:\n{self.log}"
            await asyncio.sleep(0.05)
        return taken.read_bytes()

    @property
    def keys(self) -> str:
        """The keys that were pressed at the other end."""
        return "".join(e.get("param", "") for e in self.events if e.get("type") == "CALL_DTMF_START")

    @property
    def heard(self) -> Sound:
        """What it recorded of the other end; whole once the call has ended."""
        files = sorted(self.folder.glob("sounds/*dec.wav"))
        assert files, f"{self.name} recorded nothing:\n{self.log}"
        return read_wav(files[-1])

    @property
    def codec(self) -> str:
        """The codec it decodes with, as its log names it."""
        found = re.findall(r"audio: Set audio decoder: (\S+)", self.log)
        return found[-1] if found else ""
