"""The calls of test_call.py and test_chromium.py with ejabberd in the place of Prosody."""

import asyncio

import pytest

from ejabberd import Ejabberd
from gateway import CONTACT, OUR_NUMBER


@pytest.fixture
def prosody(tmp_path):
    """What the other fixtures call the server."""
    server = Ejabberd(tmp_path / "ejabberd")
    yield server
    server.stop()


async def test_presence_and_caps_come_through_ejabberd(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9")
        presence, _ = await alice.decloak(CONTACT)
        assert presence.sender == f"{CONTACT}/phone"
        features = {f.get("var") for f in (await alice.disco(presence.sender)).iter() if f.get("var")}
        assert "urn:xmpp:jingle-message:0" in features


async def test_slixmpp_calls_a_phone(gateway, phone, alice):
    async with phone(hz=660) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = alice.call(CONTACT, hz=440)
        await callee.will_say("CALL_INCOMING")
        await call.sees("ringing")
        await callee.command("accept")
        await call.establish()
        await asyncio.sleep(0.5)
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1.2, call.ear.sound.describe(440, 660)
        await call.keypad.press("123#")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "123#"
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")
        await offhook.will_be_idle()


async def test_a_phone_calls_slixmpp(gateway, phone, alice):
    async with phone(hz=660) as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called(hz=440)
        call.ring()
        await caller.will_say("CALL_RINGING")
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(2)
        await caller.command("hangup")
        await call.sees("session-terminate", reason="success")
        assert caller.heard.tone_seconds(440) > 1.3, caller.heard.describe(440, 660)
        assert call.ear.sound.tone_seconds(660) > 1.3, call.ear.sound.describe(440, 660)
        await offhook.will_have_ended("hangup")
        await offhook.will_be_idle()


async def test_chromium_calls_a_phone(gateway, phone, chromium):
    async with phone(hz=660) as callee, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT)
        await callee.will_say("CALL_INCOMING")
        await call.sees("ringing")
        await callee.command("accept")
        await call.establish()
        await asyncio.sleep(0.5)
        sound = await call.hears(1.5)
        assert sound.tone_seconds(660) > 1.2, f"{sound.describe(440, 660)} {await call.stats()}"
        await call.press("123#")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "123#"
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")
        await offhook.will_be_idle()


async def test_a_phone_calls_chromium(gateway, phone, chromium):
    async with phone(hz=660) as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called()).answer()
        await caller.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(0.5)
        sound = await call.hears(1.5)
        assert sound.tone_seconds(660) > 1.2, f"{sound.describe(440, 660)} {await call.stats()}"
        await caller.command("hangup")
        await call.sees("session-terminate", reason="success")
        assert caller.heard.tone_seconds(440) > 1.3, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")
        await offhook.will_be_idle()


async def test_the_client_gives_up(gateway, sipp, alice):
    trunk = sipp("rings")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        call.retract()
        await trunk.done()
        await offhook.will_have_ended("cancelled")
        await offhook.will_be_idle()


async def test_the_client_declines(gateway, phone, alice):
    async with phone() as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        (await alice.will_be_called()).decline("busy")
        closed = await caller.will_say("CALL_CLOSED")
        assert "486" in closed["param"]
        await offhook.will_have_ended("busy")


async def test_nobody_is_logged_in(gateway, phone, prosody):
    async with phone() as caller:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", ring_limit_s=3)
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        closed = await caller.will_say("CALL_CLOSED")
        assert closed["param"].split()[0] in ("404", "408", "480"), closed
        await offhook.will_be_idle()
