"""Sound before the answer: heard where the trunk's `early_media` says so."""

import asyncio

from gateway import CONTACT


async def test_what_the_trunk_plays_before_the_answer_is_heard(gateway, sipp, alice):
    callee = sipp("early", echo=False)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys="early_media = true")
        call = await alice.call(CONTACT).establish()
        await asyncio.sleep(2)
        assert call.ear.sound.tone_seconds(440) > 0.8, call.ear.sound.describe(440)
        await call.hang_up()
        await callee.done()
        assert "PRACK" in " ".join(callee.received())
        # Nobody answered, so nobody is charged.
        await offhook.will_have_ended("cancelled")


async def test_elsewhere_the_client_goes_on_ringing(gateway, sipp, alice):
    callee = sipp("early", echo=False)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        await asyncio.sleep(1)
        assert not [s for s in alice.seen if s.what == "proceed"]
        call.retract()
        await callee.done()
        await offhook.will_have_ended("cancelled")
