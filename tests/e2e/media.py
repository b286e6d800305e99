"""What the client plays, hears and presses: tracks around aiortc's peer connection."""

import asyncio
import struct
import time
from array import array
from fractions import Fraction

import aioice.ice
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import is_rtcp
from av import AudioFrame

from tone import Sound, sine

# aioice leaves loopback out; the whole test lives there.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

KEYS = "0123456789*#ABCD"
RATE = 48000
PACKET_S = 0.02


class ToneTrack(MediaStreamTrack):
    """A sine that never ends; 0 Hz is silence."""

    kind = "audio"

    def __init__(self, hz: float):
        super().__init__()
        self.hz = hz
        self._sent = 0
        self._start = time.monotonic()

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        count = int(RATE * PACKET_S)
        await asyncio.sleep(max(0.0, self._start + self._sent / RATE - time.monotonic()))
        # Every whole number of Hz starts anew each second, so the sines need not grow.
        samples = sine(self.hz, RATE, self._sent % RATE, count)
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(samples.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self._sent, RATE, Fraction(1, RATE)
        self._sent += count
        return frame


class Ear:
    """Records the left channel of a track."""

    def __init__(self):
        self.sound = Sound()
        self.task: asyncio.Task | None = None

    def listen(self, track: MediaStreamTrack) -> None:
        self.task = asyncio.ensure_future(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                channels = len(frame.layout.channels)
                body = bytes(frame.planes[0])[: frame.samples * channels * 2]
                self.sound.rate = frame.sample_rate
                self.sound.samples.extend(array("h", body)[::channels])
        except MediaStreamError:
            pass

    def fresh(self) -> None:
        """Forgets what was heard so far."""
        self.sound = Sound(self.sound.rate)


class Eye:
    """Counts the pictures of a track."""

    def __init__(self):
        self.pictures = 0
        self.task: asyncio.Task | None = None

    def watch(self, track: MediaStreamTrack) -> None:
        self.task = asyncio.ensure_future(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                await track.recv()
                self.pictures += 1
        except MediaStreamError:
            pass

    async def sees(self, count: int = 10, timeout: float = 15) -> None:
        """Waits for that many more pictures."""
        end, before = time.monotonic() + timeout, self.pictures
        while self.pictures < before + count:
            assert time.monotonic() < end, f"{self.pictures - before} pictures in {timeout} s"
            await asyncio.sleep(0.1)


class Keypad:
    """RFC 4733 on a DTLS transport whose owner knows nothing of it.

    While a key is held, each outgoing audio packet is replaced by an event packet with the same
    SSRC and sequence number, as §2.5.1.2 wants it; incoming event packets are taken out and read.
    """

    HELD, ENDS, PAUSE = 5, 3, 4  # packets of 20 ms

    def __init__(self, transport, events: dict[int, int], clock: int):
        self.events = events
        self.payload = next((number for number, rate in events.items() if rate == clock), None)
        self.clock = clock
        self.pressed = ""
        self.sent_audio = self.received_audio = 0
        self._plan: list[tuple] = []
        self._seen: set[tuple[int, int]] = set()
        self._start = 0
        self._send_below = transport._send_rtp
        self._take_above = transport._handle_rtp_data
        transport._send_rtp = self._send
        transport._handle_rtp_data = self._take

    async def press(self, keys: str) -> None:
        """Presses the keys one after the other; returns when the last one is up again."""
        assert self.payload is not None, f"no telephone-event at {self.clock} Hz in {self.events}"
        step = int(self.clock * PACKET_S)
        for key in keys:
            code = KEYS.index(key)
            for i in range(1, self.HELD + self.ENDS + 1):
                ended = i > self.HELD
                self._plan.append((i == 1, code, ended, step * min(i, self.HELD)))
            self._plan += [()] * self.PAUSE
        while self._plan:
            await asyncio.sleep(PACKET_S)

    async def _send(self, data: bytes) -> None:
        if not is_rtcp(data):
            if self._plan and (event := self._plan.pop(0)):
                data = self._event(data, *event)
            else:
                self.sent_audio += 1
        await self._send_below(data)

    def _event(self, audio: bytes, first: bool, code: int, ended: bool, duration: int) -> bytes:
        _, _, sequence, timestamp, ssrc = struct.unpack("!BBHII", audio[:12])
        if first:
            self._start = timestamp
        header = struct.pack("!BBHII", 0x80, first << 7 | self.payload, sequence, self._start, ssrc)
        return header + struct.pack("!BBH", code, ended << 7 | 10, duration)

    async def _take(self, data: bytes, *args, **kwargs) -> None:
        payload = data[1] & 0x7F
        if payload not in self.events:
            self.received_audio += 1
            await self._take_above(data, *args, **kwargs)
            return
        at = 12 + 4 * (data[0] & 0x0F)
        if data[0] & 0x10:
            at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
        key = (int.from_bytes(data[4:8], "big"), data[at])
        if key not in self._seen and key[1] < len(KEYS):
            self._seen.add(key)
            self.pressed += KEYS[key[1]]
