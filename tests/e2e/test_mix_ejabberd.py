"""MIX with a server that takes part for its users (XEP-0405): ejabberd's mod_mix_pam, and its own mod_mix as a foreign
service. The numbers are those of the table in docs/mix.md."""

import time

import pytest

from ejabberd import Ejabberd
from gateway import CONTACT
from jingle_sdp import tag
from mix import CHANNEL, CORE, EVENT, MISC, PAM, USUAL, Member, condition, config, joining, retracted, show
from prosody import DOMAIN

TRUNK = "sip:127.0.0.1:9"
FOREIGN = f"mix-of-ejabberd.{DOMAIN}"
MODULES = f"""  mod_mam:
    default: never
  mod_mix:
    host: "{FOREIGN}"
  mod_mix_pam: {{}}
"""
ROSTER = "urn:xmpp:mix:roster:0"
KNOWS = 'ejabberd_domains = ["localhost"]'


@pytest.fixture
def prosody(tmp_path):
    """What the other fixtures call the server."""
    server = Ejabberd(tmp_path / "ejabberd", modules=MODULES)
    yield server
    server.stop()


async def client_join(member: Member, nick: str | None, channel: str = CHANNEL, nodes=USUAL):
    join = joining(nick, nodes)
    return await member.ask(member.bare, "set", f"<client-join xmlns='{PAM}' channel='{channel}'>{join}</client-join>")


async def roster(member: Member) -> dict[str, str]:
    """The stable ids of the channels in a roster, by their JIDs."""
    query = f"<query xmlns='jabber:iq:roster'><annotate xmlns='{ROSTER}'/></query>"
    reply = await member.granted(member.bare, "get", query)
    items = reply.iter("{jabber:iq:roster}item")
    known = {item.get("jid"): item.find(tag(ROSTER, "channel")) for item in items}
    return {jid: channel.get("participant-id") for jid, channel in known.items() if channel is not None}


async def test_joining_through_the_server(gateway, prosody):
    """Checks 4, 8, 9, 12, 15 and 34."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config(more=KNOWS))
        reply = await client_join(alice, "Alice")
        assert reply.get("type") == "result", show(reply)
        ident = (await roster(alice))[CHANNEL]
        assert {item.get("id") for item in await alice.items("participants")} == {ident}
        # The server drops what it does not know; what is wrong comes back as its condition.
        assert condition(await client_join(bob, None)) == "not-acceptable"
        assert condition(await client_join(bob, "aLICE")) == "conflict"
        await alice.publish("banned", "<item id='bob@localhost'/>")
        assert condition(await client_join(bob, "Bob")) == "not-allowed"
        await alice.granted(
            CHANNEL,
            "set",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><purge node='urn:xmpp:mix:nodes:banned'/></pubsub>",
        )
        reply = await client_join(bob, "Bob")
        assert reply.get("type") == "result", show(reply)
        of_bob = (await roster(bob))[CHANNEL]

        # Each presence of a user goes to its channels.
        alice.send("<presence><show>dnd</show></presence>")
        await bob.will_hear_presence(f"{ident}#{CHANNEL}/{alice.resource}")

        alice.send(f"<message type='groupchat' id='g1' to='{CHANNEL}'><body>to all</body>"
                   "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>")
        for member in (alice, bob):
            got = await member.will_hear(lambda xml: xml.get("type") == "groupchat")
            assert got.get("from") == f"{CHANNEL}/{ident}" and got.findtext("{jabber:client}body") == "to all"
            stanza_id = got.find("{urn:xmpp:sid:0}stanza-id")
            assert got.get("id") == stanza_id.get("id") != "g1" and stanza_id.get("by") == CHANNEL
            assert got.find("{urn:xmpp:sid:0}origin-id").get("id") == "o1"
            assert got.find(tag(CORE, "mix")).findtext(tag(CORE, "nick")) == "Alice"
        # The server never answers its client that leaves, whoever the service is; the leave is done all the same.
        bob.send(f"<iq type='set' id='cl' to='{bob.bare}'><client-leave xmlns='{PAM}' channel='{CHANNEL}'>"
                 f"<leave xmlns='{CORE}'/></client-leave></iq>")
        await alice.will_hear(retracted(of_bob))
        bob.send(f"<message type='groupchat' id='g2' to='{CHANNEL}'><body>still there?</body></message>")
        assert condition(await bob.will_hear(lambda xml: xml.get("id") == "g2")) == "forbidden"


async def test_a_phone_joins_a_channel_of_another_service(gateway, prosody):
    """Check 41: our contact takes part in a channel of ejabberd's own service."""
    channel = f"coven@{FOREIGN}"
    async with Member(prosody, "alice") as alice:
        gateway(TRUNK)
        await alice.granted(FOREIGN, "set", f"<create xmlns='{CORE}' channel='coven'/>")
        reply = await alice.granted(channel, "set", joining("Alice", ("messages", "participants")))
        assert reply.find(tag(CORE, "join")) is not None
        start = time.monotonic()
        alice.send(
            f"<message to='{CONTACT}' id='i1'><invitation xmlns='{MISC}'><inviter>{alice.bare}</inviter>"
            f"<invitee>{CONTACT}</invitee><channel>{channel}</channel><token/></invitation></message>"
        )
        ack = await alice.will_hear(lambda xml: xml.find(tag(MISC, "invitation-ack")) is not None, after=start)
        assert ack.find(tag(MISC, "invitation-ack")).findtext(tag(MISC, "value")) == "Joined", show(ack)
        query = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:mix:nodes:participants'/></pubsub>"
        participants = show(await alice.granted(channel, "get", query))
        assert CONTACT in participants and alice.bare in participants
        news = await alice.will_hear(lambda xml: CONTACT in show(xml) and xml.find(tag(EVENT, "event")) is not None)
        assert news.get("from").startswith(channel)
