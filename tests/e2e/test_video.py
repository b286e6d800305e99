"""Video calls: StanzaJS in Chromium on one side, baresip with VP8 on the other, each with a picture of its own."""

import asyncio

import pytest

from client import caps_hash
from gateway import CONTACT, OUR_NUMBER

VIDEO = "urn:xmpp:jingle:apps:rtp:video"
SHOWS = "video = true"


async def sounds_right(call, seconds: float = 1.5):
    sound = await call.hears(seconds)
    assert sound.tone_seconds(660) > 0.85 * seconds, f"{sound.describe(440, 660)} {await call.stats()}"


@pytest.mark.parametrize("srtp", ["off", "require", "dtls"])
async def test_chromium_calls_a_video_phone(gateway, phone, chromium, srtp):
    keys = {"off": "", "require": 'srtp = "require"', "dtls": 'srtp = "require"\nsrtp_keys = "dtls"'}[srtp]
    mediaenc = {"off": "", "require": "srtp-mand", "dtls": "dtls_srtp"}[srtp]
    async with phone(hz=660, answer="auto", video=True, mediaenc=mediaenc) as callee, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=f"{SHOWS}\n{keys}")
        call = await (await alice.call(CONTACT, video=True)).establish()
        stats = await call.will_see_pictures()
        assert stats["codec"] == "VP8" and stats["width"] == 320, stats
        assert (await callee.sees()).startswith(b"\x89PNG")
        await sounds_right(call)
        await call.press("5")
        await asyncio.sleep(0.3)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.keys == "5"
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_a_video_phone_calls_chromium(gateway, phone, chromium):
    async with phone(hz=660, video=True) as caller, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", trunk_keys=SHOWS)
        await alice.will_have_presence(f"{OUR_NUMBER}@phone.localhost")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called(video=True)).answer()
        await caller.will_say("CALL_ESTABLISHED")
        await call.will_see_pictures()
        assert (await caller.sees()).startswith(b"\x89PNG")
        await sounds_right(call)
        await call.hang_up()
        await caller.will_say("CALL_CLOSED")
        assert caller.heard.tone_seconds(440) > 1.3, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_video_goes_on_where_packets_are_lost(lossy_network, gateway, phone, chromium):
    """Each side asks the other for new pictures."""
    lossy_network(5)
    async with phone(hz=660, codecs=["opus"], answer="auto", video=True) as callee, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=SHOWS)
        call = await (await alice.call(CONTACT, video=True)).establish(timeout=15)
        await call.will_see_pictures(30, timeout=20)
        stats = await call.will_see_pictures(30, timeout=20)
        assert stats["asks"] > 0 and stats["keyFrames"] > 1, stats
        for _ in range(3):
            assert (await callee.sees()).startswith(b"\x89PNG")
        stats = await call.video_stats()
        assert stats["asked"] > 0 and stats["encodedKeys"] > 1, stats
        sound = await call.hears(2)
        assert sound.tone_seconds(660) > 1.2, sound.describe(440, 660)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_a_video_phone_holds_and_resumes_chromium(gateway, phone, chromium):
    async with phone(hz=660, answer="auto", video=True) as callee, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=SHOWS)
        call = await (await alice.call(CONTACT, video=True)).establish()
        await call.will_see_pictures()
        await callee.command("hold")
        await asyncio.sleep(1)
        before = (await call.video_stats())["decoded"]
        await asyncio.sleep(1)
        assert (await call.video_stats())["decoded"] - before <= 1, "pictures come on hold"
        await callee.command("resume")
        await call.will_see_pictures()
        await sounds_right(call)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_a_video_call_to_a_phone_without_video_is_a_call(gateway, phone, chromium):
    async with phone(hz=660, answer="auto") as callee, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=SHOWS)
        call = await (await alice.call(CONTACT, video=True)).establish()
        await sounds_right(call)
        assert not (await call.video_stats()).get("decoded")
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_a_video_phone_calls_a_client_without_video(gateway, phone, chromium):
    async with phone(hz=660, video=True) as caller, chromium() as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", trunk_keys=SHOWS)
        await alice.will_have_presence(f"{OUR_NUMBER}@phone.localhost")
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        call = await (await alice.will_be_called()).answer()
        await caller.will_say("CALL_ESTABLISHED")
        await sounds_right(call)
        assert "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='video'" not in alice.log.replace('"', "'")
        await call.hang_up()
        await caller.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("bundle", [True, False])
async def test_slixmpp_calls_a_video_phone(gateway, phone, alice, bundle):
    """Without BUNDLE, as Dino and Kaidan call: sound and pictures have each an ICE and a DTLS of their own."""
    async with phone(hz=660, answer="auto", video=True) as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=SHOWS)
        call = await alice.call(CONTACT, video="VP8", bundle=bundle).establish()
        await call.eye.sees()
        assert (await callee.sees()).startswith(b"\x89PNG")
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1.2, call.ear.sound.describe(440, 660)
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_video_without_bundle_to_a_plain_phone_is_a_call(gateway, phone, alice):
    async with phone(hz=660, answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT, video="VP8", bundle=False).establish()
        call.ear.fresh()
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 1.2, call.ear.sound.describe(440, 660)
        assert call.eye.pictures == 0
        await call.hang_up()
        await callee.will_say("CALL_CLOSED")
        assert callee.heard.tone_seconds(440) > 1.3, callee.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_h264_passes_both_ways(gateway, sipp, alice):
    """To a trunk that sends back what it gets, and is Baseline to the client's Constrained Baseline."""
    trunk = sipp("shows")
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}", trunk_keys=SHOWS)
        call = await alice.call(CONTACT, video="H264").establish()
        await call.eye.sees()
        await call.hang_up()
        await trunk.done()
        await offhook.will_have_ended("hangup")


async def test_h264_of_chromium_passes_both_ways(gateway, sipp, chromium):
    trunk = sipp("shows")
    async with chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}", trunk_keys=SHOWS)
        call = await (await alice.call(CONTACT, video=True)).establish(codec="H264")
        stats = await call.will_see_pictures()
        assert stats["codec"] == "H264", stats
        await call.hang_up()
        await trunk.done()
        await offhook.will_have_ended("hangup")


async def test_only_contacts_behind_video_say_so(gateway, sipp, alice):
    trunk = sipp("answers")
    more = f"""
[[trunk]]
name = "pbx"
uri = "sip:127.0.0.1:{trunk.sip}"
options_s = 0
{SHOWS}
"""
    async with alice:
        # The first route takes all.
        gateway(f"sip:127.0.0.1:{trunk.sip}", trunks='"pbx", "carrier"', more=more)
        shown, _ = await alice.decloak(CONTACT)
        caps = shown.xml.find("{http://jabber.org/protocol/caps}c")
        query = await alice.disco(shown.sender, f"{caps.get('node')}#{caps.get('ver')}")
        assert VIDEO in [feature.get("var") for feature in query]
        assert caps_hash(query) == caps.get("ver")
