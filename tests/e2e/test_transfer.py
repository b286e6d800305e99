"""Calls that are transferred: by the phone, whose client hears the new one and notices nothing else, and by the client."""

import asyncio

from gateway import CONTACT, NUMBER, OUR_NUMBER


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


async def test_a_user_transfers_a_phone_that_takes_refer(gateway, phone, alice):
    """The phone calls the other one by itself; the gateway and the user are out of it."""
    async with phone(hz=660, user="+15557654321") as first, phone(hz=880, answer="auto") as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{second.sip}")
        await first.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called(hz=440)).answer()
        await first.will_say("CALL_ESTABLISHED")
        reply = await call.transfer(CONTACT)
        assert reply.get("type") == "result"
        await second.will_say("CALL_ESTABLISHED", timeout=20)
        await call.sees_transferred()
        await offhook.will_have_ended("hangup")
        await asyncio.sleep(2)
        await second.command("hangup")
        await second.will_say("CALL_CLOSED")
        assert second.heard.tone_seconds(660) > 1.4, second.heard.describe(440, 660)


async def test_a_user_transfers_a_phone_that_takes_no_refer(gateway, sipp, phone, alice):
    """The gateway calls the new phone and connects the two."""
    async with phone(hz=880, codecs=["PCMU"], answer="auto") as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{second.sip}")
        first = sipp("stays", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called(hz=550)).answer()
        assert (await call.transfer(CONTACT)).get("type") == "result"
        await second.will_say("CALL_ESTABLISHED", timeout=20)
        await call.sees_transferred()
        await asyncio.sleep(2)
        await second.command("hangup")
        await first.done()
        assert second.heard.tone_seconds(440) > 1.4, second.heard.describe(440, 550)
        await offhook.will_have_ended("hangup")


async def test_a_user_connects_the_two_phones_it_talks_to(gateway, phone, alice):
    """Attended: both calls of the user end, and the phones hear each other."""
    async with phone(hz=660, user="+15557654321") as first, phone(hz=880) as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{second.sip}")
        await first.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called(hz=440)).answer()
        await first.will_say("CALL_ESTABLISHED")
        other = alice.call(CONTACT, hz=550)
        await second.will_say("CALL_INCOMING", 20)
        await second.command("accept")
        await other.establish()
        assert (await call.transfer(CONTACT, other)).get("type") == "result"
        await call.sees_transferred()
        await other.sees_transferred()
        await asyncio.sleep(2.5)
        await first.command("hangup")
        await second.will_say("CALL_CLOSED")
        await first.will_say("CALL_CLOSED")
        assert second.heard.tone_seconds(660) > 1.4, second.heard.describe(440, 550, 660)
        assert first.heard.tone_seconds(880) > 1.4, first.heard.describe(440, 550, 880)
        await offhook.will_have_ended("hangup", calls=2)


async def test_a_transfer_that_fails_is_told_in_words(gateway, sipp, alice):
    trunk = sipp("fails", code=486, text="Busy Here")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        first = sipp("stays", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        assert (await call.transfer("romeo@localhost")).get("type") == "error"
        assert (await call.transfer(CONTACT)).get("type") == "result"
        words = await alice.will_see("body")
        assert words.xml.text == "The call was not transferred. The line is busy. (486)"
        await trunk.done()
        await call.hang_up()
        await first.done()
        await offhook.will_have_ended("hangup")
