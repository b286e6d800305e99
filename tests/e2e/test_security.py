"""Promises of protection that a client breaks: the call ends, and not one word of it is heard."""

import asyncio

import pytest

from gateway import CONTACT

WRONG = ":".join(["AB"] * 32)


@pytest.mark.parametrize("fingerprint", [WRONG, ""], ids=["another certificate", "no certificate"])
async def test_a_broken_promise_ends_the_call(gateway, phone, alice, fingerprint):
    async with phone(answer="auto", hz=660) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = alice.call(CONTACT, fingerprint=fingerprint)
        proceed = await call.sees("proceed")
        call.peer = proceed.sender
        call.ear.fresh()
        offering = asyncio.create_task(call.offer_and_take_answer())
        ended = await call.sees("session-terminate", reason="security-error")
        assert ended.sender == proceed.sender
        await callee.will_say("CALL_CLOSED")
        await asyncio.sleep(0.5)
        offering.cancel()
        assert call.ear.sound.tone_seconds(660) == 0
        assert callee.heard.tone_seconds(440) == 0
        await offhook.will_have_ended("security")
        await call.close()
