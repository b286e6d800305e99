"""The peers without the gateway: when these fail, no other test means anything."""

import asyncio

import pytest

from client import Client
from prosody import USERS


@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "PCMA"])
async def test_two_clients_call_each_other(prosody, codec):
    async with (
        Client(prosody.c2s, "alice", USERS["alice"]) as alice,
        Client(prosody.c2s, "bob", USERS["bob"]) as bob,
    ):
        outgoing = alice.call(bob.bare, hz=440, codecs=[codec])
        incoming = await bob.will_be_called(hz=660)
        incoming.ring()
        await outgoing.sees("ringing")
        await asyncio.gather(outgoing.establish(), incoming.answer())
        await asyncio.sleep(0.3)
        outgoing.ear.fresh()
        incoming.ear.fresh()
        await asyncio.sleep(1.2)
        assert outgoing.codec.lower() == codec.lower()
        assert outgoing.ear.sound.tone_seconds(660) > 0.9, outgoing.ear.sound.describe(440, 660)
        assert incoming.ear.sound.tone_seconds(440) > 0.9, incoming.ear.sound.describe(440, 660)
        await outgoing.keypad.press("123#")
        await asyncio.sleep(0.1)
        assert incoming.keypad.pressed == "123#"
        await outgoing.hang_up()
        await incoming.sees("session-terminate", reason="success")


@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "PCMA"])
async def test_two_phones_call_each_other(phone, codec):
    async with phone(hz=660, codecs=[codec]) as left, phone(hz=440) as right:
        await left.command("dial", right.uri)
        await right.will_say("CALL_INCOMING")
        await right.command("accept")
        await left.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        await left.command("hangup")
        await right.will_say("CALL_CLOSED")
        assert left.heard.tone_seconds(440) > 1, left.heard.describe(440, 660)
        assert right.heard.tone_seconds(660) > 1, right.heard.describe(440, 660)
        assert left.codec.lower().startswith(codec.lower())


async def test_sipp_plays_a_tone_to_a_phone(phone, sipp):
    async with phone(hz=660, codecs=["PCMU"], answer="auto") as callee:
        caller = sipp("calls", target=f"127.0.0.1:{callee.sip}", user=callee.user)
        await callee.will_say("CALL_ESTABLISHED")
        await caller.done()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1, callee.heard.describe(440)


async def test_sipp_presses_keys_at_a_phone(phone, sipp):
    async with phone(codecs=["PCMU"], answer="auto") as callee:
        caller = sipp("presses", target=f"127.0.0.1:{callee.sip}", user=callee.user)
        await caller.done()
        assert callee.keys == "123#"


async def test_phone_calls_sipp_and_hears_itself(phone, sipp):
    callee = sipp("answers")
    async with phone(hz=660, codecs=["PCMU"]) as caller:
        await caller.command("dial", f"sip:x@127.0.0.1:{callee.sip}")
        await caller.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        await caller.command("hangup")
        await callee.done()
        assert caller.heard.tone_seconds(660) > 1, caller.heard.describe(660)


@pytest.mark.parametrize("code, text", [(486, "Busy Here"), (603, "Decline"), (404, "Not Found"), (503, "Service Unavailable")])
async def test_sipp_says_no(phone, sipp, code, text):
    callee = sipp("fails", code=code, text=text)
    async with phone() as caller:
        await caller.command("dial", f"sip:x@127.0.0.1:{callee.sip}")
        closed = await caller.will_say("CALL_CLOSED")
        assert str(code) in closed["param"]
        await callee.done()


async def test_sipp_rings_until_cancelled(phone, sipp):
    callee = sipp("rings")
    async with phone() as caller:
        await caller.command("dial", f"sip:x@127.0.0.1:{callee.sip}")
        await caller.will_say("CALL_RINGING")
        await caller.command("hangup")
        await callee.done()


async def test_sipp_hangs_up(phone, sipp):
    callee = sipp("hangs_up")
    async with phone(codecs=["PCMU"]) as caller:
        await caller.command("dial", f"sip:x@127.0.0.1:{callee.sip}")
        await caller.will_say("CALL_CLOSED")
        await callee.done()


async def test_a_client_is_there_again_after_a_restart_of_the_server(prosody):
    async with (
        Client(prosody.c2s, "alice", USERS["alice"]) as alice,
        Client(prosody.c2s, "bob", USERS["bob"]) as bob,
    ):
        outgoing = alice.call(bob.bare, hz=440)
        incoming = await bob.will_be_called(hz=660)
        await asyncio.gather(outgoing.establish(), incoming.answer())
        before = alice.full
        prosody.stop()
        await asyncio.sleep(0.5)
        outgoing.ear.fresh()
        await asyncio.sleep(1)
        assert outgoing.ear.sound.tone_seconds(660) > 0.8, outgoing.ear.sound.describe(660)
        prosody.start()
        await alice.log_in_again()
        await bob.log_in_again()
        assert alice.full == before
        await outgoing.hang_up()
        await incoming.sees("session-terminate", reason="success")


async def test_clients_cancel_and_decline(prosody):
    async with (
        Client(prosody.c2s, "alice", USERS["alice"]) as alice,
        Client(prosody.c2s, "bob", USERS["bob"]) as bob,
    ):
        outgoing = alice.call(bob.bare)
        incoming = await bob.will_be_called()
        outgoing.retract()
        await incoming.sees("retract", reason="cancel")
        outgoing = alice.call(bob.bare)
        incoming = await bob.will_be_called()
        incoming.decline("busy")
        await outgoing.sees("reject", reason="busy")
        assert (await alice.disco(bob.full)).get("node") is None
