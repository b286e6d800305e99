"""The phone network calls a user: every device rings, one answers, and no call leaves a device ringing."""

import asyncio
import re

import pytest

from client import STANZAS, Client
from gateway import OUR_NUMBER
from jingle_sdp import RTP, tag
from prosody import USERS

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def desk(prosody):
    """A second device of alice, not yet logged in."""
    return Client(prosody.c2s, "alice", USERS["alice"])


async def dial(caller, offhook):
    await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")


async def test_what_a_propose_looks_like(gateway, phone, alice):
    """§8.34: from the one full JID of the number, a fresh UUIDv4, audio only, stored."""
    async with phone() as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        seen = await alice.will_see("propose")
        assert re.fullmatch(UUID4, seen.sid), seen.sid
        assert seen.sender.endswith("/phone")
        media = [d.get("media") for d in seen.xml.iter(tag(RTP, "description"))]
        assert media == ["audio"]


async def test_every_device_rings_and_the_second_to_answer_is_refused(gateway, phone, alice, desk):
    """§8.36: the session goes to exactly the device that was first; a later proceed is told so."""
    async with phone(hz=660) as caller, alice, desk:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        call, other = await alice.will_be_called(hz=440), await desk.will_be_called()
        assert call.sid == other.sid
        call.ring()
        other.ring()
        await call.answer()
        await caller.will_say("CALL_ESTABLISHED")
        desk.message(other.peer, "proceed", other.sid)
        refused = await other.sees("message-error")
        assert refused.sender == call.peer
        assert refused.xml.find(f".//{tag(STANZAS, 'item-not-found')}") is not None
        assert not [s for s in desk.seen if s.what == "session-initiate"], "two devices were put through"
        await asyncio.sleep(1)
        await call.hang_up()
        await caller.will_say("CALL_CLOSED")
        assert caller.heard.tone_seconds(440) > 0.7, caller.heard.describe(440)
        await offhook.will_have_ended("hangup")


async def test_one_device_declines_for_all(gateway, phone, alice, desk):
    """§8.36: a reject is the user's answer."""
    async with phone() as caller, alice, desk:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        call, _ = await alice.will_be_called(), await desk.will_be_called()
        call.decline("busy")
        closed = await caller.will_say("CALL_CLOSED")
        assert "486" in closed["param"]
        await offhook.will_have_ended("busy")


async def test_all_devices_stop_ringing_when_the_caller_gives_up(gateway, phone, alice, desk):
    """§8.37: the retract goes to the bare JID, from the same full JID."""
    async with phone() as caller, alice, desk:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        call, other = await alice.will_be_called(), await desk.will_be_called()
        call.ring()
        await caller.will_say("CALL_RINGING")
        await caller.command("hangup")
        for one in (call, other):
            assert (await one.sees("retract")).sender == call.peer
        await offhook.will_have_ended("cancelled")


async def test_the_caller_gives_up_between_proceed_and_accept(gateway, phone, alice):
    """§8.37: a device that has said proceed no longer hears a retract; the session is ended as well."""
    async with phone() as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        call = await alice.will_be_called()
        call.ring()
        await caller.will_say("CALL_RINGING")
        alice.message(call.peer, "proceed", call.sid)
        await call.sees("session-initiate")
        await caller.command("hangup")
        await call.sees("session-terminate")
        await call.sees("finish")
        await offhook.will_have_ended("cancelled")


async def test_the_phone_rings_though_no_device_says_so(gateway, phone, alice):
    """§8.35: many clients never send `ringing`; the caller must hear it all the same."""
    async with phone() as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await dial(caller, offhook)
        await alice.will_be_called()
        await caller.will_say("CALL_RINGING", timeout=3)
        await caller.command("hangup")
        await offhook.will_have_ended("cancelled")


async def test_nobody_is_logged_in(gateway, phone):
    """§8.40: the server's bounce of the propose, or the own limit, ends it."""
    async with phone() as caller:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", ring_limit_s=3)
        await dial(caller, offhook)
        closed = await caller.will_say("CALL_CLOSED")
        assert closed["param"].split()[0] in ("404", "408", "480"), closed
        await offhook.will_be_idle()


async def test_a_second_call_from_a_number_that_is_ringing_is_busy(gateway, phone, alice):
    """§8.38: a second propose of one number is a migration to clients: they would put it through unasked."""
    async with phone(user="+15557654321") as first, phone(user="+15557654321") as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{first.sip}")
        await dial(first, offhook)
        call = await alice.will_be_called()
        await first.will_say("CALL_RINGING")
        await dial(second, offhook)
        closed = await second.will_say("CALL_CLOSED")
        assert "486" in closed["param"], closed
        assert len([s for s in alice.seen if s.what == "propose"]) == 1
        await call.answer()
        await first.will_say("CALL_ESTABLISHED")
        await call.hang_up()
        await first.will_say("CALL_CLOSED")
        await offhook.will_be_idle()


async def test_two_withheld_numbers_are_two_contacts(gateway, phone, alice):
    """§8.38: an anonymous caller has a JID of the call's own, else a second one would be a migration."""
    async with phone(user="anonymous") as first, phone(user="anonymous") as second, alice:
        offhook = gateway(f"sip:127.0.0.1:{first.sip}")
        await dial(first, offhook)
        call = await alice.will_be_called()
        await dial(second, offhook)
        other = await alice.will_be_called()
        assert call.peer.split("/")[0] != other.peer.split("/")[0]
        await first.command("hangup")
        await second.command("hangup")
        await call.sees("retract")
        await other.sees("retract")
        await offhook.will_have_ended("cancelled", calls=2)
