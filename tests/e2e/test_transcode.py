"""Calls whose sides share no codec: the client speaks Opus only, the phone something else only."""

import asyncio

import pytest

from gateway import CONTACT, OUR_NUMBER


async def will_hear(call, seconds: float = 1.2, timeout: float = 20) -> None:
    """Waits for so much of the phone's tone, so that a busy machine makes it slow, not wrong."""
    call.ear.fresh()
    end = asyncio.get_running_loop().time() + timeout
    while call.ear.sound.tone_seconds(660) < seconds:
        assert asyncio.get_running_loop().time() < end, call.ear.sound.describe(440, 660)
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_a_client_of_opus_calls_a_phone_without_it(gateway, phone, alice, codec):
    async with phone(hz=660, codecs=[codec]) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = alice.call(CONTACT, hz=440, codecs=["opus"])
        await callee.will_say("CALL_INCOMING", 20)
        await callee.command("accept")
        await call.establish()
        await callee.will_say("CALL_ESTABLISHED", 20)
        assert callee.codec.lower().startswith(codec.lower())
        assert call.codec.lower() == "opus"
        await will_hear(call)
        await call.keypad.press("123#")
        await asyncio.sleep(0.5)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED", 20)
        assert callee.keys == "123#"
        assert callee.heard.tone_seconds(440) > 0.5, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("codec", ["PCMU", "G722"])
async def test_a_phone_without_opus_calls_a_client_of_opus(gateway, phone, alice, codec):
    async with phone(hz=660, codecs=[codec]) as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called(hz=440, codecs=["opus"], timeout=20)
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED", 20)
        assert call.codec.lower() == "opus"
        await will_hear(call)
        await call.hang_up()
        await caller.will_say("CALL_CLOSED", 20)
        assert caller.heard.tone_seconds(440) > 0.5, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")
