"""The Debian package, installed over this machine's files in a view of its own that is gone afterwards."""

import os
import subprocess
from pathlib import Path

import pytest

from gateway import BINARY

ROOT = Path(__file__).resolve().parents[2]

# What is written under / stays in memory; the mounts end with the namespace.
OVERLAY = """
set -e
mount -t tmpfs overlay "$0"
mkdir "$0/new" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/new,workdir=$0/work" "$0/root"
cp "$1" "$0/root/offhook.deb"
mount --rbind /dev "$0/root/dev"
exec chroot "$0/root" sh -ec "$2"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    out = tmp_path_factory.mktemp("package")
    command = [ROOT / "scripts/package", "--out", out]
    made = subprocess.run(command, env={**os.environ, "PROGRAM": str(BINARY)}, stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip())


@pytest.fixture
def machine(tmp_path, package):
    """Runs commands on a machine that has the package as a file; each time a fresh one."""

    def run(commands: str) -> str:
        script = ["unshare", "--mount", "sh", "-c", OVERLAY, tmp_path, package, commands]
        done = subprocess.run([str(part) for part in script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_what_is_installed_is_complete(machine):
    said = machine("""
        dpkg --install offhook.deb
        stat --format '%n %A %U:%G %s' /etc/offhook /etc/offhook/* /usr/bin/offhook
        runuser -u offhook -- offhook check --config /etc/offhook/offhook.toml
        grep -c . /usr/share/doc/offhook/operator.md /lib/systemd/system/offhook.service
    """)
    assert "/usr/share/doc/offhook/operator.md leads through it" in said
    assert "/etc/offhook drwxr-x--- root:offhook" in said
    assert "/etc/offhook/offhook.toml -rw-r----- root:offhook" in said
    assert "/etc/offhook/xmpp.secret -rw-r----- root:offhook 33" in said
    assert "/usr/bin/offhook -rwxr-xr-x root:root" in said
    assert "xmpp     component phone.example.org" in said
    assert "/etc/offhook/offhook.toml is fine" in said


def test_an_upgrade_keeps_what_the_operator_wrote(machine):
    said = machine("""
        dpkg --install offhook.deb > /dev/null
        sha256sum /etc/offhook/xmpp.secret > before
        sed --in-place s/phone.example.org/tel.example.org/ /etc/offhook/offhook.toml
        dpkg --install offhook.deb
        sha256sum --check before
        grep '^domain' /etc/offhook/offhook.toml
    """)
    assert "/etc/offhook/xmpp.secret: OK" in said
    assert 'domain = "tel.example.org"' in said


def test_what_is_removed_leaves_the_configuration_and_what_is_purged_nothing(machine):
    said = machine("""
        dpkg --install offhook.deb > /dev/null
        mkdir /var/lib/offhook
        dpkg --remove offhook
        ls /etc/offhook /usr/bin/offhook || true
        echo ----
        dpkg --purge offhook
        ls --directory /etc/offhook /var/lib/offhook || true
    """)
    removed, purged = said.split("----")
    assert "offhook.toml" in removed and "xmpp.secret" in removed
    assert "cannot access '/usr/bin/offhook'" in removed
    assert "cannot access '/etc/offhook'" in purged and "cannot access '/var/lib/offhook'" in purged
