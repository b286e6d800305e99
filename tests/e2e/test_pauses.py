"""Pauses in speech: comfort noise (RFC 3389) to telephones that take it, and what is heard of theirs."""

import asyncio
import ctypes
import ctypes.util
import random
from array import array

import aiortc.codecs
import pytest

import media
from gateway import CONTACT
from rtpwire import FRAME, NOISE, Rtp, level, level_of_noise
from sipwire import Udp, bye

BACKGROUND = -66  # dBov


class Dtx:
    """Opus as libwebrtc sends it with DTX: of packets without sound the first one only."""

    FRAME, VOIP, SET_BITRATE, SET_DTX = 960, 2048, 4002, 4016

    def __init__(self):
        self.opus = ctypes.CDLL(ctypes.util.find_library("opus"))
        self.opus.opus_encoder_create.restype = ctypes.c_void_p
        self.encoder = ctypes.c_void_p(self.opus.opus_encoder_create(48000, 1, self.VOIP, None))
        for request, value in ((self.SET_BITRATE, 24000), (self.SET_DTX, 1)):
            assert self.opus.opus_encoder_ctl(self.encoder, request, value) == 0
        self.at, self.rests = 0, False

    def __del__(self):
        self.opus.opus_encoder_destroy(self.encoder)

    def encode(self, frame, force_keyframe=False):
        room = ctypes.create_string_buffer(1500)
        length = self.opus.opus_encode(self.encoder, bytes(frame.planes[0]), self.FRAME, room, len(room))
        assert length > 0 and frame.samples == self.FRAME
        rested, self.rests = self.rests, length <= 2
        at, self.at = self.at, self.at + self.FRAME
        return ([], None) if rested and self.rests else ([room.raw[:length]], at)


class Background(media.ToneTrack):
    """A tone in front of a soft hiss, of which a telephone hears most."""

    async def recv(self):
        frame = await super().recv()
        peak = int(3**0.5 * 32767 * 10 ** (BACKGROUND / 20))
        samples = array("h", bytes(frame.planes[0])[: frame.samples * 2])
        hiss = [random.randint(-peak, peak) for _ in range(0, len(samples), 6)]
        frame.planes[0].update(array("h", [s + hiss[n // 6] for n, s in enumerate(samples)]).tobytes())
        return frame


class Phone:
    """A telephone made by hand, that speaks PCMU and perhaps comfort noise."""

    def __init__(self, sip: Udp, rtp: Rtp, invite):
        self.sip, self.rtp, self.invite = sip, rtp, invite

    @classmethod
    async def called(cls, sip: Udp, noise: bool) -> "Phone":
        """Waits for a call and answers it."""
        invite, rtp = await sip.will_get("INVITE"), await Rtp.open()
        numbers, more = ("0 13", "a=rtpmap:13 CN/8000\n") if noise else ("0", "")
        body = (
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"m=audio {rtp.port} RTP/AVP {numbers}\na=rtpmap:0 PCMU/8000\n{more}"
        )
        sip.send(invite.answer(200, "OK", f"Contact: <sip:phone@127.0.0.1:{sip.port}>", body=body))
        return cls(sip, rtp, invite)

    async def hang_up(self) -> None:
        await self.sip.will_get("ACK")
        self.sip.send(bye(self.invite, self.sip.via))
        await self.sip.will_get(200)
        self.rtp.close()


@pytest.mark.parametrize("noise", [True, False], ids=["takes it", "takes none"])
async def test_a_pause_of_a_client_goes_out_as_comfort_noise(gateway, alice, monkeypatch, noise):
    monkeypatch.setattr(aiortc.codecs, "OpusEncoder", Dtx)
    sip = await Udp.open()
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{sip.port}", options_s=0)
        call = alice.call(CONTACT, codecs=["opus"])
        call.track = Background(440)
        phone = await Phone.called(sip, noise)
        offered = phone.invite.body.decode()
        assert " 13" in offered.split("m=audio ")[1].split("\r\n")[0] and "a=rtpmap:13 CN/8000" in offered
        await call.establish()
        await asyncio.sleep(1)
        call.track.hz = 0
        await asyncio.sleep(4)
        call.track.hz = 440
        await asyncio.sleep(1)
        heard = phone.rtp.heard
        await phone.hang_up()
        await offhook.will_have_ended("hangup")
    assert {p.kind for p in heard} == ({0, NOISE} if noise else {0})
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in zip(heard, heard[1:]))
    # Timestamps go with the time, whatever is left out.
    behind = [(p.timestamp - heard[0].timestamp) % 2**32 / 8000 - (p.at - heard[0].at) for p in heard]
    assert max(behind) - min(behind) < 0.3, (min(behind), max(behind))
    if not noise:
        assert len(heard) > 280, len(heard)
        return
    noises = [n for n, p in enumerate(heard) if p.kind == NOISE]
    pauses = [(heard[n].at, p.at) for n, p in ((n, heard[n + 1]) for n in noises if n + 1 < len(heard))]
    silent = sum(end - start for start, end in pauses)
    # The encoder waits a while until it is sure of the pause, and looks again now and then.
    assert silent > 1.5 and len(noises) < 40, (silent, len(noises))
    assert len(heard) < 280, len(heard)
    told = level_of_noise(heard[noises[-1]].payload)
    assert abs(told + BACKGROUND) < 9, (told, heard[noises[-1]].payload)
    for before, after in zip(heard, heard[1:]):
        assert not (after.kind == NOISE and after.marker)
        assert after.marker == (before.kind == NOISE and after.kind == 0), after


async def test_comfort_noise_of_a_phone_is_heard_by_a_client_that_knows_none(gateway, alice):
    sip = await Udp.open()
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{sip.port}", options_s=0)
        call = alice.call(CONTACT, codecs=["PCMU"])
        phone = await Phone.called(sip, noise=True)
        await call.establish()
        while not phone.rtp.heard:
            await asyncio.sleep(0.05)
        kinds = set()
        take = call.keypad._take_above

        async def watched(data, *args, **kwargs):
            kinds.add(data[1] & 0x7F)
            await take(data, *args, **kwargs)

        call.keypad._take_above = watched
        for frame in range(25):
            phone.rtp.send(frame, b"\xff" * FRAME)
            await asyncio.sleep(0.02)
        for pause in range(4):
            phone.rtp.send(25 + 25 * pause, bytes([30]), NOISE)
            await asyncio.sleep(0.5)
        call.ear.fresh()
        phone.rtp.send(125, bytes([30]), NOISE)
        await asyncio.sleep(1.5)
        sound = call.ear.sound
        assert sound.seconds > 1, sound.seconds
        assert abs(level(sound.samples[sound.rate // 4 : sound.rate]) - 30) < 2
        assert kinds == {0}
        await phone.hang_up()
        await offhook.will_have_ended("hangup")
