"""Calls that come to nothing: what each side is told, and the one line in the log."""

import asyncio

import pytest

import prosody
from gateway import CONTACT


@pytest.mark.parametrize(
    "code, text, told, logged",
    [
        (486, "Busy Here", "busy", "busy"),
        (600, "Busy Everywhere", "busy", "busy"),
        (603, "Decline", "decline", "declined"),
        (480, "Temporarily Unavailable", "timeout", "(no-answer|unavailable)"),
        (404, "Not Found", "gone", "not-found"),
        (488, "Not Acceptable Here", "media-error", "not-acceptable"),
        (503, "Service Unavailable", "general-error", "(no-route|overloaded)"),
    ],
)
async def test_the_phone_network_says_no(gateway, sipp, alice, code, text, told, logged):
    trunk = sipp("fails", code=code, text=text)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        await call.sees("reject", reason=told)
        await trunk.done()
        await offhook.will_have_ended(logged)


async def test_cancelled_while_ringing(gateway, sipp, alice):
    trunk = sipp("rings")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        call.retract()
        await trunk.done()
        await offhook.will_have_ended("cancelled")


async def test_nobody_answers(gateway, sipp, alice):
    trunk = sipp("rings")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}", ring_limit_s=2)
        call = alice.call(CONTACT)
        await call.sees("reject", reason="timeout")
        await trunk.done()
        await offhook.will_have_ended("no-answer")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_the_trunk_is_unreachable(gateway, alice, transport):
    async with alice:
        # Port 9 (discard): nobody is there. Over UDP only an ICMP error says so.
        offhook = gateway(f"sip:127.0.0.1:9;transport={transport}")
        call = alice.call(CONTACT)
        await call.sees("reject", reason="general-error")
        await offhook.will_have_ended("no-route")


async def test_what_is_no_number_is_not_called(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9;transport=tcp")
        call = alice.call(f"%%%@{prosody.GATEWAY}")
        await call.sees("reject", reason="gone")


async def test_the_client_declines(incoming):
    async with incoming() as (offhook, caller, call):
        call.decline("busy")
        closed = await caller.will_say("CALL_CLOSED")
        assert "486" in closed["param"]
        await offhook.will_have_ended("busy")


async def test_the_phone_gives_up_before_the_client_answers(incoming):
    async with incoming() as (offhook, caller, call):
        call.ring()
        await caller.will_say("CALL_RINGING")
        await caller.command("hangup")
        await call.sees("retract")
        await offhook.will_have_ended("cancelled")


async def test_the_client_never_answers(incoming):
    async with incoming(ring_limit_s=2) as (offhook, caller, call):
        await call.sees("retract")
        closed = await caller.will_say("CALL_CLOSED")
        assert "480" in closed["param"] or "408" in closed["param"]
        await offhook.will_have_ended("no-answer")


async def test_a_number_that_is_not_ours_is_not_found(gateway, phone):
    async with phone() as caller:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:+15559999999@127.0.0.1:{offhook.sip}")
        closed = await caller.will_say("CALL_CLOSED")
        assert "404" in closed["param"]


async def test_two_calls_leave_two_lines(gateway, sipp, alice):
    async with alice:
        first = sipp("fails", code=486, text="Busy Here")
        offhook = gateway(f"sip:127.0.0.1:{first.sip}")
        await alice.call(CONTACT).sees("reject", reason="busy")
        await first.done()
        await asyncio.sleep(0.1)
        # The trunk's only program has ended: the second call finds nobody.
        await alice.call(CONTACT).sees("reject", reason="general-error")
        await offhook.will_log(r"(?s)(call ended.*){2}")
        assert len(offhook.endings()) == 2
