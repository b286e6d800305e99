"""Mistakes of the operator: named, all at once, with the key and the reason."""

import socket

import pytest

import ports
import prosody as server
from gateway import TEMPLATE, offhook


def written(folder, **changes):
    """A configuration file that would work, with changes."""
    values = dict(
        component=changes.pop("component", 5347),
        domain=server.GATEWAY,
        secret=server.SECRET,
        listen=f'"udp://127.0.0.1:{ports.free()}"',
        sip_keys="",
        options_s=0,
        trunks='"carrier"',
        bind="127.0.0.1",
        media_keys="",
        ring="alice@localhost",
        allow="localhost",
        ice=ports.free(8),
        rtp=20000,
        rtp_last=20099,
        trunk="sip:127.0.0.1:9",
        trunk_keys="",
        number="+15550001000",
        ring_limit_s=30,
    )
    file = folder / "offhook.toml"
    file.write_text(TEMPLATE.format(**{**values, **changes}))
    return file


async def test_a_good_file_is_explained(tmp_path):
    ended = await offhook("check", "--config", written(tmp_path))
    assert ended.status == 0, ended.err
    assert server.GATEWAY in ended.out
    assert server.SECRET not in ended.out + ended.err


async def test_every_mistake_is_named_in_one_go(tmp_path):
    file = written(tmp_path, number="12", rtp=20001, rtp_last=20000)
    file.write_text(file.read_text().replace("[access]", "[access]\ntypo_here = 1").replace("trunk = [", 'trunk = ["nowhere", '))
    ended = await offhook("check", "--config", file)
    assert ended.status == 2
    said = ended.out + ended.err
    for key in ("number[0].number", "media.rtp_ports", "access.typo_here", "nowhere", str(file)):
        assert key in said, f"{key} is not named:\n{said}"


@pytest.mark.parametrize("command", ["run", "check"])
async def test_a_missing_file_is_named(tmp_path, command):
    ended = await offhook(command, "--config", tmp_path / "absent.toml", timeout=10)
    assert ended.status == 2
    assert "absent.toml" in ended.err


async def test_run_names_the_same_mistakes_as_check(tmp_path):
    file = written(tmp_path, number="12")
    ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status == 2
    assert "number[0].number" in ended.err


async def test_a_port_in_use_is_named(prosody, tmp_path):
    port = ports.free()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        ended = await offhook("run", "--config", written(tmp_path, component=prosody.component, listen=f'"udp://127.0.0.1:{port}"'), timeout=10)
    assert ended.status != 0
    assert str(port) in ended.err and "use" in ended.err.lower(), ended.err


async def test_a_wrong_secret_is_told_and_ends_it(prosody, tmp_path):
    file = written(tmp_path, component=prosody.component, secret="not-the-secret")
    ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status != 0
    assert "secret" in ended.err.lower() or "not-authorized" in ended.err, ended.err
    assert "not-the-secret" not in ended.err + ended.out


async def test_no_command_shows_how(tmp_path):
    ended = await offhook()
    assert ended.status == 2
    assert "run" in ended.err and "dial" in ended.err
