"""MIX channels: people and a telephone in one, on a server that knows no MIX itself."""

import xml.etree.ElementTree as ET

from client import DISCO, OWN_CAPS, Client
from gateway import NUMBER
from jingle_sdp import JINGLE, tag
from mix import talk
from prosody import MIX, USERS

CORE = "urn:xmpp:mix:core:1"
PRESENCE = "urn:xmpp:mix:presence:0"
LEGACY = "urn:xmpp:presence:0"
PUBSUB = "http://jabber.org/protocol/pubsub"
PARTICIPANTS = "urn:xmpp:mix:nodes:participants"
CHANNEL = f"support@{MIX}"
CONFIG = f"""
[mix]
domain = "{MIX}"
create = ["localhost"]

[[mix.channel]]
name = "support"
owner = ["alice@localhost"]
phones = ["{NUMBER}"]
"""


async def join(client, nick: str) -> str:
    """Joins as clients do without a server's help (a join from a full JID); the encoded JID."""
    nodes = "".join(f"<subscribe node='urn:xmpp:mix:nodes:{n}'/>" for n in ("messages", "participants", "presence"))
    reply = await client.iq(CHANNEL, "set", f"<join xmlns='{CORE}'>{nodes}<nick>{nick}</nick></join>")
    assert reply.get("type") == "result", ET.tostring(reply)
    return f"{reply.find(tag(CORE, 'join')).get('id')}#{CHANNEL}"


async def phone_of_channel(client) -> str:
    """The encoded JID of the number, from the list of participants."""
    reply = await client.iq(CHANNEL, "get", f"<pubsub xmlns='{PUBSUB}'><items node='{PARTICIPANTS}'/></pubsub>")
    for item in reply.iter(tag(PUBSUB, "item")):
        if item.findtext(f".//{tag(CORE, 'jid')}").startswith(NUMBER):
            return f"{item.get('id')}#{CHANNEL}"
    raise AssertionError(ET.tostring(reply))


async def test_participants_see_and_reach_each_other(gateway, prosody, alice):
    """Checks 6, 15, 17, 23 and 25 of the acceptance list, on a server without MIX."""
    bob = Client(prosody.c2s, "bob", USERS["bob"])
    async with alice, bob:
        gateway("sip:127.0.0.1:9", more=CONFIG)
        of_alice, of_bob = await join(alice, "Alice"), await join(bob, "Bob")
        alice.send(f"<presence to='{CHANNEL}'><status>here</status>{OWN_CAPS}</presence>")
        shown = f"{of_alice}/{alice.full.split('/')[1]}"
        seen = await bob.will_see("presence", sender=shown)
        for ns in (PRESENCE, LEGACY):
            assert seen.xml.findtext(f"{tag(ns, 'mix')}/{tag(ns, 'jid')}") == alice.full
            assert seen.xml.findtext(f"{tag(ns, 'mix')}/{tag(ns, 'nick')}") == "Alice"
        assert any(child.text == "here" for child in seen.xml)
        query = await bob.disco(shown)
        assert JINGLE in {feature.get("var") for feature in query.iter(tag(DISCO, "feature"))}
        refused = await bob.iq(f"{of_alice}/nobody", "get", "<ping xmlns='urn:xmpp:ping'/>")
        assert refused.get("type") == "error" and refused.get("from") == f"{of_alice}/nobody"
        assert of_bob != of_alice
        await alice.stream.disconnect(wait=1)
        await bob.will_see("presence-unavailable", sender=shown)


async def test_a_phone_in_a_channel_is_called(gateway, phone, alice):
    """Check 38: everything that the client receives of the call comes from the encoded JID."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=CONFIG)
        await join(alice, "Alice")
        number = await phone_of_channel(alice)
        seen = await alice.will_see("presence", sender=f"{number}/phone")
        assert seen.xml.find(tag("http://jabber.org/protocol/caps", "c")) is not None
        query = await alice.disco(f"{number}/phone")
        assert JINGLE in {feature.get("var") for feature in query.iter(tag(DISCO, "feature"))}
        await talk(alice, number, callee)
        await offhook.will_have_ended("hangup")
