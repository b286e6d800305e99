"""Mistakes of the operator: named, all at once, with the key and the reason."""

import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import ports
import prosody as server
from gateway import TEMPLATE, offhook
from pki import Authority


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
        # Where ports.free() never takes any.
        rtp=10000,
        rtp_last=10099,
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
    assert "another program has it" in ended.err, ended.err


async def test_a_media_port_in_use_and_a_foreign_address_name_their_section(prosody, tmp_path):
    file = written(tmp_path, component=prosody.component)
    first = int(next(line for line in file.read_text().splitlines() if line.startswith("xmpp_port")).split("=")[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", first))
        ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status == 1
    assert f"media: cannot listen on udp://127.0.0.1:{first}: " in ended.err and "another program has it" in ended.err, ended.err
    ended = await offhook("run", "--config", written(tmp_path, component=prosody.component, bind="192.0.2.77"), timeout=10)
    assert ended.status == 1
    assert "media: cannot listen on udp://192.0.2.77:" in ended.err and "no address of this host" in ended.err, ended.err


async def test_who_is_refused_by_the_server_is_told_what_to_look_at(prosody, gateway, tmp_path):
    file = written(tmp_path, component=prosody.component, secret="not-the-secret")
    ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status == 1 and "is xmpp.secret the server's component secret?" in ended.err, ended.err
    # Channels that have no secret of their own have that one: no other key is blamed.
    mixed = tmp_path / "mixed.toml"
    mixed.write_text(file.read_text() + f'\n[mix]\ndomain = "{server.MIX}"\n')
    ended = await offhook("run", "--config", mixed, timeout=10)
    assert ended.status == 1 and "is xmpp.secret the server's component secret?" in ended.err, ended.err
    file.write_text(file.read_text().replace(server.GATEWAY, "nowhere.localhost"))
    ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status == 1
    assert "has the server a component of this domain" in ended.err and "secret" not in ended.err.splitlines()[-1], ended.err
    gateway("sip:127.0.0.1:9")
    ended = await offhook("run", "--config", written(tmp_path, component=prosody.component), timeout=10)
    assert ended.status == 1
    assert "is another gateway linked to it?" in ended.err and "secret" not in ended.err.splitlines()[-1], ended.err


def expired(key: bytes, days: int) -> bytes:
    """A certificate of this key that ended so many days ago; both in PEM."""
    own = serialization.load_pem_private_key(key, None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    end = datetime.now(UTC) - timedelta(days=days, hours=1)
    made = x509.CertificateBuilder(name, name, own.public_key(), 1, end - timedelta(days=90), end)
    return made.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def test_what_is_wrong_with_a_certificate_is_said(tmp_path):
    authority = Authority(tmp_path / "pki")
    own, other = authority.signs("own", "DNS:localhost"), authority.signs("other", "DNS:localhost")
    old, locked = tmp_path / "old.pem", tmp_path / "locked.key"
    old.write_bytes(expired(own.key.read_bytes(), days=3))
    file = written(tmp_path)
    template = file.read_text()

    async def said(cert, key) -> tuple[int, str]:
        file.write_text(template.replace("[media]", f'[sip.tls]\ncert = "{cert}"\nkey = "{key}"\n[media]'))
        ended = await offhook("check", "--config", file)
        return ended.status, ended.out + ended.err

    status, told = await said(own.cert, own.key)
    assert status == 0 and "warning" not in told
    # Calls over UDP go on without it: a restart must not fail for that.
    status, told = await said(old, own.key)
    assert status == 0 and "warning  sip.tls.cert: has expired 3 days ago: peers will refuse it" in told, told
    status, told = await said(own.cert, other.key)
    assert status == 2 and "sip.tls.cert: does not fit sip.tls.key: it is of another key" in told, told
    for command in (["ec", "-aes128"], ["pkcs8", "-topk8", "-v2", "aes128"]):
        subprocess.run(["openssl", *command, "-in", own.key, "-passout", "pass:x", "-out", locked], check=True, capture_output=True)
        status, told = await said(own.cert, locked)
        assert status == 2 and "sip.tls.key: no key can be read" in told and "passphrase" in told, told


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


async def test_a_wrong_filter_of_the_log_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFHOOK_LOG", "debgu")
    ended = await offhook("check", "--config", written(tmp_path))
    assert ended.status == 2 and "OFFHOOK_LOG: `debgu` is no level" in ended.err, ended.err
    assert (await offhook("--version")).status == 0


async def test_files_that_cannot_be_are_told_with_all_other_mistakes(tmp_path):
    file = written(tmp_path, number="12")
    file.write_text(
        file.read_text().replace("[media]", '[sip.tls]\ncert = "no.pem"\nkey = "no.key"\nca = "no.ca"\n[media]')
        + f'\n[mix]\ndomain = "mix.localhost"\n[store]\nurl = "sqlite://{tmp_path}"\n'
    )
    ended = await offhook("check", "--config", file)
    assert ended.status == 2
    for key in ("number[0].number: ", "sip.tls.cert: ", "sip.tls.key: ", "sip.tls.ca: ", "store.url: "):
        assert key in ended.err, f"{key} is not named:\n{ended.err}"


async def test_a_store_without_a_folder_is_told(tmp_path):
    file = written(tmp_path)
    file.write_text(file.read_text() + f'\n[mix]\ndomain = "mix.localhost"\n[store]\nurl = "sqlite://{tmp_path}/none/x.db"\n')
    ended = await offhook("check", "--config", file)
    assert ended.status == 0 and f"warning  store.url: there is no folder {tmp_path}/none yet" in ended.out, ended.out
    ended = await offhook("run", "--config", file, timeout=10)
    assert ended.status == 1 and "does its folder exist" in ended.err, ended.err


async def test_all_of_both_ip_versions_is_listened_on(prosody, gateway):
    port = ports.free()
    offhook = gateway("sip:127.0.0.1:9", listen=[f"{kind}://{all}:{port}" for kind in ("udp", "tcp") for all in ("0.0.0.0", "[::]")])
    held = offhook.sockets()
    for kind in ("udp", "tcp", "udp6", "tcp6"):
        assert f"{kind} {port}" in held, held
