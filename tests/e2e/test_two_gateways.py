"""Telephones that call each other through two of us, with XMPP between: each end is a gateway with one port for all."""

import asyncio

from gateway import NUMBER, OUR_NUMBER
from prosody import GATEWAY, MIX


async def test_two_calls_between_the_same_two_gateways(gateway, phone, sipp):
    callee = sipp("answers", calls=2)
    one = phone(hz=440, user="+15557770001", codecs=["PCMU"])
    two = phone(hz=660, user="+15557770002", codecs=["PCMU"])
    async with one, two:
        far = gateway(f"sip:127.0.0.1:{callee.sip}", domain=MIX, allow=GATEWAY, media_keys="threads = 1")
        near = gateway("sip:127.0.0.1:9", ring=f"{NUMBER}@{MIX}", media_keys="threads = 1")
        for caller in (one, two):
            await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{near.sip}")
            await caller.will_say("CALL_ESTABLISHED")
        await asyncio.sleep(3)
        for caller in (one, two):
            await caller.command("hangup")
            await caller.will_say("CALL_CLOSED")
        await callee.done()
        # Each hears itself: the far end plays back what it hears.
        for caller, hz, other in ((one, 440, 660), (two, 660, 440)):
            assert caller.heard.tone_seconds(hz) > 2, caller.heard.describe(440, 660)
            assert caller.heard.tone_seconds(other) < 0.2, caller.heard.describe(440, 660)
        for offhook in (near, far):
            await offhook.will_have_ended("hangup", calls=2)
