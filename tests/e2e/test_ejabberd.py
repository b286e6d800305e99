"""What ejabberd in the place of Prosody might do otherwise; the calls over it are in test_call.py and test_chromium.py."""

import pytest

from ejabberd import Ejabberd
from gateway import CONTACT, OUR_NUMBER


@pytest.fixture
def prosody(tmp_path):
    """What the other fixtures call the server."""
    server = Ejabberd(tmp_path / "ejabberd")
    yield server
    server.stop()


async def test_presence_and_caps_come_through_ejabberd(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9")
        presence, _ = await alice.decloak(CONTACT)
        assert presence.sender == f"{CONTACT}/phone"
        features = {f.get("var") for f in (await alice.disco(presence.sender)).iter() if f.get("var")}
        assert "urn:xmpp:jingle-message:0" in features


async def test_texts_come_through_ejabberd(gateway, phone, alice):
    async with phone() as romeo, alice:
        offhook = gateway(f"sip:127.0.0.1:{romeo.sip}")
        ident = alice.write(CONTACT, "Wherefore art thou?", receipt=True)
        await romeo.will_read("Wherefore art thou?")
        await alice.will_see("received", ident)
        await romeo.write(f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}", "By yonder blessed moon")
        said = await alice.will_see("body")
        assert said.xml.text == "By yonder blessed moon" and said.sender == f"{CONTACT}/phone"


async def test_the_client_gives_up(gateway, sipp, alice):
    trunk = sipp("rings")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = alice.call(CONTACT)
        await call.sees("ringing")
        call.retract()
        await trunk.done()
        await offhook.will_have_ended("cancelled")


async def test_the_client_declines(gateway, phone, alice):
    async with phone() as caller, alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        (await alice.will_be_called()).decline("busy")
        closed = await caller.will_say("CALL_CLOSED")
        assert "486" in closed["param"]
        await offhook.will_have_ended("busy")


async def test_nobody_is_logged_in(gateway, phone, prosody):
    async with phone() as caller:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", ring_limit_s=3)
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        closed = await caller.will_say("CALL_CLOSED")
        assert closed["param"].split()[0] in ("404", "408", "480"), closed
        await offhook.will_be_idle()
