"""Telephones that answer with several codecs, and may then send any of them (RFC 3264 §6.1, §7)."""

import asyncio

import av

from gateway import CONTACT
from rtpwire import FRAME, Rtp
from sipwire import Udp, bye
from tone import sine

PCMU, PCMA = 0, 8


def a_law(hz: float, frames: int) -> list[bytes]:
    """A tone as so many payloads."""
    encoder = av.CodecContext.create("pcm_alaw", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    payloads = []
    for n in range(frames):
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.sample_rate, frame.pts = 8000, n * FRAME
        frame.planes[0].update(sine(hz, 8000, n * FRAME, FRAME).tobytes())
        payloads += [bytes(packet) for packet in encoder.encode(frame)]
    return payloads


def sdp(rtp: Rtp, *numbers: int) -> str:
    return (
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=audio {rtp.port} RTP/AVP {' '.join(map(str, numbers))}\n"
    )


def numbers(invite) -> list[str]:
    """The payload types of an offer of sound."""
    return invite.body.decode().split("m=audio ")[1].split("\r\n")[0].split(" ")[2:]


async def test_a_phone_that_sends_another_codec_of_its_answer_is_heard(gateway, alice):
    sip, rtp = await Udp.open(), await Rtp.open()
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{sip.port}")
        call = alice.call(CONTACT, codecs=["PCMU"])
        invite = await sip.will_get("INVITE")
        contact = f"Contact: <sip:phone@127.0.0.1:{sip.port}>"
        sip.send(invite.answer(200, "OK", contact, body=sdp(rtp, PCMU, PCMA)))
        await call.establish()
        while not rtp.heard:
            await asyncio.sleep(0.05)
        for frame, payload in enumerate(a_law(660, 150)):
            rtp.send(frame, payload, PCMA)
            await asyncio.sleep(0.02)
        assert call.ear.sound.tone_seconds(660) > 1, call.ear.sound.describe(660)
        assert {packet.kind for packet in rtp.heard} == {PCMU}
        sip.send(bye(invite, sip.via))
        await sip.will_get(200)
        await offhook.will_have_ended("hangup")
    rtp.close()


async def test_where_nobody_transcodes_a_phone_is_asked_for_one_codec(gateway, alice):
    sip, rtp = await Udp.open(), await Rtp.open()
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{sip.port}", media_keys='transcode = "never"')
        call = alice.call(CONTACT, codecs=["PCMU", "PCMA"])
        invite = await sip.will_get("INVITE")
        assert {str(PCMU), str(PCMA)} <= set(numbers(invite))
        contact = f"Contact: <sip:phone@127.0.0.1:{sip.port}>"
        sip.send(invite.answer(200, "OK", contact, body=sdp(rtp, PCMU, PCMA)))
        await sip.will_get("ACK")
        await call.establish()
        again = await sip.will_get("INVITE")
        assert str(PCMU) in numbers(again) and str(PCMA) not in numbers(again)
        sip.send(again.answer(200, "OK", contact, body=sdp(rtp, PCMU)))
        await sip.will_get("ACK")
        await asyncio.sleep(1)
        assert {packet.kind for packet in rtp.heard} == {PCMU}
        sip.send(bye(invite, sip.via))
        await sip.will_get(200)
        await offhook.will_have_ended("hangup")
    rtp.close()
