"""The XMPP server goes away in the middle of a call and comes back."""

import asyncio

from gateway import CONTACT


async def test_prosody_restart_mid_call(prosody, gateway, phone, alice):
    async with phone(hz=660, answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT, hz=440).establish()
        await asyncio.sleep(0.5)
        prosody.stop()
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1.2, call.ear.sound.describe(660)
        assert offhook.running
        prosody.start()
        await alice.log_in_again()
        for _ in range(50):
            reply = await alice.iq(CONTACT, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
            if reply.get("type") == "result":
                break
            await asyncio.sleep(0.1)
        assert reply.get("type") == "result", "the gateway did not come back in 5 s"
        call.ear.fresh()
        await asyncio.sleep(1)
        assert call.ear.sound.tone_seconds(660) > 0.8, call.ear.sound.describe(660)
        await callee.command("hangup")
        await call.sees("session-terminate", reason="success")
        assert callee.heard.tone_seconds(440) > 3, callee.heard.describe(440)
        await offhook.will_have_ended("hangup")


async def test_a_phone_hangs_up_while_the_server_is_away(prosody, gateway, phone, alice):
    async with phone(answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        await alice.call(CONTACT).establish()
        prosody.stop()
        await callee.command("hangup")
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")
        prosody.start()


async def test_an_idle_gateway_survives_a_restart_of_the_server(prosody, gateway, sipp, alice):
    callee = sipp("fails", code=486, text="Busy Here")
    gateway(f"sip:127.0.0.1:{callee.sip}")
    prosody.stop()
    prosody.start()
    async with alice:
        for _ in range(50):
            reply = await alice.iq(CONTACT, "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
            if reply.get("type") == "result":
                break
            await asyncio.sleep(0.1)
        await alice.call(CONTACT).sees("reject", reason="busy")
        await callee.done()
