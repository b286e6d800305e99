"""The program's own client and its own endpoint, through the program itself."""

import asyncio
import json
import signal

import pytest

import prosody as server
from client import Client
from gateway import BINARY, CONTACT, OUR_NUMBER, dial, listen, offhook


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


async def test_a_route_to_a_new_trunk_waits_for_the_restart_with_it(prosody, gateway, echo, tmp_path):
    """Half of a change would end every call until then."""
    started = gateway(echo.uri)
    started.config.write_text(started.config.read_text().replace('"carrier"', '"provider"') + '\n[[route]]\nmatch = "+1"\ntrunk = ["provider"]\n')
    started.popen.send_signal(signal.SIGHUP)
    await started.will_log("configuration reloaded")
    assert 'section="trunk"' in started.log and 'section="route"' in started.log and "provider" in started.log
    # What the start would warn of is said here too.
    assert "route[1].match: is never reached" in started.log
    assert (await dial(prosody, tmp_path, CONTACT, "--seconds", "1")).json["result"] == "answered"


async def test_a_listener_passes_over_a_call_that_the_server_kept(prosody, gateway, phone, tmp_path):
    """Prosody keeps propose and retract of a call that nobody took."""
    late = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"
    listening = asyncio.create_task(listen(prosody, tmp_path, "--seconds", "1"))
    await asyncio.sleep(1)
    async with Client(prosody.c2s, "bob", server.USERS["bob"]) as bob:
        for verb in ("propose", "retract"):
            payload = f"<{verb} xmlns='urn:xmpp:jingle-message:0' id='old'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></{verb}>"
            bob.send(f"<message to='alice@localhost' type='chat' id='{verb}'>{payload}{late}</message>")
        async with phone(hz=660) as caller:
            offhook = gateway(f"sip:127.0.0.1:{caller.sip}")
            await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
            await caller.will_say("CALL_ESTABLISHED")
            ended = await listening
    assert ended.json["result"] == "answered", ended.err


@pytest.mark.parametrize("options, told", [
    ({"--server": "nowhere.invalid:5222"}, "cannot connect to nowhere.invalid:5222: "),
    ({"--account": "alice@nowhere.invalid", "--server": None}, "; --server HOST:PORT "),
    ({"--password-file": "absent"}, "--password-file: absent: No such file"),
    ({"--play": "absent.wav"}, "--play: absent.wav: No such file"),
    ({"--record": "absent/heard.wav"}, "--record: absent/heard.wav: No such file"),
])
async def test_what_keeps_a_client_from_calling_is_told(tmp_path, options, told):
    password = tmp_path / "password"
    password.write_text("x")
    given = {"--account": "alice@localhost", "--password-file": password, "--to": CONTACT, "--server": "127.0.0.1:9", **options}
    ended = await offhook("dial", *(f"{name}={value}" for name, value in given.items() if value))
    assert ended.status == 1 and told in ended.err, ended.err
    assert "NoRecords" not in ended.err, ended.err


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
