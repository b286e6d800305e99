"""MIX channels on both servers: discovery, channels, joining, nicks, subscriptions, settings. The numbers are those of
the table in docs/mix.md."""

import time

from jingle_sdp import tag
from mix import (ADMIN, ANON, CHANNEL, CORE, EVENT, MISC, NODES, PUBSUB, USUAL, Member, condition, config, form, joining,
                 retracted, show)
from mix import either_server as prosody  # noqa: F401
from prosody import MIX

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
TRUNK = "sip:127.0.0.1:9"


def features(reply) -> set[str]:
    return {feature.get("var") for feature in reply.iter(tag(INFO, "feature"))}


async def test_discovery_and_the_life_of_channels(gateway, prosody):
    """Checks 1, 2 and 3."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config(owner="bob@localhost").replace('["localhost"]', '["alice@localhost"]'))
        reply = await alice.granted(MIX, "get", f"<query xmlns='{INFO}'/>")
        identity = reply.find(f".//{tag(INFO, 'identity')}")
        assert (identity.get("category"), identity.get("type")) == ("conference", "mix")
        assert {CORE, f"{CORE}#searchable", f"{CORE}#create-channel"} <= features(reply)
        assert not {f for f in features(reply) if "mam" in f or "pubsub" in f}
        assert f"{CORE}#create-channel" not in features(await bob.granted(MIX, "get", f"<query xmlns='{INFO}'/>"))
        assert await bob.refused(MIX, "set", f"<create xmlns='{CORE}' channel='coven'/>") == "not-allowed"

        create = f"<create xmlns='{CORE}' channel='coven'/>"
        reply = await alice.granted(MIX, "set", create)
        assert reply.find(tag(CORE, "create")).get("channel") == "coven"
        assert await alice.refused(MIX, "set", create) == "conflict"
        unnamed = await alice.granted(MIX, "set", f"<create xmlns='{CORE}'/>")
        unnamed = unnamed.find(tag(CORE, "create")).get("channel")
        listed = await bob.granted(MIX, "get", f"<query xmlns='{ITEMS}'/>")
        jids = {item.get("jid") for item in listed.iter(tag(ITEMS, "item"))}
        assert jids == {f"coven@{MIX}", CHANNEL}, "the one without a name is not listed"
        assert await alice.join(channel=f"{unnamed}@{MIX}")

        assert CORE in features(await bob.granted(CHANNEL, "get", f"<query xmlns='{INFO}'/>"))
        nodes = await bob.granted(CHANNEL, "get", f"<query xmlns='{ITEMS}' node='mix'/>")
        nodes = {item.get("node") for item in nodes.iter(tag(ITEMS, "item"))}
        assert {f"{NODES}{node}" for node in USUAL} <= nodes
        assert await bob.refused(CHANNEL, "get", f"<query xmlns='{ITEMS}'/>") == "item-not-found"
        for query in (f"<query xmlns='{INFO}'/>", f"<query xmlns='{ITEMS}' node='mix'/>"):
            assert await bob.refused(f"nowhere@{MIX}", "get", query) == "item-not-found"

        shown = f"{await alice.join(channel=f'coven@{MIX}')}/{alice.resource}"
        await bob.join(channel=f"coven@{MIX}")
        alice.show_up(channel=f"coven@{MIX}")
        await bob.will_hear_presence(shown)
        destroy = f"<destroy xmlns='{CORE}' channel='coven'/>"
        assert await bob.refused(MIX, "set", destroy) == "not-allowed"
        await alice.granted(MIX, "set", destroy)
        await bob.will_hear_presence(shown, "unavailable")
        await bob.will_hear(lambda xml: xml.find(f"{tag(EVENT, 'event')}/{tag(EVENT, 'delete')}") is not None)
        assert await alice.refused(MIX, "set", destroy) == "item-not-found"


async def test_joining_and_leaving(gateway, prosody):
    """Checks 6 to 14, by clients that join by themselves."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        reply = await alice.granted(CHANNEL, "set", joining("Alice", ("messages", "jidmap", "avatar", "config", "no")))
        granted = {s.get("node") for s in reply.iter(tag(CORE, "subscribe"))}
        assert granted == {f"{NODES}messages", f"{NODES}config"}, "alice is the owner"
        assert await bob.refused(CHANNEL, "set", joining("Bob", ("no",))) == "item-not-found"
        assert await bob.refused(CHANNEL, "set", joining("Bob", ("config",))) == "forbidden"
        assert await bob.refused(CHANNEL, "set", joining(None)) == "not-acceptable"
        error = await bob.ask(CHANNEL, "set", joining(" ALICE "))
        assert condition(error) == "conflict" and len(error) == 1, show(error)
        assert await bob.refused(f"nowhere@{MIX}", "set", joining("Bob")) == "item-not-found"
        of_alice = await alice.join(nodes=USUAL)
        of_bob = await bob.join(nodes=())
        assert of_bob == await bob.join(nodes=USUAL), "joining twice changes nothing"

        ident = of_bob.split("#")[0]
        news = await alice.will_hear(lambda xml: any(i.get("id") == ident for i in xml.iter(tag(EVENT, "item"))))
        told = news.find(f".//{tag(CORE, 'participant')}")
        assert told.findtext(tag(CORE, "nick")) == "Bob" and told.findtext(tag(CORE, "jid")) == "bob@localhost"
        items = {item.get("id"): item.find(tag(CORE, "participant")) for item in await bob.items("participants")}
        assert set(items) == {ident, of_alice.split("#")[0]}
        assert show(items[ident]) == show(told)

        reply = await alice.ask(f"{of_bob.upper().replace(MIX.upper(), MIX)}", "get", "<vCard xmlns='vcard-temp'/>")
        assert condition(reply) != "item-not-found" if reply.get("type") == "error" else True, "ids stand case folding"

        bob.show_up()
        shown = f"{of_bob}/{bob.resource}"
        await alice.will_hear_presence(shown)
        nick = f"<setnick xmlns='{CORE}'><nick>%s</nick></setnick>"
        assert await bob.refused(CHANNEL, "set", nick % "alice") == "conflict"
        start = time.monotonic()
        reply = await bob.granted(CHANNEL, "set", nick % "Robert")
        assert reply.findtext(f".//{tag(CORE, 'nick')}") == "Robert"
        again = await alice.will_hear_presence(shown, after=start)
        assert again.findtext(f".//{{urn:xmpp:mix:presence:0}}nick") == "Robert"

        update = f"<update-subscription xmlns='{CORE}'><%s node='{NODES}presence'/></update-subscription>"
        reply = await alice.granted(CHANNEL, "set", update % "unsubscribe")
        assert reply.find(tag(CORE, "update-subscription")).get("jid") == "alice@localhost"
        start = time.monotonic()
        bob.show_up("<show>away</show>")
        await bob.quiet()
        await alice.quiet()
        assert not [x for at, x in alice.heard if at >= start and x.get("from") == shown]
        await alice.granted(CHANNEL, "set", update % "subscribe")
        dumped = await alice.will_hear_presence(shown, after=start)
        assert any(child.text == "away" for child in dumped)

        await bob.leave()
        await alice.will_hear_presence(shown, "unavailable", after=start)
        await alice.will_hear(retracted(ident))
        await bob.leave()
        assert await bob.refused(CHANNEL, "set", nick % "Bob") == "forbidden"
        start = time.monotonic()
        alice.show_up("<show>xa</show>")
        await alice.quiet()
        await bob.quiet()
        assert not [x for at, x in bob.heard if at >= start and x.get("from", "").startswith(of_alice)]
        assert await bob.join() == of_bob, "who comes back has the same id"


async def test_settings_lists_and_preferences(gateway, prosody):
    """Checks 9, 33 and 37."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        await alice.join(nodes=(*USUAL, "config", "banned"))
        of_bob = await bob.join()
        assert condition(await bob.publish("config", f"<item>{form(ADMIN, {'Mandatory Nicks': '0'})}</item>")) == "forbidden"
        assert condition(await alice.publish("config", f"<item>{form(ADMIN, {'Owner': ''})}</item>")) == "not-acceptable"
        await alice.configure(Mandatory_Nicks="false")
        await alice.will_hear(lambda xml: any("config" in i.get("node", "") for i in xml.iter(tag(EVENT, "items"))))
        (item,) = await alice.items("config")
        told = {f.get("var"): [v.text for v in f] for f in item.iter("{jabber:x:data}field")}
        assert told["Mandatory Nicks"] == ["false"] and told["Private Messages"] == ["true"]
        assert told["Last Change Made By"] == ["alice@localhost"]
        assert condition(await bob.publish("info", f"<item>{form(CORE, {'Name': 'Mine'})}</item>")) == "forbidden"
        reply = await alice.publish("info", f"<item>{form(CORE, {'Name': 'The Coven'})}</item>")
        assert reply.get("type") == "result"
        (item,) = await bob.items("info")
        assert "The Coven" in show(item)

        preference = f"<user-preference xmlns='{ANON}'>%s</user-preference>"
        reply = await bob.granted(CHANNEL, "get", preference % "")
        assert reply.find(f".//{{jabber:x:data}}x").get("type") == "form"
        reply = await bob.granted(CHANNEL, "set", preference % form(ANON, {"Private Messages": "block"}))
        told = {f.get("var"): [v.text for v in f] for f in reply.iter("{jabber:x:data}field")}
        assert told["Private Messages"] == ["block"] and len(told) == 5
        alice.send(f"<message type='chat' id='pm' to='{of_bob}'><body>hi</body></message>")
        bounce = await alice.will_hear(lambda xml: xml.get("id") == "pm")
        assert condition(bounce) == "not-allowed"
        assert await bob.refused(CHANNEL, "set", preference % form(ANON, {"JID Visibility": "never"})) == "not-allowed"

        bob.show_up()
        await alice.will_hear_presence(f"{of_bob}/{bob.resource}")
        reply = await alice.publish("banned", "<item id='bob@localhost'/>")
        assert reply.get("type") == "result", show(reply)
        await alice.will_hear(retracted(of_bob.split("#")[0]))
        await alice.will_hear_presence(f"{of_bob}/{bob.resource}", "unavailable")
        assert await bob.refused(CHANNEL, "set", joining("Bob")) == "not-allowed"
        purge = f"<pubsub xmlns='{PUBSUB}#owner'><purge node='{NODES}banned'/></pubsub>"
        await alice.granted(CHANNEL, "set", purge)
        assert await bob.join() == of_bob


async def test_invitations_open_a_closed_channel(gateway, prosody):
    """Check 9: who is not on the list needs a token of somebody who may give one."""
    async with Member(prosody, "alice") as alice, Member(prosody, "bob") as bob:
        gateway(TRUNK, more=config())
        await alice.publish("allowed", "<item id='alice@localhost'/>")
        assert await bob.refused(CHANNEL, "set", joining("Bob")) == "not-allowed"
        invite = f"<invite xmlns='{MISC}'><invitee>bob@localhost</invitee></invite>"
        assert await bob.refused(CHANNEL, "get", invite) == "not-allowed"
        reply = await alice.granted(CHANNEL, "get", invite)
        token = reply.find(f"{tag(MISC, 'invite')}/{tag(MISC, 'invitation')}").findtext(tag(MISC, "token"))
        invitation = (
            f"<invitation xmlns='{MISC}'><inviter>alice@localhost</inviter><invitee>bob@localhost</invitee>"
            f"<channel>{CHANNEL}</channel><token>%s</token></invitation>"
        )
        assert await bob.refused(CHANNEL, "set", joining("Bob", more=invitation % "guess")) == "not-allowed"
        await bob.join(more=invitation % token)
        assert {item.get("id") for item in await alice.items("allowed")} == {"alice@localhost", "bob@localhost"}
