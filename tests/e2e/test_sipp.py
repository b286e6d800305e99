"""SIPp's own scenarios, and calls over a network that loses signalling."""

import asyncio
import re
import subprocess

import pytest

from gateway import CONTACT, NUMBER, OUR_NUMBER, dial
from pki import Authority

CALLERS = ["uac", "regexp", "uac_pcap"]
CALLEES = ["uas"]
LEFT_OUT = {
    "branchc": "registers first, and goes on only with 200: the gateway is no registrar",
    "branchs": "wants REGISTER and INVITE with one Call-ID, which RFC 3261 §10.2 and §8.1.1.4 keep apart",
    "3pcc-C-A": "four SIPps that talk to each other beside SIP; a call without an offer has a test of its own",
    "3pcc-C-B": "see 3pcc-C-A",
    "3pcc-A": "see 3pcc-C-A",
    "3pcc-B": "see 3pcc-C-A",
}
# Debian builds SIPp without TLS.
TRANSPORTS = {"udp": "u1", "tcp": "t1"}


def test_every_scenario_is_played_or_left_out_for_a_reason():
    told = subprocess.run(["sipp", "-h"], capture_output=True, text=True).stdout
    known = set(re.findall(r"^ +- '([\w-]+)' *: ", told.partition("-sn    ")[2].partition("***")[0], re.M))
    known |= {"uac_pcap"}  # Only its source names this one.
    assert known == {*CALLERS, *CALLEES, *LEFT_OUT}


@pytest.fixture
def certified(tmp_path):
    """An authority, and the gateway's lines in [sip.tls] with a certificate of it."""
    authority = Authority(tmp_path / "pki")
    own = authority.signs("gateway", "DNS:localhost", "IP:127.0.0.1")
    return authority, f'ca = "{authority.ca}"\n{own.keys}'


@pytest.mark.parametrize("scenario, transport", [*((name, "udp") for name in CALLERS), ("uac", "tcp")])
async def test_sipp_calls_a_user(gateway, sipp, alice, tmp_path, scenario, transport):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        (tmp_path / "sipp0").mkdir()
        (tmp_path / "sipp0/pcap").symlink_to("/usr/share/sip-tester")
        caller = sipp(scenario, target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, transport=TRANSPORTS[transport])
        call = await alice.will_be_called()
        call.ring()
        await call.answer()
        await call.sees("session-terminate", reason="success")
        await caller.done(20)
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLEES)
async def test_a_user_calls_sipp(gateway, sipp, alice, scenario, transport):
    callee = sipp(scenario, transport=TRANSPORTS[transport])
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport={transport}")
        call = alice.call(CONTACT)
        await call.establish()
        await call.hang_up()
        await callee.done(20)
        await offhook.will_have_ended("hangup")


async def test_baresip_over_tls_is_called_and_calls(gateway, phone, alice, certified):
    authority, keys = certified
    own = authority.signs("phone", "DNS:localhost", "IP:127.0.0.1")
    async with phone(hz=660, tls=own, ca=authority.ca) as desk, alice:
        offhook = gateway(f"sip:localhost:{desk.sips};transport=tls", tls=keys)
        out = alice.call(CONTACT, hz=440)
        await desk.will_say("CALL_INCOMING", 20)
        await desk.command("accept")
        await out.establish()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await asyncio.sleep(1.5)
        await desk.command("hangup")
        await out.sees("session-terminate", reason="success")
        assert desk.heard.tone_seconds(440) > 0.7, desk.heard.describe(440, 660)
        desk.events.clear()
        await desk.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sips};transport=tls")
        call = await alice.will_be_called(hz=440)
        await call.answer()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await call.hang_up()
        await desk.will_say("CALL_CLOSED", 20)
        await offhook.will_have_ended("hangup", calls=2)


async def test_calls_out_over_a_network_that_loses_every_tenth_packet(lossy_network, prosody, gateway, sipp, tmp_path):
    """Each call is answered and hung up, whatever was lost; nothing is left."""
    calls = 5
    callee = sipp("uas", calls=calls)
    offhook = gateway(f"sip:127.0.0.1:{callee.sip};transport=udp")
    lossy_network(10, offhook.sip)
    for _ in range(calls):
        called = await dial(prosody, tmp_path, CONTACT, "--seconds", 1)
        assert called.json["result"] == "answered", called.json
    await callee.done(30)
    await offhook.will_have_ended("hangup", calls=calls)


async def test_calls_in_over_a_network_that_loses_every_tenth_packet(lossy_network, gateway, sipp, alice, tmp_path):
    calls = 5
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        lossy_network(10, offhook.sip)
        # Not SIPp's own: it takes a repeated 200 of its INVITE for that of its BYE.
        caller = sipp("calls", target=f"127.0.0.1:{offhook.sip}", user=OUR_NUMBER, calls=calls, more=["-l", 1, "-r", 1])
        for _ in range(calls):
            call = await alice.will_be_called(timeout=20)
            await call.answer()
            await call.sees("session-terminate", reason="success", timeout=20)
        await caller.done(40)
        await offhook.will_have_ended("hangup", calls=calls)
