"""Protected sound toward SIP: keys in SDP and by DTLS, offered, answered, required and refused."""

import asyncio

import pytest

from gateway import CONTACT, OUR_NUMBER

# How baresip names them: keys in SDP that may be passed over, keys in SDP or no call, DTLS-SRTP.
WAYS = ["srtp", "srtp-mand", "dtls_srtp"]


def keys(srtp: str, mediaenc: str = "srtp") -> str:
    return f'srtp = "{srtp}"\nsrtp_keys = "{"dtls" if mediaenc == "dtls_srtp" else "sdes"}"'


async def heard_both_ways(call, phone):
    """A second and a half of tone at both ends, then the end of the call."""
    await asyncio.sleep(1)
    call.ear.fresh()
    await asyncio.sleep(2)
    assert call.ear.sound.tone_seconds(660) > 1.4, call.ear.sound.describe(440, 660)
    await call.hang_up()
    await phone.will_say("CALL_CLOSED")
    assert phone.heard.tone_seconds(440) > 1.4, phone.heard.describe(440, 660)


def was_protected(phone, mediaenc: str):
    marks = {"dtls_srtp": "DTLS-SRTP complete"}
    mark = marks.get(mediaenc, "SRTP is Enabled")
    assert mark in phone.log, phone.log


# The phone's other two ways want a protected profile, which only `require` offers.
@pytest.mark.parametrize("srtp, way", [("offer", "srtp"), *(("require", way) for way in WAYS)])
async def test_we_offer_and_the_phone_answers(gateway, phone, alice, srtp, way):
    async with phone(hz=660, codecs=["PCMU"], mediaenc=way) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=keys(srtp, way))
        call = alice.call(CONTACT, hz=440)
        await callee.will_say("CALL_INCOMING")
        await callee.command("accept")
        await call.establish()
        await heard_both_ways(call, callee)
        was_protected(callee, way)
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("way", WAYS)
async def test_the_phone_offers_and_we_answer(gateway, phone, alice, way):
    async with phone(hz=660, codecs=["PCMU"], mediaenc=way) as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", trunk_keys=keys("require"))
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await alice.will_be_called(hz=440)
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED")
        await heard_both_ways(call, caller)
        was_protected(caller, way)
        await offhook.will_have_ended("hangup")


async def test_what_is_offered_may_be_passed_over(gateway, phone, alice):
    """A phone without SRTP answers our opportunistic offer in the clear, and is heard."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=keys("offer"))
        call = alice.call(CONTACT, hz=440)
        await callee.will_say("CALL_INCOMING")
        await callee.command("accept")
        await call.establish()
        await heard_both_ways(call, callee)
        await offhook.will_have_ended("hangup")


async def test_an_unprotected_call_is_refused_where_protection_is_required(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9", trunk_keys=keys("require"))
        caller = sipp("is_refused", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, code=488)
        await caller.done()
        await offhook.will_have_ended("security")
        assert not [s for s in alice.seen if s.what == "propose"], "the user was rung for nothing"
        await offhook.will_be_idle()


async def test_an_unprotected_answer_ends_a_call_that_must_be_protected(gateway, sipp, alice):
    """The answer of a broken PBX: it is acknowledged, and hung up on."""
    callee = sipp("answers")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=keys("require"))
        call = alice.call(CONTACT)
        await call.sees("reject", reason="security-error")
        await callee.done()
        await offhook.will_have_ended("security")
