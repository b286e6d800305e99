"""The program's own client and its own endpoint, through the program itself."""

import asyncio
import json
import signal

import pytest

import prosody as server
from gateway import BINARY, CONTACT, OUR_NUMBER, dial, listen


async def test_a_tone_comes_back_whole(prosody, gateway, echo, tmp_path):
    offhook = gateway(echo.uri)
    ended = await dial(prosody, tmp_path, CONTACT, "--play", "tone", "--seconds", "2")
    assert ended.status == 0, ended.err
    result = ended.json
    assert result["result"] == "answered"
    assert abs(result["tone_hz"] - 440) < 5
    assert result["lost"] == 0
    assert result["received"] > 80
    assert 0 <= result["decloak_ms"] <= result["answer_ms"] <= result["media_ms"]
    assert result["ended_by"] == "local"
    await offhook.will_have_ended("hangup")


@pytest.mark.parametrize("user, told", [("busy", "busy"), ("reject", "declined"), ("missing", "gone")])
async def test_what_the_other_side_says_is_told(prosody, gateway, echo, tmp_path, user, told):
    gateway(echo.uri)
    ended = await dial(prosody, tmp_path, f"{user}\\40echo.test@{server.GATEWAY}", "--seconds", "2")
    assert ended.status == 1
    assert ended.json["result"] == told
    assert ended.err


async def test_nobody_answers(prosody, gateway, echo, tmp_path):
    gateway(echo.uri, ring_limit_s=2)
    ended = await dial(prosody, tmp_path, f"ring\\40echo.test@{server.GATEWAY}")
    assert ended.status == 1
    assert ended.json["result"] == "timeout"
    assert "ringing_ms" in ended.json


async def test_a_client_that_is_told_to_end_hangs_up_and_reports(prosody, gateway, phone, tmp_path):
    async with phone(answer="auto", codecs=["PCMU"]) as callee:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        password = tmp_path / "password"
        password.write_text(server.USERS["alice"])
        program = await asyncio.create_subprocess_exec(
            str(BINARY), "dial", "--account", "alice@localhost", "--password-file", str(password),
            "--server", f"127.0.0.1:{prosody.c2s}", "--to", CONTACT, "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )
        await callee.will_say("CALL_RTPESTAB")
        program.terminate()
        out, _ = await asyncio.wait_for(program.communicate(), 10)
        result = json.loads(out)
        assert (result["result"], result["ended_by"], program.returncode) == ("answered", "local", 0)
        await callee.will_say("CALL_CLOSED")
        await offhook.will_have_ended("hangup")


async def test_keys_are_read_back(prosody, gateway, echo, tmp_path):
    gateway(echo.uri)
    ended = await dial(prosody, tmp_path, f"dtmf\\40echo.test@{server.GATEWAY}", "--digits", "123#", "--seconds", "4")
    assert ended.status == 0, ended.err
    assert ended.json["result"] == "answered"
    assert ended.json["digits"] == "123#"


async def test_who_may_call_is_read_again_on_sighup(prosody, gateway, echo, tmp_path):
    offhook = gateway(echo.uri)
    assert (await dial(prosody, tmp_path, CONTACT, "--seconds", "1")).json["result"] == "answered"
    offhook.config.write_text(offhook.config.read_text().replace('allow = ["localhost"]', 'allow = ["example.org"]'))
    offhook.popen.send_signal(signal.SIGHUP)
    await offhook.will_log("configuration reloaded")
    refused = await dial(prosody, tmp_path, CONTACT, "--seconds", "1")
    assert refused.status == 1
    assert refused.json["result"] == "declined"


async def test_listen_answers_a_phone(prosody, gateway, phone, tmp_path):
    async with phone(hz=660) as caller:
        offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
        listening = asyncio.create_task(listen(prosody, tmp_path, "--seconds", "2"))
        # Logging in takes a few hundredths; a call before that finds nobody.
        await asyncio.sleep(1)
        await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
        await caller.will_say("CALL_ESTABLISHED")
        ended = await listening
        assert ended.status == 0, ended.err
        assert ended.json["result"] == "answered"
        assert abs(ended.json["tone_hz"] - 660) < 5
        await caller.will_say("CALL_CLOSED")
        assert caller.heard.tone_seconds(440) > 1, caller.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")


async def test_a_wrong_password_is_told(prosody, tmp_path):
    (tmp_path / "wrong").write_text("nope\n")
    ended = await dial(prosody, tmp_path, CONTACT, "--password-file", tmp_path / "wrong")
    assert ended.status in (1, 2)
    assert ended.err and "nope" not in ended.err
