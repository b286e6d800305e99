"""What MIX channels pass on, on both servers: presence, IQs, Jingle, messages. The numbers are those of the table in
docs/mix.md."""

import asyncio
import time
import xml.etree.ElementTree as ET

from client import OWN_CAPS
from jingle_sdp import JINGLE, tag
from mix import CHANNEL, CORE, LEGACY, PRESENCE, PUBSUB, NODES, Member, condition, config, show
from mix import either_server as prosody  # noqa: F401
from prosody import MIX

DISCO = "http://jabber.org/protocol/disco#info"
PING = "<ping xmlns='urn:xmpp:ping'/>"
TRUNK = "sip:127.0.0.1:9"


async def test_presence_is_shown_dumped_and_taken_back(gateway, prosody):
    """Checks 15, 16, 17, 18, 21 and 22."""
    async with Member(prosody, "alice") as alice, Member(prosody, "alice") as second, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        of_alice, of_bob = await alice.join(), await bob.join()
        bob.stream.register_plugin("xep_0403")
        events = []
        bob.stream.add_event_handler("mix_presence", events.append)
        spoof = f"<mix xmlns='{PRESENCE}'><nick>King</nick></mix>"
        alice.show_up(f"{spoof}<show>dnd</show><status>brewing</status>{OWN_CAPS}")
        seen = await bob.will_hear_presence(f"{of_alice}/{alice.resource}")
        for ns in (PRESENCE, LEGACY):
            (mix,) = seen.findall(tag(ns, "mix"))
            assert mix.findtext(tag(ns, "jid")) == alice.full and mix.findtext(tag(ns, "nick")) == "Alice"
        assert {child.text for child in seen} >= {"dnd", "brewing"}
        assert seen.find(tag("http://jabber.org/protocol/caps", "c")) is not None
        for _ in range(200):
            if events:
                break
            await asyncio.sleep(0.1)
        assert str(events[0]["mix"]["jid"]) == alice.full and events[0]["mix"]["nick"] == "Alice"

        second.show_up()
        await bob.will_hear_presence(f"{of_alice}/{second.resource}")
        start = time.monotonic()
        alice.show_up(f"<show>dnd</show><status>brewing</status>{OWN_CAPS}")
        await alice.quiet()
        await bob.quiet()
        assert not [x for at, x in bob.heard if at >= start and x.get("from") == f"{of_alice}/{alice.resource}"]

        reply = await bob.ask(CHANNEL, "get", f"<pubsub xmlns='{PUBSUB}'><items node='{NODES}presence'/></pubsub>")
        assert condition(reply) == "not-allowed"

        await bob.leave()
        start = time.monotonic()
        await bob.join()
        for member in (alice, second):
            await bob.will_hear_presence(f"{of_alice}/{member.resource}", after=start)

        second.show_up(kind="unavailable")
        await bob.will_hear_presence(f"{of_alice}/{second.resource}", "unavailable")
        # The connection is cut without a word.
        alice.stream.transport.abort()
        await bob.will_hear_presence(f"{of_alice}/{alice.resource}", "unavailable")
        assert of_bob != of_alice


async def test_iqs_go_both_ways(gateway, prosody):
    """Checks 23, 24, 25, 27, 28, 30 and 31."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        e_alice, e_bob = await alice.join(), await bob.join()
        full_alice, full_bob = f"{e_alice}/{alice.resource}", f"{e_bob}/{bob.resource}"
        for asker, to, sender in ((alice, full_bob, full_alice), (bob, full_alice, full_bob)):
            reply = await asker.granted(to, "get", PING)
            assert reply.get("from") == to
            other = bob if asker is alice else alice
            asked = await other.will_hear(lambda xml: xml.get("type") == "get" and xml.get("from") == sender)
            assert asked.get("id") == reply.get("id") and asked.get("to") == other.full

        vcard = "<vCard xmlns='vcard-temp'><FN>Bob</FN></vCard>"
        saved = await bob.ask(bob.bare, "set", vcard)
        reply = await alice.ask(full_bob, "get", "<vCard xmlns='vcard-temp'/>")
        if saved.get("type") == "result":
            assert reply.get("type") == "result" and reply.get("from") == full_bob, show(reply)
            assert reply.findtext(".//{vcard-temp}FN") == "Bob"
        else:
            assert condition(reply) == condition(saved), "the server has no vCards, and says so"

        direct = await alice.disco(bob.full, node="https://offhook.invalid/e2e#x")
        relayed = await alice.disco(full_bob, node="https://offhook.invalid/e2e#x")
        assert ET.canonicalize(show(direct)) == ET.canonicalize(show(relayed))
        assert (await alice.granted(full_alice, "get", PING)).get("from") == full_alice

        # The same id to one client at once, the answer to the first held back.
        ping = tag("urn:xmpp:ping", "ping")
        bob.answers[ping] = None
        for _ in range(2):
            alice.send(f"<iq type='get' to='{full_bob}' id='same'>{PING}</iq>")

        def pings():
            return [x for _, x in bob.heard if x.get("from") == full_alice and x.find(ping) is not None]

        before = len(pings())
        await bob.will_hear(lambda _: len(pings()) >= max(before, 3))
        for asked in pings()[-2:]:
            bob.send(f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'/>")
        await alice.will_hear(
            lambda _: len([x for _, x in alice.heard if x.get("id") == "same" and x.get("type") == "result"]) == 2
        )
        bob.answers[ping] = ""

        reply = await alice.ask(f"{e_bob}/gone", "get", PING)
        assert condition(reply) == "service-unavailable" and reply.get("from") == f"{e_bob}/gone"
        direct = await alice.ask(f"{bob.bare}/gone", "get", PING)
        assert condition(direct) == condition(reply)
        assert await alice.refused(f"0000#{CHANNEL}/x", "get", PING) == "item-not-found"
        assert await alice.refused(f"0000#nowhere@{MIX}/x", "get", PING) == "item-not-found"
        for odd in (f"#{CHANNEL}", f"#@{MIX}", f"x#@{MIX}"):
            assert await alice.refused(odd, "get", PING) == "item-not-found"
        assert await alice.refused(full_bob, "get", "<query xmlns='jabber:iq:roster'/>") == "not-allowed"
        assert await alice.refused(full_bob, "set", "<x xmlns='urn:example:unlisted'/>") == "not-allowed"
        assert await alice.refused(full_bob, "get", f"{PING}{PING}") == "bad-request"
        assert await alice.refused(full_bob, "get", "") == "bad-request"
        await bob.leave()
        assert await bob.refused(full_alice, "get", PING) == "forbidden"
        await alice.quiet()


async def test_jingle_and_private_messages_between_clients(gateway, prosody):
    """Checks 26 and 35."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        e_alice, e_bob = await alice.join(), await bob.join()
        full_alice, full_bob = f"{e_alice}/{alice.resource}", f"{e_bob}/{bob.resource}"
        jingle = tag(JINGLE, "jingle")
        steps = (
            (alice, bob, full_bob, full_alice, "session-initiate", f"initiator='{alice.full}'"),
            (bob, alice, full_alice, full_bob, "session-accept", f"responder='{bob.full}'"),
            (alice, bob, full_bob, full_alice, "transport-info", ""),
            (bob, alice, full_alice, full_bob, "session-terminate", ""),
        )
        for sender, receiver, to, seen_as, action, party in steps:
            jingle_xml = f"<jingle xmlns='{JINGLE}' action='{action}' sid='s1' {party}/>"
            reply = await sender.granted(to, "set", jingle_xml)
            assert reply.get("from") == to, "the acknowledgement"
            got = await receiver.will_hear(
                lambda xml: xml.find(jingle) is not None and xml.find(jingle).get("action") == action
            )
            assert got.get("from") == seen_as
            for word in ("initiator", "responder"):
                assert got.find(jingle).get(word) in (None, seen_as)

        propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='s2'/>"
        for sender, receiver, to, seen_as in ((alice, bob, e_bob, full_alice), (bob, alice, full_alice, full_bob)):
            sender.send(f"<message type='chat' to='{to}' id='p{sender.bare[0]}'>{propose}</message>")
            got = await receiver.will_hear(lambda xml: xml.get("id") == f"p{sender.bare[0]}")
            assert got.get("from") == seen_as and got.find("{urn:xmpp:jingle-message:0}propose") is not None


async def test_a_hidden_channel_tells_nobody(gateway, prosody):
    """Check 32: whatever bob receives has neither alice's name nor her resource in it."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        # A third one owns it, so that alice has no more rights than bob.
        gateway(TRUNK, more=config(owner="carol@localhost").replace("phones =", "hidden = true\nphones ="))
        start = time.monotonic()
        e_alice, e_bob = await alice.join("First"), await bob.join("Second")
        alice.show_up(f"<status>here</status><delay xmlns='urn:xmpp:delay' from='{alice.full}' stamp='2026-01-01T00:00:00Z'/>")
        bob.show_up()

        def shown_by(encoded):
            return lambda xml: xml.tag.endswith("}presence") and xml.get("from", "").startswith(f"{encoded}/")

        shown = (await bob.will_hear(shown_by(e_alice))).get("from")
        other = (await alice.will_hear(shown_by(e_bob))).get("from")
        assert (await bob.granted(shown, "get", PING)).get("from") == shown
        assert await bob.refused(f"{e_alice}/guess", "get", PING) == "service-unavailable"
        assert await bob.refused(e_alice, "get", "<vCard xmlns='vcard-temp'/>") == "forbidden"
        jingle = f"<jingle xmlns='{JINGLE}' action='session-initiate' sid='s' initiator='{alice.full}'/>"
        await alice.granted(other, "set", jingle)
        alice.send(f"<message type='chat' id='pm' to='{e_bob}'><body>hi</body></message>")
        await bob.will_hear(lambda xml: xml.get("id") == "pm")
        query = f"<pubsub xmlns='{PUBSUB}'><items node='{NODES}%s'/></pubsub>"
        await bob.granted(CHANNEL, "get", query % "participants")
        assert await bob.refused(CHANNEL, "get", query % "jidmap") == "forbidden"
        alice.show_up("<show>away</show>")
        await bob.will_hear(lambda xml: shown_by(e_alice)(xml) and any(c.text == "away" for c in xml))
        alice.show_up(kind="unavailable")
        await bob.will_hear_presence(shown, "unavailable")
        await alice.leave()
        await bob.quiet()
        heard = [show(xml) for at, xml in bob.heard if at >= start]
        assert len(heard) >= 10
        for stanza in heard:
            assert "alice" not in stanza.lower() and alice.resource not in stanza, stanza
