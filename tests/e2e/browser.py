"""An XMPP client that nobody here wrote: StanzaJS in headless Chromium, so libwebrtc's ICE, DTLS and codecs.

`web/browser.mjs` starts the browser and passes on orders; `web/page.js` is the client. Calls have the
same names as those of `client.py`.
"""

import asyncio
import base64
import json
import os
import shutil
import tempfile
import uuid
from array import array
from dataclasses import dataclass
from pathlib import Path

from process import Process
from tone import Sound

WEB = Path(__file__).parent / "web"
# The lines of JSON carry recordings.
LINE_LIMIT = 64 << 20


@dataclass
class Seen:
    """One thing that came from the server."""

    at: float
    what: str  # a JMI element, a Jingle action, `info-hold`, `presence`, `message-error`
    sid: str
    sender: str
    reason: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.sid} {self.sender} {self.reason}"


class Browser(Process):
    """One logged-in user; `async with Browser(folder, url, "bob", "…") as bob:`.

    Without `message_initiation` it is StanzaJS as it is: it says nothing of XEP-0353."""

    def __init__(self, folder: Path, url: str, user: str, password: str, domain: str = "localhost", message_initiation: bool = True,
                 video: bool = False):
        super().__init__("browser", folder)
        self.bare = f"{user}@{domain}"
        self.password = password
        self.url = url
        self.message_initiation = message_initiation
        self.video = video
        self.seen: list[Seen] = []
        self.calls: dict[str, BrowserCall] = {}
        self.version = ""
        self.full = ""
        self._answers: dict[int, asyncio.Future] = {}
        self._count = 0

    async def __aenter__(self) -> "Browser":
        self._news = asyncio.Condition()
        to_node, orders = os.pipe()
        answers, from_node = os.pipe()
        chromium = shutil.which("chromium") or "chromium"
        # Chromium leaves folders behind. Its sockets are in them, so the path must be a short one.
        self._scratch = tempfile.TemporaryDirectory(prefix="offhook-", ignore_cleanup_errors=True)
        command = ["node", WEB / "browser.mjs", chromium, self.folder / "profile"]
        self.launch(command, env={"TMPDIR": self._scratch.name}, stdin=to_node, stdout=from_node)
        os.close(to_node)
        os.close(from_node)
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=LINE_LIMIT)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(answers, "rb"))
        self._orders = os.fdopen(orders, "wb", buffering=0)
        self._task = asyncio.ensure_future(self._read())
        await self.will_see("ready", timeout=20)
        self.full = await self.do(
            "logIn",
            timeout=15,
            jid=f"{self.bare}/e2e-{uuid.uuid4().hex[:6]}",
            password=self.password,
            url=self.url,
            messageInitiation=self.message_initiation,
            video=self.video,
        )
        return self

    async def __aexit__(self, *_) -> None:
        try:
            await self.do("logOut", timeout=3)
        finally:
            self._task.cancel()
            self._orders.close()
            self.stop()
            self._scratch.cleanup()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while line := await self._reader.readline():
            said = json.loads(line)
            if (ident := said.get("id")) is not None:
                if (answer := self._answers.pop(ident, None)) and not answer.done():
                    if "error" in said:
                        answer.set_exception(AssertionError(f"{self.bare}: {said['error']}"))
                    else:
                        answer.set_result(said["result"])
                continue
            news = said["news"]
            async with self._news:
                self.version = news.get("version", self.version)
                self.seen.append(
                    Seen(
                        loop.time(),
                        news["what"],
                        news.get("sid", ""),
                        news.get("sender", ""),
                        news.get("reason", ""),
                        news.get("kind", ""),
                    )
                )
                self._news.notify_all()

    async def do(self, name: str, timeout: float = 10, **argument):
        """Runs one function of the page."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        order = {"id": self._count, "do": name, "with": argument}
        self._orders.write(json.dumps(order).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            raise AssertionError(f"{self.bare}: {name} not done in {timeout} s\n{self.past()}") from None

    def past(self) -> str:
        return "\n".join(map(str, self.seen)) + "\n" + self.log

    async def will_see(self, what: str, sid: str = "", timeout: float = 10, **also) -> Seen:
        """Waits for the first thing of this name (and sid, and attributes), past ones included."""

        def found() -> Seen | None:
            for seen in self.seen:
                fits = seen.what == what and seen.sid == (sid or seen.sid)
                if fits and all(getattr(seen, key) == value for key, value in also.items()):
                    return seen
            return None

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), timeout)
            except TimeoutError:
                raise AssertionError(f"{self.bare}: no {what} {also or ''} in {timeout} s; saw:\n{self.past()}") from None
            return found()

    async def will_have_presence(self, of: str, timeout: float = 5) -> str:
        """Shows itself to the bare JID `of`; returns the full JID whose presence comes back."""
        await self.do("showTo", to=of)

        def found() -> Seen | None:
            return next((s for s in self.seen if s.what == "presence" and s.sender.split("/")[0] == of), None)

        async with self._news:
            await asyncio.wait_for(self._news.wait_for(found), timeout)
            return found().sender

    async def call(self, to: str, hz: float = 440, video: bool = False) -> "BrowserCall":
        """Proposes a call to the bare JID `to`."""
        call = BrowserCall(self, to, str(uuid.uuid4()), hz, video)
        await self.do("propose", to=to, sid=call.sid, video=video)
        return call

    async def call_directly(self, to: str, hz: float = 440, video: bool = False) -> "BrowserCall":
        """Calls the full JID `to` by a session-initiate that nothing went before."""
        call = BrowserCall(self, to, str(uuid.uuid4()), hz)
        await self.do("start", to=to, sid=call.sid, hz=hz, video=video)
        return call

    async def will_be_called(self, hz: float = 440, timeout: float = 10, video: bool = False) -> "BrowserCall":
        """Waits for a propose, or a session-initiate, that is not yet a call."""

        def found() -> Seen | None:
            first = ("propose", "session-initiate")
            return next((s for s in self.seen if s.what in first and s.sid not in self.calls), None)

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), timeout)
            except TimeoutError:
                raise AssertionError(f"{self.bare}: not called in {timeout} s; saw:\n{self.past()}") from None
            seen = found()
        return BrowserCall(self, seen.sender, seen.sid, hz, video)


class BrowserCall:
    """One call of the browser, of either direction."""

    def __init__(self, browser: Browser, peer: str, sid: str, hz: float, video: bool = False):
        self.browser = browser
        self.peer = peer
        self.sid = sid
        self.hz = hz
        self.video = video
        browser.calls[sid] = self

    async def sees(self, what: str, timeout: float = 10, **also) -> Seen:
        """Waits for a thing of this call."""
        return await self.browser.will_see(what, self.sid, timeout, **also)

    async def _step(self, step: str, reason: str = "", to: str = "") -> None:
        await self.browser.do("step", to=to or self.peer, sid=self.sid, step=step, reason=reason)

    async def establish(self, timeout: float = 10, codec: str = "") -> "BrowserCall":
        """From the propose to connected media; `codec` is the only one of its pictures."""
        self.peer = (await self.sees("proceed", timeout)).sender
        await self.browser.do("start", to=self.peer, sid=self.sid, hz=self.hz, video=self.video, codec=codec)
        return await self.connect(timeout)

    async def connect(self, timeout: float = 10) -> "BrowserCall":
        """From the session-initiate to connected media."""
        await self.sees("session-accept", timeout)
        await self.browser.do("connected", sid=self.sid)
        return self

    async def ring(self) -> None:
        await self._step("ringing")

    async def answer(self, timeout: float = 10) -> "BrowserCall":
        """From the propose to connected media."""
        await self._step("proceed")
        self.peer = (await self.sees("session-initiate", timeout)).sender
        return await self.accept()

    async def accept(self) -> "BrowserCall":
        """From the session-initiate to connected media."""
        await self.browser.do("accept", sid=self.sid, hz=self.hz, video=self.video)
        await self.browser.do("connected", sid=self.sid)
        return self

    async def decline(self, reason: str = "busy") -> None:
        await self._step("reject", reason)

    async def retract(self) -> None:
        """Gives up before the answer."""
        await self._step("retract", "cancel", self.peer.split("/")[0])

    async def hang_up(self, reason: str = "success") -> None:
        await self.browser.do("end", sid=self.sid, reason=reason)
        if self.browser.message_initiation:
            await self._step("finish", reason)

    async def hold(self, held: bool) -> None:
        await self.browser.do("hold", sid=self.sid, held=held)

    async def mute(self, muted: bool) -> None:
        await self.browser.do("mute", sid=self.sid, muted=muted)

    async def restart_ice(self) -> None:
        """Offers new ICE credentials, as after a change of network."""
        await self.browser.do("restartIce", sid=self.sid)

    async def press(self, keys: str) -> None:
        """Presses the keys one after the other; returns when the last one is up again."""
        await self.browser.do("press", sid=self.sid, keys=keys)

    async def first_word(self) -> float:
        """Milliseconds from `proceed` to the first packet of sound; waits for that."""
        while (milliseconds := await self.browser.do("firstWord", sid=self.sid)) is None:
            await asyncio.sleep(0.02)
        return milliseconds

    async def hears(self, seconds: float) -> Sound:
        """Listens that long."""
        await self.browser.do("fresh", sid=self.sid)
        await asyncio.sleep(seconds)
        heard = await self.browser.do("heard", sid=self.sid)
        return Sound(heard["rate"], array("h", base64.b64decode(heard["samples"])))

    async def video_stats(self) -> dict:
        """What getStats says of pictures: codec, decoded, keyFrames, received, encoded, asked (for new ones by the other side), asks."""
        return await self.browser.do("videoStats", sid=self.sid)

    async def will_see_pictures(self, count: int = 10, timeout: float = 10) -> dict:
        """Waits until that many more pictures are decoded."""
        loop = asyncio.get_running_loop()
        end, before = loop.time() + timeout, (await self.video_stats()).get("decoded", 0)
        while (stats := await self.video_stats()).get("decoded", 0) < before + count:
            assert loop.time() < end, f"{stats} {await self.stats()}\n{self.browser.past()}"
            await asyncio.sleep(0.1)
        return stats

    async def stats(self) -> dict:
        """What getStats says: codec, received, lost, concealed, jitter, samples, energy, sent, remoteLost, roundTrip, pair, local."""
        return await self.browser.do("stats", sid=self.sid)
