"""The phone moves its call to another phone: the client hears the new one, and notices nothing else."""

import asyncio

from gateway import NUMBER, OUR_NUMBER


async def test_a_blind_transfer(gateway, phone, alice):
    async with phone(hz=660, user="+15557654321") as first, phone(hz=880, answer="auto") as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{second.sip}")
        await first.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called(hz=440)).answer()
        await first.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(1)
        assert call.ear.sound.tone_seconds(660) > 0.4, call.ear.sound.describe(660, 880)
        await first.command("transfer", f"sip:{NUMBER}@127.0.0.1:{offhook.sip}")
        await second.will_say("CALL_ESTABLISHED", timeout=20)
        await first.will_say("CALL_CLOSED", timeout=20)
        await asyncio.sleep(1)
        call.ear.fresh()
        await asyncio.sleep(2)
        assert call.ear.sound.tone_seconds(880) > 1.4, call.ear.sound.describe(660, 880)
        await call.hang_up()
        await second.will_say("CALL_CLOSED")
        assert second.heard.tone_seconds(440) > 1.4, second.heard.describe(440)
        await offhook.will_have_ended("hangup")
        await offhook.will_be_idle()
