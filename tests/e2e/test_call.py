"""A call through the gateway: someone else's client, someone else's phone, sound both ways."""

import asyncio
import contextlib
import socket
import time

import pytest

from gateway import CONTACT, OUR_NUMBER

# From hanging up at one end to the news of it at the other.
HANGUP_S = 0.2
CODECS = ["opus", "G722", "PCMU", "PCMA"]

# What the other fixtures call the server is one or the other.
pytestmark = pytest.mark.parametrize("prosody", ["prosody", "ejabberd"], indirect=True)


async def heard_both_ways(call, seconds: float = 1.5):
    """Lets the sound settle, then listens at the client."""
    await asyncio.sleep(0.5)
    call.ear.fresh()
    await asyncio.sleep(seconds)
    sound = call.ear.sound
    assert sound.tone_seconds(660) > 0.85 * seconds, sound.describe(440, 660)


@pytest.mark.parametrize("codec", CODECS)
async def test_call_slixmpp_to_baresip(gateway, phone, alice, codec):
    async with phone(hz=660, codecs=[codec]) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        await alice.decloak(CONTACT)
        call = alice.call(CONTACT, hz=440)
        await callee.will_say("CALL_INCOMING")
        await call.sees("ringing")
        assert not [s for s in alice.seen if s.what == "proceed"], "answered before the phone was"
        await callee.command("accept")
        await call.establish()
        await callee.will_say("CALL_ESTABLISHED")
        assert callee.codec.lower().startswith(codec.lower())
        await heard_both_ways(call)
        await call.keypad.press("123#")
        await asyncio.sleep(0.3)
        start = time.monotonic()
        await call.hang_up()
        closed = await callee.will_say("CALL_CLOSED")
        assert closed["at"] - start < HANGUP_S
        assert callee.keys == "123#"
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_the_phone_hangs_up(gateway, phone, alice):
    async with phone(answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT).establish()
        await asyncio.sleep(0.5)
        start = time.monotonic()
        await callee.command("hangup")
        ended = await call.sees("session-terminate", reason="success")
        assert ended.at - start < HANGUP_S
        await call.sees("finish")
        await offhook.will_have_ended("hangup")


async def test_call_baresip_to_slixmpp(incoming):
    async with incoming() as (offhook, caller, call):
        assert call.peer.endswith("/phone")
        call.ring()
        await caller.will_say("CALL_RINGING")
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED")
        await heard_both_ways(call)
        start = time.monotonic()
        await call.hang_up()
        closed = await caller.will_say("CALL_CLOSED")
        assert closed["at"] - start < HANGUP_S
        assert caller.heard.tone_seconds(440) > 1.3, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_sound_from_the_phone_network_reaches_the_client(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp("calls", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        await caller.done()
        await call.sees("session-terminate", reason="success")
        assert call.ear.sound.tone_seconds(440) > 0.8, call.ear.sound.describe(440)
        await offhook.will_have_ended("hangup")


async def test_keys_from_the_phone_network_reach_the_client(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp("presses", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        await caller.done()
        await call.sees("session-terminate", reason="success")
        assert call.keypad.pressed == "123#"
        await offhook.will_have_ended("hangup")


async def test_the_client_is_echoed(gateway, sipp, alice):
    callee = sipp("answers")
    async with alice:
        gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT, hz=660).establish()
        await heard_both_ways(call)
        await call.hang_up()
        await callee.done()


async def test_candidates_within_the_offer_do_too(gateway, sipp, alice):
    callee = sipp("hangs_up")
    async with alice:
        gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT, trickle=False).establish()
        await call.sees("session-terminate", reason="success")
        await callee.done()


async def test_another_program_has_our_ports(gateway, phone, alice):
    """The first port pairs of the range are taken: the phone is told of the next one, and nobody hears of it."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        with contextlib.ExitStack() as others:
            # The second pair by its RTCP port.
            for port in (offhook.rtp, offhook.rtp + 3):
                other = others.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                other.bind(("127.0.0.1", port))
            call = alice.call(CONTACT, hz=440)
            await callee.will_say("CALL_INCOMING")
            await callee.command("accept")
            await call.establish()
            await heard_both_ways(call)
            # baresip 1.0.0 records nothing after a re-INVITE; keys show that the way to it is open.
            await call.keypad.press("123#")
            await asyncio.sleep(0.3)
            await call.hang_up()
            await callee.will_say("CALL_CLOSED")
            assert callee.keys == "123#"
            assert offhook.log.count("another program has a port") == 2
            await offhook.will_have_ended("hangup")
