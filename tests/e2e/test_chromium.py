"""Calls of StanzaJS in Chromium: libwebrtc, the engine of Conversations, Monal, Movim and every browser."""

import asyncio

import pytest

from forwarder import HERE
from gateway import CONTACT, OUR_NUMBER

# What the other fixtures call the server is one or the other.
pytestmark = pytest.mark.parametrize("prosody", ["prosody", "ejabberd"], indirect=True)


async def heard_both_ways(call, seconds: float = 1.5):
    """Lets the sound settle, then listens at the browser."""
    await asyncio.sleep(0.5)
    sound = await call.hears(seconds)
    assert sound.tone_seconds(660) > 0.85 * seconds, f"{sound.describe(440, 660)} {await call.stats()}"


@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "PCMA"])
async def test_chromium_calls_a_phone(gateway, phone, chromium, codec):
    async with phone(hz=660, codecs=[codec]) as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT)
        await callee.will_say("CALL_INCOMING")
        await call.sees("ringing")
        await callee.command("accept")
        await call.establish()
        await heard_both_ways(call)
        assert (await call.stats())["codec"].lower() == codec.lower()
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_keys_pressed_in_chromium_reach_the_phone(gateway, phone, chromium):
    async with phone(answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await asyncio.sleep(0.5)
        await call.press("123#")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "123#"
        await offhook.will_have_ended("hangup")


async def test_the_phone_hangs_up_on_chromium(gateway, phone, chromium):
    async with phone(answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await callee.command("hangup")
        await call.sees("session-terminate", reason="success")
        await call.sees("finish")
        await offhook.will_have_ended("hangup")


async def test_chromium_holds_and_resumes(gateway, phone, chromium):
    async with phone(hz=660, answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await heard_both_ways(call)
        await call.hold(True)
        await asyncio.sleep(0.5)
        await call.hold(False)
        await heard_both_ways(call)
        # baresip records nothing more after a re-INVITE; keys show that the way to it is open again.
        await call.press("7")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "7"
        assert callee.log.count("got re-INVITE") == 2
        await offhook.will_have_ended("hangup")


async def test_a_phone_holds_and_resumes_chromium(gateway, phone, chromium):
    async with phone(hz=660, answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await heard_both_ways(call)
        await callee.command("hold")
        await asyncio.sleep(0.5)
        held = await call.hears(1)
        assert held.tone_seconds(660) < 0.2, held.describe(440, 660)
        await callee.command("resume")
        await heard_both_ways(call)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_a_phone_calls_chromium(gateway, phone, chromium):
    async with phone(hz=660) as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called()
        await call.ring()
        await caller.will_say("CALL_RINGING")
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED")
        await heard_both_ways(call)
        await call.hang_up()
        await caller.will_say("CALL_CLOSED")
        assert caller.heard.tone_seconds(440) > 1.3, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_a_phone_that_called_chromium_hangs_up(gateway, phone, chromium):
    async with phone() as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called()).answer()
        await caller.will_say("CALL_ESTABLISHED")
        await caller.command("hangup")
        await call.sees("session-terminate", reason="success")
        await offhook.will_have_ended("hangup")


async def test_chromium_declines(gateway, phone, chromium):
    async with phone() as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        await (await alice.will_be_called()).decline("busy")
        closed = await caller.will_say("CALL_CLOSED")
        assert "486" in closed["param"]
        await offhook.will_have_ended("busy")


async def test_chromium_gives_up(gateway, sipp, chromium):
    trunk = sipp("rings")
    async with chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = await alice.call(CONTACT)
        await call.sees("ringing")
        await call.retract()
        await trunk.done()
        await offhook.will_have_ended("cancelled")


async def test_stanzajs_without_message_initiation_calls_a_phone(gateway, phone, chromium):
    async with phone(hz=660) as callee, chromium(message_initiation=False) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        full = await alice.will_have_presence(CONTACT)
        call = await alice.call_directly(full)
        await callee.will_say("CALL_INCOMING")
        await call.sees("info-ringing")
        await callee.command("accept")
        await call.connect()
        await heard_both_ways(call)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_a_phone_calls_stanzajs_without_message_initiation(gateway, phone, chromium):
    async with phone(hz=660) as caller, chromium(message_initiation=False) as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await alice.will_have_presence(f"{OUR_NUMBER}@phone.localhost")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called()
        await call.accept()
        await caller.will_say("CALL_ESTABLISHED")
        await heard_both_ways(call)
        await call.hang_up()
        await caller.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_video_beside_the_sound_goes_nowhere_and_does_no_harm(gateway, phone, chromium):
    """§8.27: it is answered, since clients insist on that, received and thrown away."""
    async with phone(hz=660, answer="auto") as callee, chromium(message_initiation=False) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        full = await alice.will_have_presence(CONTACT)
        call = await (await alice.call_directly(full, video=True)).connect()
        await heard_both_ways(call)
        await call.press("5")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "5"
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_one_packet_in_twenty_is_lost(lossy_network, gateway, phone, chromium):
    lossy_network(5)
    async with phone(hz=660, codecs=["opus"], answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish(timeout=15)
        await asyncio.sleep(0.5)
        sound = await call.hears(3)
        stats = await call.stats()
        assert sound.tone_seconds(660) > 2, f"{sound.describe(440, 660)} {stats}"
        assert 0 < stats["lost"] < 0.3 * stats["received"], stats
        await call.press("159#")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 2, callee.heard.describe(440, 660)
        assert callee.keys == "159#"
        await offhook.will_have_ended("hangup")


async def test_chromium_restarts_ice(gateway, phone, chromium):
    """What a change of network does: new credentials in a transport-info, and sound goes on (§8.23)."""
    async with phone(hz=660, answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await heard_both_ways(call)
        before = (await call.stats())["pair"]
        await call.restart_ice()
        await asyncio.sleep(1)
        await heard_both_ways(call)
        stats = await call.stats()
        assert stats["pair"] != before, "no new pair was chosen"
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_fifty_milliseconds_of_jitter(own_network, gateway, phone, chromium, forwarder):
    """Each packet is late by up to 50 ms, on both sides of the gateway, so that they overtake each other."""
    async with phone(hz=660, codecs=["opus"], answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", media_keys=f'advertise = "{HERE}"')
        jitter = forwarder(offhook, 50)
        own_network.separate(offhook.media_ports)
        call = await (await alice.call(CONTACT)).establish(timeout=15)
        await asyncio.sleep(1)
        sound = await call.hears(3)
        stats = await call.stats()
        assert sound.tone_seconds(660) > 2, f"{sound.describe(440, 660)} {stats}"
        assert stats["jitter"] > 0.005, stats
        await call.press("159#")
        await asyncio.sleep(0.5)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 2, callee.heard.describe(440, 660)
        assert callee.keys == "159#"
        assert jitter.packets() > 1_000
        await offhook.will_have_ended("hangup")


async def test_chromium_changes_its_network(own_network, gateway, phone, chromium):
    """The address that the call went by is gone, and the client restarts ICE from another one (§8.23)."""
    old, new = "10.77.0.1", "10.77.0.2"
    own_network.plug_in(old)
    async with phone(hz=660, answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await heard_both_ways(call)
        assert (await call.stats())["local"] == old
        own_network.move(old, new)
        # Chromium hears of it within seconds.
        await asyncio.sleep(3)
        await call.restart_ice()
        await asyncio.sleep(1)
        await heard_both_ways(call)
        assert (await call.stats())["local"] == new
        await call.press("7")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "7"
        await offhook.will_have_ended("hangup")


async def test_chromium_mutes(gateway, phone, chromium):
    """`mute` and `unmute` are acknowledged and change nothing."""
    async with phone(hz=660, answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await (await alice.call(CONTACT)).establish()
        await call.mute(True)
        await call.mute(False)
        await heard_both_ways(call)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_chromium_hears_that_the_phone_is_busy(gateway, sipp, chromium):
    trunk = sipp("fails", code=486, text="Busy Here")
    async with chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = await alice.call(CONTACT)
        await call.sees("reject", reason="busy")
        await trunk.done()
        await offhook.will_have_ended("busy")


async def test_a_phone_gives_up_before_chromium_answers(gateway, phone, chromium):
    async with phone() as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called()
        await call.ring()
        await caller.will_say("CALL_RINGING")
        await caller.command("hangup")
        await call.sees("retract")
        await offhook.will_have_ended("cancelled")


async def test_how_soon_a_user_hears_who_answers(gateway, phone, chromium):
    """Printed, not judged: from `proceed`, which follows the phone's 200 at once, to the first packet of sound in Chromium."""
    times = []
    async with phone(hz=660, codecs=["opus"], answer="auto") as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        for _ in range(8):
            call = await alice.call(CONTACT)
            await call.establish()
            times.append(await call.first_word())
            await call.hang_up()
        await offhook.will_have_ended("hangup", calls=8)
    times.sort()
    print(f"proceed to sound: median {times[4]:.0f} ms, longest {times[-1]:.0f} ms")
    assert len(times) == 8
