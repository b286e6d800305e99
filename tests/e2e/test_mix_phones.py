"""Telephones in MIX channels, on Prosody. The numbers are those of the table in docs/mix.md."""

import time

from gateway import CONTACT, NUMBER
from jingle_sdp import JINGLE, tag
from mix import CHANNEL, MISC, Member, config, show, talk
from test_mix import CONFIG, phone_of_channel

COMMANDS = "http://jabber.org/protocol/commands"


def is_phone(xml) -> bool:
    """True of the presence of a telephone: nobody else here has capabilities of its kind."""
    caps = xml.find(tag("http://jabber.org/protocol/caps", "c"))
    return xml.tag.endswith("}presence") and xml.get("type") is None and caps is not None and (
        caps.get("node", "").endswith("/caps")
    )


async def phone_in_channel(member: Member) -> str:
    """The full encoded JID of the telephone, once it is there."""
    return (await member.will_hear(is_phone)).get("from")


async def test_a_phone_in_a_hidden_channel(gateway, phone, prosody):
    """Check 39: no number on the XMPP side, no caller on the SIP side."""
    hidden = config(owner="bob@localhost", phones=(NUMBER,)).replace("phones =", "hidden = true\nphones =")
    async with phone(hz=660, codecs=["PCMU"]) as callee, Member(prosody, "alice") as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=hidden)
        start = time.monotonic()
        await alice.join("Somebody")
        full = await phone_in_channel(alice)
        query = await alice.disco(full)
        assert JINGLE in {feature.get("var") for feature in query.iter() if feature.get("var")}
        call = alice.call(full.split("/")[0], hz=440)
        incoming = await callee.will_say("CALL_INCOMING")
        assert "anonymous" in incoming["peeruri"], incoming
        for word in ("alice", alice.resource):
            assert word not in str(incoming), incoming
        await call.sees("ringing")
        await callee.command("accept")
        await call.establish()
        await callee.will_say("CALL_ESTABLISHED")
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")
        await alice.quiet()
        for at, xml in alice.heard:
            assert at < start or NUMBER[1:] not in show(xml), show(xml)


async def test_a_phone_is_invited_and_leaves_with_its_call(gateway, phone, prosody):
    """Check 40: by a message to its contact; banning it ends its call on both sides."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=config())
        await alice.join()
        await bob.join()

        async def invited_by(member: Member) -> str:
            start = time.monotonic()
            member.send(
                f"<message to='{CONTACT}' id='i{member.bare}'><invitation xmlns='{MISC}'><inviter>{member.bare}</inviter>"
                f"<invitee>{CONTACT}</invitee><channel>{CHANNEL}</channel><token/></invitation></message>"
            )
            ack = await member.will_hear(lambda xml: xml.find(tag(MISC, "invitation-ack")) is not None, after=start)
            return ack.find(tag(MISC, "invitation-ack")).findtext(tag(MISC, "value"))

        assert await invited_by(bob) == "Declined", "bob is no admin, and the channel has not opened invitations"
        assert await invited_by(alice) == "Joined"
        full = await phone_in_channel(bob)
        call = bob.call(full.split("/")[0], hz=440)
        await callee.will_say("CALL_INCOMING")
        await callee.command("accept")
        await call.establish()
        await callee.will_say("CALL_ESTABLISHED")
        reply = await alice.publish("banned", f"<item id='{CONTACT}'/>")
        assert reply.get("type") == "result", show(reply)
        ended = await call.sees("session-terminate", reason="gone")
        assert ended.sender == full
        await callee.will_say("CALL_CLOSED")
        await bob.will_hear_presence(full, "unavailable")
        await offhook.will_have_ended("peer-gone")


async def test_who_leaves_in_a_call_hears_its_end(gateway, phone, prosody):
    """Check 40: the caller leaves the channel while it talks to the phone."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, Member(prosody, "alice") as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=CONFIG)
        await alice.join()
        number = await phone_of_channel(alice)
        call = alice.call(number, hz=440)
        await callee.will_say("CALL_INCOMING")
        await callee.command("accept")
        await call.establish()
        await callee.will_say("CALL_ESTABLISHED")
        await alice.leave()
        ended = await call.sees("session-terminate", reason="gone")
        assert ended.sender == f"{number}/phone"
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("peer-gone")


async def test_a_command_brings_a_phone_in(gateway, phone, prosody):
    """Checks 38 and 40: by a command (XEP-0050) to the channel, and then there is a call with sound."""
    async with phone(hz=660, codecs=["PCMU"]) as callee, Member(prosody, "alice") as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=config())
        await alice.join()
        listed = await alice.granted(
            CHANNEL, "get", f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>"
        )
        assert {"add-phone", "remove-phone"} == {item.get("node") for item in listed.iter() if item.get("name")}
        command = f"<command xmlns='{COMMANDS}' node='%s' action='%s' %s>%s</command>"
        reply = await alice.granted(CHANNEL, "set", command % ("add-phone", "execute", "", ""))
        asked = reply.find(tag(COMMANDS, "command"))
        assert asked.get("status") == "executing" and asked.find("{jabber:x:data}x") is not None
        form = f"<x xmlns='jabber:x:data' type='submit'><field var='number'><value>{NUMBER}</value></field></x>"
        session = f"sessionid='{asked.get('sessionid')}'"
        reply = await alice.granted(CHANNEL, "set", command % ("add-phone", "complete", session, form))
        assert reply.find(tag(COMMANDS, "command")).get("status") == "completed"
        full = await phone_in_channel(alice)
        await talk(alice, full.split("/")[0], callee)
        await offhook.will_have_ended("hangup")
        await alice.granted(CHANNEL, "set", command % ("remove-phone", "execute", "", form))
        await alice.will_hear_presence(full, "unavailable")
