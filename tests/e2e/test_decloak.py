"""A contact shows itself to whoever asks, in every spelling, at once, and tells no lies."""

import pytest

import prosody
from client import CAPS, DECLOAK, DISCO, MESSAGE, caps_hash
from gateway import CONTACT
from jingle_sdp import ICE, JINGLE, RTP, tag

# What each client that we know of looks for before it shows its call button.
WANTED = {JINGLE, RTP, ICE, MESSAGE, "urn:xmpp:jingle:apps:rtp:audio", "urn:xmpp:jingle:apps:dtls:0", CAPS, DISCO}


@pytest.mark.parametrize("contact", [CONTACT, f"romeo\\40example.net@{prosody.GATEWAY}", f"romeo%example.net@{prosody.GATEWAY}"])
@pytest.mark.parametrize("spelling", DECLOAK)
async def test_decloak(gateway, alice, contact, spelling):
    async with alice:
        gateway("sip:127.0.0.1:9")
        presence, took = await alice.decloak(contact, spelling)
        assert took < 0.1
        assert presence.sender == f"{contact}/phone"
        caps = presence.xml.find(tag(CAPS, "c"))
        assert caps is not None and caps.get("hash") == "sha-1"
        for where in (presence.sender, contact):
            for node in (None, f"{caps.get('node')}#{caps.get('ver')}"):
                query = await alice.disco(where, node)
                assert query.get("node") == node
                assert caps_hash(query) == caps.get("ver")
                features = {f.get("var") for f in query.iter(tag(DISCO, "feature"))}
                assert features >= WANTED, WANTED - features
                kinds = {(i.get("category"), i.get("type")) for i in query.iter(tag(DISCO, "identity"))}
                assert ("gateway", "pstn") not in kinds


@pytest.mark.parametrize("prosody", [{"nagle": True}], indirect=True)
async def test_a_server_as_it_comes_does_not_slow_it_down(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9")
        _, took = await alice.decloak(CONTACT)
        assert took < 0.1


async def test_the_domain_says_that_it_is_a_gateway(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9")
        query = await alice.disco(prosody.GATEWAY)
        kinds = {(i.get("category"), i.get("type")) for i in query.iter(tag(DISCO, "identity"))}
        assert kinds >= {("gateway", "pstn"), ("gateway", "sip")}


async def test_a_call_works_without_decloak_and_without_subscription(gateway, sipp, alice):
    callee = sipp("answers")
    async with alice:
        gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT).establish()
        # stanza.js and Kaidan hang up when the contact goes away during a call.
        gone = [s for s in alice.seen if s.what == "presence-unavailable" and CONTACT in s.sender]
        assert not gone
        await call.hang_up()
        await callee.done()
