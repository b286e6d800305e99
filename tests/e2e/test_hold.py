"""Hold, both ways: who holds hears nothing, and hears again afterwards.

What the phone hears is not asked: baresip's recorder stops at the first hold, though sound comes."""

import asyncio

from gateway import CONTACT, OUR_NUMBER


async def test_a_user_holds_and_takes_up_again(gateway, phone, alice):
    async with phone(hz=660, answer="auto") as desk, alice:
        offhook = gateway(f"sip:127.0.0.1:{desk.sip}")
        call = await alice.call(CONTACT, hz=440).establish()
        await desk.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        await call.hold()
        await asyncio.sleep(0.5)
        call.ear.fresh()
        await asyncio.sleep(1)
        assert call.ear.sound.tone_seconds(660) < 0.2, call.ear.sound.describe(660)
        await call.hold(False)
        await asyncio.sleep(0.5)
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1, call.ear.sound.describe(660)
        await call.hang_up()
        await desk.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_a_phone_holds_and_takes_up_again(gateway, phone, alice):
    async with phone(hz=660, user="+15557654321") as desk, alice:
        offhook = gateway(f"sip:127.0.0.1:{desk.sip}")
        await desk.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called(hz=440)).answer()
        await desk.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(1)
        await desk.command("hold")
        await asyncio.sleep(0.5)
        call.ear.fresh()
        await asyncio.sleep(1)
        assert call.ear.sound.tone_seconds(660) < 0.2, call.ear.sound.describe(660)
        await desk.command("resume")
        await asyncio.sleep(0.5)
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1, call.ear.sound.describe(660)
        await desk.command("hangup")
        await call.sees("session-terminate", reason="success")
        await offhook.will_have_ended("hangup")
