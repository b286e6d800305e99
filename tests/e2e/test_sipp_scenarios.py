"""What carriers and PBXs do, one SIPp scenario each (`sipp/in_*.xml` calls us, `sipp/out_*.xml` is called). docs/testing.md has the table."""

import re

import pytest

from gateway import CONTACT, OUR_NUMBER

PASSWORD = 'username = "offhook"\npassword = "a secret of the carrier"'
TIMER = "session_expires_s = 90"

# Scenarios in which the user answers and the caller hangs up.
ANSWERED = [
    "in_asks_much", "in_cancels_late", "in_changes", "in_holds", "in_merges", "in_offers_late", "in_reliable", "in_repeats", "in_says_bye_first",
    "in_timers",
]
# What the caller must have got before the user rings, and before the user answers: a scenario sends its next message when it has
# read the last one, and what the user does meanwhile would overtake the answer to that.
RINGS_AFTER = {"in_repeats": ("100", 2), "in_merges": ("482", 1)}
ANSWERS_AFTER = {"in_repeats": ("180", 2), "in_reliable": ("180", 2)}
# Scenarios in which the user calls and hangs up, with what the trunk needs for them.
CALLED = {"out_challenges": PASSWORD, "out_forks": "", "out_repeats": "", "out_speaks_early": "early_media = true", "out_wants_longer": TIMER}
# What is asked for outside of every call: method, URI, header and the status that comes back.
ASKED = {
    "alive": ("OPTIONS", "", "Subject: x", 200),
    "for others": ("SUBSCRIBE", "", "Event: presence", 405),
    "unknown": ("PIGEON", "", "Subject: x", 501),
    "another scheme": ("OPTIONS", "http://127.0.0.1/", "Subject: x", 416),
    "an extension": ("OPTIONS", "", "Require: pigeons", 420),
    "no dialog": ("BYE", "", "Subject: x", 481),
    "no subscription": ("NOTIFY", "", "Event: refer", 481),
    "for nobody": ("REFER", "", "Refer-To: <sip:x@127.0.0.1>", 403),
}
# INVITEs that are refused: URI, header, status.
TURNED_AWAY = {
    "nobody": ("sip:+15559999999@127.0.0.1", "Subject: x", 404),
    "another scheme": ("http://127.0.0.1/", "Subject: x", 416),
    "an extension": ("", "Require: pigeons", 420),
    "a coding": ("", "Content-Encoding: gzip", 415),
    "a short timer": ("", "Session-Expires: 60", 422),
    "a call that is not there": ("", "Replaces: nobody;to-tag=1;from-tag=2", 481),
}
OURS = f"sip:{OUR_NUMBER}@127.0.0.1"


@pytest.fixture
def sipp(sipp):
    """SIPp that repeats nothing by itself: what is repeated is part of the scenario."""
    return lambda *scenario, **options: sipp(*scenario, more=["-nr"], **options)


@pytest.mark.parametrize("scenario", ANSWERED)
async def test_a_trunk_calls(gateway, sipp, alice, scenario):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp(scenario, target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await alice.will_be_called()
        if scenario in RINGS_AFTER:
            await caller.will_have_received(*RINGS_AFTER[scenario])
        call.ring()
        if scenario in ANSWERS_AFTER:
            await caller.will_have_received(*ANSWERS_AFTER[scenario])
        await call.answer()
        await call.sees("session-terminate", 20, reason="success")
        await caller.done(20)
        await offhook.will_have_ended("hangup")
        assert len([s for s in alice.seen if s.what == "propose"]) == 1, "a ghost call"


async def test_a_trunk_cancels(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp("in_cancels", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await alice.will_be_called()
        await call.sees("retract")
        await caller.done()
        await offhook.will_have_ended("cancelled")


async def test_a_trunk_never_acknowledges(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp("in_never_acks", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        await call.sees("session-terminate", 40)
        await caller.done()
        await offhook.will_have_ended("protocol-error")


async def test_a_trunk_offers_while_we_do(gateway, sipp, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        caller = sipp("in_glares", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        await call.hold()
        await caller.will_have_received("ACK", 2, timeout=15)
        await call.hang_up()
        await caller.done()
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("what", ASKED)
async def test_a_trunk_asks_outside_of_every_call(gateway, sipp, what):
    method, uri, header, code = ASKED[what]
    offhook = gateway("sip:127.0.0.1:9")
    peer = sipp("in_asks", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, method=method, uri=uri or OURS, header=header, code=code)
    await peer.done()


@pytest.mark.parametrize("what", TURNED_AWAY)
async def test_a_trunk_is_turned_away(gateway, sipp, what):
    uri, header, code = TURNED_AWAY[what]
    offhook = gateway("sip:127.0.0.1:9")
    peer = sipp("in_is_turned_away", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, uri=uri or OURS, header=header, code=code)
    await peer.done()


@pytest.mark.parametrize("scenario", CALLED)
async def test_a_trunk_is_called(gateway, sipp, alice, scenario):
    callee = sipp(scenario)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport=udp", trunk_keys=CALLED[scenario])
        call = await alice.call(CONTACT).establish()
        await callee.will_have_received("ACK", 3 if scenario == "out_repeats" else 1)
        if scenario == "out_wants_longer":
            await callee.will_have_received("200")
        await call.hang_up()
        await callee.done(20)
        await offhook.will_have_ended("hangup")


async def test_a_trunk_answers_what_is_cancelled(gateway, sipp, alice):
    callee = sipp("out_answers_a_cancel")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport=udp")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        call.retract()
        await callee.done()
        await offhook.will_have_ended("cancelled")
        # RFC 3261 §9.1: a CANCEL has the Via of its INVITE.
        vias = re.findall(r"(?m)^(?:INVITE|CANCEL) .*\r?\nVia: (.*)", callee.messages)
        assert len(vias) == 2 and len(set(vias)) == 1, vias


async def test_a_trunk_has_moved(gateway, sipp, alice):
    there = sipp("answers")
    callee = sipp("out_redirects", other=there.sip)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport=udp")
        call = await alice.call(CONTACT).establish()
        await callee.done()
        await call.hang_up()
        await there.done()
        assert f"INVITE sip:moved@127.0.0.1:{there.sip}" in there.messages
        await offhook.will_have_ended("hangup")


async def test_a_trunk_is_refreshed(gateway, sipp, alice):
    callee = sipp("out_is_refreshed")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport=udp")
        call = await alice.call(CONTACT).establish()
        await call.sees("session-terminate", 52, reason="success")
        await callee.done()
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize(
    "there, replaces", [("answers", ""), ("out_replaces", "?Replaces=call-7%3Bto-tag%3D1%3Bfrom-tag%3D2")]
)
async def test_a_trunk_transfers_its_call(gateway, sipp, alice, there, replaces):
    """Blind, and attended: the new callee is told whose place the call takes there."""
    there = sipp(there)
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{there.sip};transport=udp")
        caller = sipp("in_transfers", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, replaces=replaces)
        call = await (await alice.will_be_called()).answer()
        await caller.done(20)
        await call.hang_up()
        await there.done()
        await offhook.will_have_ended("hangup")


async def test_a_trunk_is_sent_into_the_place_of_another_call(gateway, sipp, alice):
    """The user connects the two by REFER with Replaces: both dialogs with us end."""
    there = sipp("out_can_be_replaced")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{there.sip};transport=udp")
        caller = sipp("in_is_sent_on", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER)
        call = await (await alice.will_be_called()).answer()
        other = await alice.call(CONTACT).establish()
        assert (await call.transfer(CONTACT, other)).get("type") == "result"
        await call.sees_transferred()
        await other.sees_transferred()
        await caller.done()
        await there.done()
        await offhook.will_have_ended("hangup", calls=2)
