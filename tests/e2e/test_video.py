"""Video calls: StanzaJS in Chromium on one side, baresip with VP8 on the other, each with a picture of its own."""

import asyncio

import pytest

from gateway import CONTACT, OUR_NUMBER

VIDEO = "urn:xmpp:jingle:apps:rtp:video"


async def sounds_right(call, seconds: float = 1.5):
    sound = await call.hears(seconds)
    assert sound.tone_seconds(660) > 0.85 * seconds, f"{sound.describe(440, 660)} {await call.stats()}"


@pytest.mark.parametrize("srtp", ["off", "require", "dtls"])
async def test_chromium_calls_a_video_phone(gateway, phone, chromium, srtp):
    keys = {"off": "", "require": 'srtp = "require"', "dtls": 'srtp = "require"\nsrtp_keys = "dtls"'}[srtp]
    mediaenc = {"off": "", "require": "srtp-mand", "dtls": "dtls_srtp"}[srtp]
    async with phone(hz=660, answer="auto", video=True, mediaenc=mediaenc) as callee, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", trunk_keys=f"video = true\n{keys}")
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
        await offhook.will_be_idle()


async def test_a_video_phone_calls_chromium(gateway, phone, chromium):
    async with phone(hz=660, video=True) as caller, chromium(video=True) as alice:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}", trunk_keys="video = true")
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
        await offhook.will_be_idle()
