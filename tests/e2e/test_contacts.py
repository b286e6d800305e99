"""What a contact and the domain are to a client, asked by the plugins of slixmpp: cards, identity, registration, subscription."""

import pytest
from slixmpp.exceptions import IqError

import prosody
from gateway import CONTACT

SIP_CONTACT = f"romeo\\40example.net@{prosody.GATEWAY}"


async def test_cards_have_the_name_and_the_number(gateway, alice):
    """XEP-0054 and XEP-0292, as slixmpp reads them."""
    async with alice:
        gateway("sip:127.0.0.1:9")
        for plugin in ("xep_0054", "xep_0292"):
            alice.stream.register_plugin(plugin)
        for contact, name, number, uri in (
            (CONTACT, CONTACT.split("@")[0], CONTACT.split("@")[0], f"tel:{CONTACT.split('@')[0]}"),
            (SIP_CONTACT, "romeo@example.net", None, "sip:romeo@example.net"),
            (prosody.GATEWAY, "Phone", None, None),
        ):
            card = (await alice.stream["xep_0054"].get_vcard(jid=contact, cached=False))["vcard_temp"]
            assert card["FN"] == name
            assert [tel["NUMBER"] for tel in card["telephone_numbers"]] == ([number] if number else [])
            reply = await alice.iq(contact, "get", "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>")
            four = "{urn:ietf:params:xml:ns:vcard-4.0}"
            assert reply.findtext(f".//{four}fn/{four}text") == name
            assert [found.text for found in reply.iter(f"{four}uri")] == ([uri] if uri else [])
        # Nobody writes into somebody else's card.
        with pytest.raises(IqError) as refused:
            card = alice.stream["xep_0054"].make_vcard()
            card["FN"] = "Tybalt"
            await alice.stream["xep_0054"].publish_vcard(card, jid=CONTACT)
        assert refused.value.condition in ("not-allowed", "forbidden")


async def test_the_domain_is_a_gateway_that_needs_no_registration(gateway, alice):
    """XEP-0100 §4: what clients look for, and that they need no account: whoever may call needs none."""
    async with alice:
        gateway("sip:127.0.0.1:9")
        for plugin in ("xep_0030", "xep_0077"):
            alice.stream.register_plugin(plugin)
        info = (await alice.stream["xep_0030"].get_info(jid=prosody.GATEWAY))["disco_info"]
        kinds = {(category, kind) for category, kind, *_ in info["identities"]}
        assert kinds == {("gateway", "pstn"), ("gateway", "sip")}
        assert {"jabber:iq:gateway", "jid\\20escaping"} <= set(info["features"])
        assert "jabber:iq:register" not in info["features"]
        with pytest.raises(IqError) as refused:
            await alice.stream["xep_0077"].get_registration(jid=prosody.GATEWAY)
        assert refused.value.condition == "service-unavailable"
        contact = (await alice.stream["xep_0030"].get_info(jid=f"{CONTACT}/phone"))["disco_info"]
        assert {(category, kind) for category, kind, *_ in contact["identities"]} == {("client", "phone")}


async def test_the_domain_and_a_contact_approve_and_show_themselves(gateway, alice):
    """XEP-0100 §4.3, §5.1: into the roster by `subscribe`, and out of it again, without a word to anybody."""
    async with alice:
        gateway("sip:127.0.0.1:9")
        # RFC 6121 §2.1.6, §3.1.5: who has not asked for the roster is told of no approval.
        async def subscription(jid: str) -> str:
            roster = await alice.iq(alice.bare, "get", "<query xmlns='jabber:iq:roster'/>")
            return next((item.get("subscription") for item in roster.iter("{jabber:iq:roster}item") if item.get("jid") == jid), "")

        assert await subscription(CONTACT) == ""
        for jid in (prosody.GATEWAY, CONTACT):
            alice.send(f"<presence type='subscribe' to='{jid}'/>")
            await alice.will_see("presence-subscribed", sender=jid)
            shown = await alice.will_see("presence", sender=f"{jid}/phone")
            assert shown.xml.find("{http://jabber.org/protocol/caps}c") is not None
            assert await subscription(jid) == "to"
            alice.send(f"<presence type='subscribed' to='{jid}'/>")
            assert await subscription(jid) == "both"
            alice.send(f"<presence type='unsubscribe' to='{jid}'/>")
            assert await subscription(jid) == "from"
