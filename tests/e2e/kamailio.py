"""Kamailio as the proxy and registrar of a carrier: digest, Record-Route, UDP, TCP and TLS."""

import time
from pathlib import Path

import ports
from pki import Certified
from process import Process

USER, PASSWORD = "offhook", "a secret of the carrier"

# `tm` before `sl`: else replies that sl sends for tm's transactions are not bound to them.
CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=1
tcp_children=1
socket_workers=1
enable_tls={enable_tls}
auto_aliases=no
alias="localhost"
listen=udp:127.0.0.1:{sip}
listen=tcp:127.0.0.1:{sip}
{listen_tls}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
{load_tls}
modparam("auth", "algorithm", "{algorithm}")
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", {nonce_s})
modparam("usrloc", "db_mode", 0)
modparam("registrar", "min_expires", 5)
modparam("rr", "append_fromtag", 1)

request_route {{
    xlog("L_WARN", "$rm $ru from $proto:$si:$sp route $hdr(Route)\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
        if (!is_method("ACK")) sl_send_reply("404", "Not Here");
        exit;
    }}
    t_check_trans();
    if (is_method("OPTIONS") && uri == myself) {{ sl_send_reply("200", "Here"); exit; }}
    remove_hf("Route");
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("localhost", "{password}", "0")) {{ www_challenge("localhost", "1"); exit; }}
        if (!save("location")) sl_reply_error();
        xlog("L_WARN", "registered $fU by $proto\\n");
        exit;
    }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    record_route();
    if ($sp == {phone}) {{
        $ru = "sip:{user}@localhost";
        if (!lookup("location")) {{ sl_send_reply("404", "Not Registered"); exit; }}
    }} else {{
        if (!pv_proxy_authenticate("localhost", "{password}", "0")) {{ proxy_challenge("localhost", "1"); exit; }}
        consume_credentials();
        $rd = "127.0.0.1";
        $rp = {phone};
    }}
    t_relay();
}}
"""


class Kamailio(Process):
    """Calls of the account go to the phone at `phone`, calls of the phone to where the account has registered."""

    def __init__(self, folder: Path, phone: int, algorithm: str = "MD5", own: Certified | None = None, nonce_s: int = 300):
        super().__init__("kamailio", folder)
        self.sip = ports.free(2)
        self.sips = self.sip + 1
        load = ""
        if own:
            load = 'loadmodule "tls.so"\n' + "".join(
                f'modparam("tls", "{key}", "{value}")\n'
                for key, value in [("private_key", own.key), ("certificate", own.cert), ("tls_method", "TLSv1.2+")]
            )
        (folder / "kamailio.cfg").write_text(
            CONFIG.format(
                sip=self.sip, phone=phone, algorithm=algorithm, nonce_s=nonce_s, user=USER, password=PASSWORD,
                enable_tls="yes" if own else "no", listen_tls=f"listen=tls:127.0.0.1:{self.sips}" if own else "", load_tls=load,
            )
        )
        # In the foreground, with little memory; -w and -Y keep its files in the test's own folder.
        self.launch(["/usr/sbin/kamailio", "-DD", "-E", "-e", "-m", 32, "-M", 8, "-w", folder, "-Y", folder, "-f", folder / "kamailio.cfg"])
        end = time.monotonic() + 20
        while not (ports.is_bound(self.sip) and ports.is_bound(self.sip, "tcp")):
            assert self.running and time.monotonic() < end, self.log
            time.sleep(0.02)

    async def has_registered(self) -> None:
        """Waits until the account has a binding."""
        await self.will_log(f"registered {USER} by ", 20)
