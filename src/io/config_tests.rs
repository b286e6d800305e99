use super::*;

const MINIMAL: &str = r#"
[xmpp]
domain = "phone.example.org"
secret = "s3cret"
"#;

const TRUNK: &str = r#"
[[trunk]]
name = "carrier"
uri = "sip:sip.carrier.example"
"#;

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Meaning, Mistakes> {
    let variables = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    interpret(
        Path::new("/etc/offhook/offhook.toml"),
        text,
        variables,
        2,
        &|file| match file.to_str() {
            Some("/etc/offhook/secret") => Ok("from the file\n".to_owned()),
            Some("/etc/offhook/empty") => Ok("\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        },
    )
}

fn reads(text: &str) -> Meaning {
    with(text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Asserts that the only mistake is of this key, and says these words.
#[track_caller]
fn refuses(text: &str, key: &str, words: &str) {
    let mistakes = with(text, &[]).expect_err(key);
    assert_eq!(mistakes.count(), 1, "{mistakes}");
    let line = mistakes.to_string();
    assert!(
        line.starts_with(&format!("/etc/offhook/offhook.toml: {key}: ")),
        "{line}"
    );
    assert!(line.contains(words), "{line}");
}

#[test]
fn the_least_configuration_gets_the_defaults() {
    let config = reads(MINIMAL).config;
    assert_eq!(config.xmpp.server, "127.0.0.1:5347");
    assert_eq!(config.xmpp.resource, "phone");
    assert_eq!(config.media.threads, 2);
    assert_eq!(config.media.rtp_ports, 20000..=29999);
    assert_eq!(config.call.max_call.as_secs(), 14400);
    let trunk = &reads(&format!("{MINIMAL}{TRUNK}")).config.trunks[0];
    assert_eq!(trunk.codecs, ["opus", "G722", "PCMU", "PCMA"]);
    assert_eq!(trunk.options.as_secs(), 30);
}

#[test]
fn every_default_in_the_table_is_the_default() {
    let mut text = format!("{MINIMAL}{TRUNK}");
    let plain = reads(&text).config;
    for section in ["xmpp", "sip", "media", "access", "call", "trunk[]"] {
        let keys = keys::KEYS.iter().filter(|k| k.section() == section);
        let lines: Vec<String> = keys
            .filter_map(|k| Some(format!("{} = {}", k.name(), k.default?)))
            .collect();
        let lines = lines.join("\n");
        match section {
            "xmpp" => text = text.replace("[xmpp]", &format!("[xmpp]\n{lines}")),
            "trunk[]" => text = text.replace("[[trunk]]", &format!("[[trunk]]\n{lines}")),
            _ => text.push_str(&format!("[{section}]\n{lines}\n")),
        }
    }
    assert_eq!(reads(&text).config, plain);
}

/// What serde would take in a section: it says so when it meets a key that it does not know.
fn fields_of_the_structs(section: &str) -> Vec<String> {
    let mut root = Value::new(None, ValueKind::Table(::config::Map::default()));
    let path = match section {
        "" => "nonsense".to_owned(),
        _ => format!("{}.nonsense", section.replace("[]", "[0]")),
    };
    put(&mut root, &path, Value::new(None, ValueKind::Boolean(true))).unwrap();
    let error = root.try_deserialize::<Written>().unwrap_err().to_string();
    // "unknown field `nonsense`, expected one of `a`, `b` for key `xmpp`"
    let (_, expected) = error.split_once("expected ").expect(&error);
    let expected = expected.split(" for key").next().unwrap_or(expected);
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_table_and_the_structs_have_the_same_keys() {
    let mut sections: Vec<&str> = keys::KEYS.iter().map(|k| k.section()).collect();
    sections.dedup();
    for section in sections {
        let mut in_table: Vec<String> = keys::KEYS
            .iter()
            .filter(|k| k.section() == section && k.kind != Kind::SecretFile)
            .map(|k| k.name().to_owned())
            .collect();
        let mut in_structs = fields_of_the_structs(section);
        // Sections within sections.
        in_structs.retain(|name| name != "tls" && name != "channel");
        in_table.sort();
        in_structs.sort();
        assert_eq!(in_table, in_structs, "[{section}]");
    }
}

#[test]
fn every_mistake_is_told_in_one_go() {
    let text = r#"
        [xmpp]
        server = "localhost"
        domain = "phone example"
        secert = "x"
        [sip]
        listen = "udp://0.0.0.0:5060"
        [media]
        threads = "two"
        [[trunk]]
        name = "carrier"
        uri = "sip.example.org"
        [[route]]
        match = "49"
        trunk = ["carier"]
        [[number]]
        number = "555"
        ring = ["juliet"]
        [acess]
        "#;
    let told = with(text, &[]).unwrap_err().to_string();
    let file = "/etc/offhook/offhook.toml";
    let expected = [
        "acess: unknown key; did you mean `access`?",
        "media.threads: `two` is no whole number; write it without quotes and units",
        "sip.listen: `udp://0.0.0.0:5060` is one text, but a list is wanted; \
         write [\"udp://0.0.0.0:5060\"]",
        "xmpp.secert: unknown key; did you mean `secret`?",
        "xmpp.server: `localhost` has no port; write localhost:5347, or what the server listens on",
        "xmpp.domain: `phone example` is no domain; write it as phone.example.org",
        "trunk[0].uri: `sip.example.org` is no SIP URI; write sip:sip.example.org",
        "route[0].match: `49` does not start with +; write +49",
        "route[0].trunk[0]: no trunk is named `carier`; did you mean `carrier`?",
        "number[0].ring[0]: `juliet` is no XMPP address; write it as juliet@example.org",
        "number[0].number: `555` is no E.164 number; write + and the country code, then digits \
         only, such as +15550001000",
    ];
    let expected: Vec<String> = expected.iter().map(|e| format!("{file}: {e}")).collect();
    assert_eq!(told, expected.join("\n"));
}

#[test]
fn each_mistake_names_its_key() {
    let xmpp =
        |line: &str| format!("[xmpp]\ndomain = \"phone.example.org\"\nsecret = \"s\"\n{line}");
    let more = |lines: &str| format!("{MINIMAL}{lines}");
    let trunk = |line: &str| format!("{MINIMAL}{TRUNK}{line}\n");
    refuses(
        "[xmpp]\ndomain = \"a.example\"",
        "xmpp.secret",
        "is missing",
    );
    refuses("[xmpp]\nsecret = \"s\"", "xmpp.domain", "is missing");
    let holder = "[xmpp]\ndomain = \"a.example\"\nsecret = \"…\"";
    refuses(holder, "xmpp.secret", "placeholder");
    let number = "[xmpp]\ndomain = \"a.example\"\nsecret = 12345";
    refuses(number, "xmpp.secret", "what stands there is no text");
    refuses(&xmpp("server = \"::1\""), "xmpp.server", "write [::1]");
    refuses(&xmpp("resource = \"\""), "xmpp.resource", "phone");
    refuses(&xmpp("codecs = []"), "xmpp.codecs", "it belongs in [trunk]");
    refuses(&more("[sip]\nlisten = []"), "sip.listen", "is empty");
    let twice = "[sip]\nlisten = [\"udp://[::]:5060\", \"udp://[::]:5060\"]";
    refuses(&more(twice), "sip.listen[1]", "twice");
    let any = "[sip]\nadvertise = \"0.0.0.0\"";
    refuses(&more(any), "sip.advertise", "nobody's address");
    let six = "[media]\nadvertise = \"2001:db8::1\"";
    refuses(&more(six), "media.advertise", "another IP version");
    let tls = "[sip.tls]\ncert = \"cert.pem\"";
    refuses(&more(tls), "sip.tls.key", "both or none");
    let tls = "[sip.tls]\nkey = \"key.pem\"";
    refuses(&more(tls), "sip.tls.cert", "both or none");
    let tls = "[sip.tls]\nverify_client = true";
    refuses(&more(tls), "sip.tls.verify_client", "needs ca");
    let tls = "[sip]\nlisten = [\"tls://0.0.0.0:5061\"]";
    refuses(
        &more(tls),
        "sip.listen[0]",
        "give cert and key in [sip.tls]",
    );
    let dns = "[sip]\nnameserver = \"dns.example\"";
    refuses(&more(dns), "sip.nameserver", "no address");
    let odd = "[media]\nrtp_ports = \"20001-29999\"";
    refuses(&more(odd), "media.rtp_ports", "start at 20002");
    let within = "[media]\nxmpp_port = 19999";
    refuses(
        &more(within),
        "media.xmpp_port",
        "lie within media.rtp_ports",
    );
    let sip = "[sip]\nlisten = [\"udp://0.0.0.0:40001\"]";
    refuses(
        &more(sip),
        "sip.listen",
        "within the ports of media.xmpp_port",
    );
    let sip = "[sip]\nlisten = [\"udp://0.0.0.0:20500\"]";
    refuses(
        &more(sip),
        "sip.listen",
        "within the ports of media.rtp_ports",
    );
    let past = "[media]\nxmpp_port = 65535";
    refuses(&more(past), "media.xmpp_port", "past 65535");
    refuses(&more("[media]\nthreads = -1"), "media.threads", "below 0");
    refuses(
        &more("[media]\nxmpp_port = 1.5"),
        "media.xmpp_port",
        "no whole number",
    );
    refuses(&trunk(TRUNK), "trunk[1].name", "another trunk");
    refuses(
        &trunk("username = \"u\""),
        "trunk[0].password",
        "both or none",
    );
    refuses(
        &trunk("password = \"u\""),
        "trunk[0].username",
        "both or none",
    );
    refuses(&trunk("codecs = [\"alaw\"]"), "trunk[0].codecs[0]", "PCMA");
    refuses(&trunk("codecs = [\"G723\"]"), "trunk[0].codecs[0]", "G722");
    refuses(&trunk("codecs = []"), "trunk[0].codecs", "is empty");
    refuses(&trunk("max_calls = 0"), "trunk[0].max_calls", "no call");
    refuses(
        &trunk("register = \"yes\""),
        "trunk[0].register",
        "neither true",
    );
    refuses(&trunk("register = true"), "trunk[0].register", "username");
    refuses(&trunk("srtp = \"on\""), "trunk[0].srtp", "none of off");
    refuses(
        &trunk("srtp_keys = \"zrtp\""),
        "trunk[0].srtp_keys",
        "neither sdes",
    );
    let network = "from_networks = [\"198.51.100.7/24\"]";
    refuses(
        &trunk(network),
        "trunk[0].from_networks[0]",
        "write 198.51.100.0/24",
    );
    refuses(&trunk("[trunk2]"), "trunk2", "did you mean `trunk`?");
    refuses(
        &more("[trunk]\nname = \"a\""),
        "trunk",
        "[[trunk]], with two brackets",
    );
    let route = "[[route]]\nmatch = \"+\"\ntrunk = []";
    refuses(&trunk(route), "route[0].trunk", "names no trunk");
    let route = "[[route]]\nmatch = \"example.org\"\ntrunk = [\"carrier\"]";
    refuses(&trunk(route), "route[0].match", "write @example.org");
    let open = "[access]\nallow = [\"*\"]";
    refuses(&more(open), "access.allow[0]", "at your cost");
    let country = "[access]\ncountry = \"Germany\"";
    refuses(&more(country), "access.country", "such as \"DE\"");
    let own = "[access]\nallow = [\"phone.example.org\"]";
    refuses(&more(own), "access.allow[0]", "own domain");
    refuses(
        &more("[call]\nring_limit_s = 0"),
        "call.ring_limit_s",
        "0 seconds",
    );
    refuses(
        &more("[admin]\nlisten = \"9080\""),
        "admin.listen",
        "127.0.0.1:9080",
    );
    refuses(&more("[store]\nurl = \"x.db\""), "store.url", "sqlite://");
    refuses(&more("[mix]\n"), "mix.domain", "is missing");
}

#[test]
fn odd_names_are_unknown_keys_like_others() {
    for name in ["a-b", "x[", "a.b", "[0]", "", "trunk[0]", "é"] {
        let text = format!("\"{name}\" = 1\n{MINIMAL}");
        let told = with(&text, &[]).expect_err(name).to_string();
        assert!(
            told.contains("unknown") || told.contains("is a "),
            "{name}: {told}"
        );
    }
}

#[test]
fn the_parser_tells_the_line() {
    let told = with("[xmpp\n", &[]).unwrap_err().to_string();
    assert!(told.starts_with("/etc/offhook/offhook.toml: "), "{told}");
    assert!(told.contains("line 1"), "{told}");
}

#[test]
fn the_environment_stands_over_the_file() {
    let text = format!("{MINIMAL}{TRUNK}");
    let meaning = with(
        &text,
        &[
            ("OFFHOOK_XMPP__SECRET", "12345"),
            ("OFFHOOK_MEDIA__XMPP_PORT", "41000"),
            ("OFFHOOK_ACCESS__ALLOW", "example.org, romeo@example.net"),
            ("OFFHOOK_TRUNK__0__USERNAME", "u"),
            ("OFFHOOK_TRUNK__0__PASSWORD", "p"),
            ("OFFHOOK_TRUNK__1__NAME", "other"),
            ("OFFHOOK_TRUNK__1__URI", "sip:192.0.2.1"),
            ("OFFHOOK_LOG", "debug"),
            ("HOME", "/root"),
        ],
    );
    let config = meaning.unwrap().config;
    assert_eq!(config.xmpp.secret.0, "12345");
    assert_eq!(config.media.xmpp_port, 41000);
    assert_eq!(config.access.domains.len(), 1);
    assert_eq!(config.access.users.len(), 1);
    assert_eq!(config.trunks[0].username.as_deref(), Some("u"));
    assert_eq!(config.trunks[1].host, "192.0.2.1");
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let told = |variable: &str, value: &str| {
        with(MINIMAL, &[(variable, value)])
            .expect_err(variable)
            .to_string()
    };
    assert_eq!(
        told("OFFHOOK_MEDIA__THREADS", "many"),
        "OFFHOOK_MEDIA__THREADS: media.threads: `many` is no whole number; \
         write it without quotes and units"
    );
    assert!(told("OFFHOOK_XMPP_SECRET", "s").contains("write OFFHOOK_XMPP__SECRET"));
    assert!(told("OFFHOOK_XMPP__SECRT", "s").contains("names no key"));
    assert!(told("OFFHOOK_TRUNK_0_URI", "s").contains("write OFFHOOK_TRUNK__0__URI"));
    assert!(told("OFFHOOK_SECRET", "s").contains("write OFFHOOK_SECTION__KEY"));
    assert!(told("OFFHOOK_TRUNK__3__URI", "s").contains("leaves a gap"));
    assert!(told("OFFHOOK_SIP__ADVERTISE", "::").starts_with("OFFHOOK_SIP__ADVERTISE: "));
    // A key that starts like that of the variable is another.
    let text = format!("{MINIMAL}{TRUNK}srtp_keys = \"zrtp\"\n");
    let told = with(&text, &[("OFFHOOK_TRUNK__0__SRTP", "off")]).unwrap_err();
    let place = "/etc/offhook/offhook.toml: trunk[0].srtp_keys: ";
    assert!(told.to_string().starts_with(place), "{told}");
}

#[test]
fn secrets_come_from_files_too() {
    let domain = "[xmpp]\ndomain = \"phone.example.org\"\n";
    let file = |name: &str| format!("{domain}secret_file = \"{name}\"\n");
    assert_eq!(reads(&file("secret")).config.xmpp.secret.0, "from the file");
    assert_eq!(
        reads(&file("/etc/offhook/secret")).config.xmpp.secret.0,
        "from the file"
    );
    refuses(&file("empty"), "xmpp.secret_file", "is empty");
    refuses(&file("nowhere"), "xmpp.secret_file", "cannot be read");
    let both = format!("{}secret = \"s\"", file("secret"));
    refuses(&both, "xmpp.secret_file", "only one of them");
    let over = with(&file("secret"), &[("OFFHOOK_XMPP__SECRET", "mine")]);
    assert_eq!(over.unwrap().config.xmpp.secret.0, "mine");
    let over = with(MINIMAL, &[("OFFHOOK_XMPP__SECRET_FILE", "secret")]);
    assert_eq!(over.unwrap().config.xmpp.secret.0, "from the file");
    let trunk = format!("{MINIMAL}{TRUNK}username = \"u\"\npassword_file = \"secret\"\n");
    let trunk = &reads(&trunk).config.trunks[0];
    assert_eq!(trunk.password.as_ref().unwrap().0, "from the file");
}

#[test]
fn nothing_shows_a_secret() {
    let text = format!("{MINIMAL}{TRUNK}username = \"u\"\npassword = \"pa55word\"\n");
    let meaning = reads(&text);
    let shown = format!("{meaning:?}{}", meaning.config.report());
    assert!(
        !shown.contains("s3cret") && !shown.contains("pa55word"),
        "{shown}"
    );
}

#[test]
fn what_is_hardly_meant_is_said() {
    let text = format!(
        "{MINIMAL}{TRUNK}[[route]]\nmatch = \"+4\"\ntrunk = [\"carrier\"]\n\
         [[route]]\nmatch = \"+49\"\ntrunk = [\"carrier\"]\n"
    );
    let warnings: Vec<String> = reads(&text)
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        warnings,
        [
            "route[1].match: is never reached: route[0] takes all of it",
            "access.allow: is empty: nobody can call out"
        ]
    );
}

#[test]
fn a_mix_section_takes_server_and_secret_from_xmpp() {
    let mix = "[mix]\ndomain = \"mix.example.org\"\ncreate = [\"example.org\"]\n\
               [[mix.channel]]\nname = \"Support\"\nowner = [\"juliet@example.org\"]\n\
               phones = [\"+15551234567\"]\n";
    let config = reads(&format!("{MINIMAL}{mix}")).config;
    let mix = config.mix.as_ref().expect("there is a section");
    assert_eq!(
        (&mix.server, &mix.secret),
        (&config.xmpp.server, &config.xmpp.secret)
    );
    assert_eq!(mix.channels[0].name, "support");
    assert_eq!(mix.channels[0].phones.len(), 1);
    let report = config.report();
    assert!(
        report.contains("channel  support@mix.example.org of juliet@example.org"),
        "{report}"
    );
}

#[test]
fn channels_need_a_domain_of_their_own_and_names() {
    let domain = reads(MINIMAL).config.xmpp.domain;
    let more = |text: &str| format!("{MINIMAL}[mix]\n{text}");
    let same = more(&format!("domain = \"{domain}\"\n"));
    refuses(&same, "mix.domain", "one of their own");
    let channel = "domain = \"mix.example.org\"\n[[mix.channel]]\nname = \"a#b\"\n\
                   owner = [\"juliet@example.org\"]\n";
    refuses(&more(channel), "mix.channel[0].name", "cannot stand");
}

fn warnings(text: &str) -> Vec<String> {
    let told = reads(text).warnings;
    told.iter().map(ToString::to_string).collect()
}

#[test]
fn a_trunk_that_no_listener_reaches_is_warned_of() {
    let told = |listen: &str, uri: &str, more: &str| {
        let text = format!(
            "{MINIMAL}[sip]\nlisten = {listen}\n[[trunk]]\nname = \"a\"\nuri = \"{uri}\"\n{more}\n\
             [[route]]\nmatch = \"*\"\ntrunk = [\"a\"]\n[access]\nallow = [\"example.org\"]\n"
        );
        warnings(&text).join("\n")
    };
    let (udp, tcp) = ("[\"udp://0.0.0.0:5060\"]", "[\"tcp://0.0.0.0:5060\"]");
    let both = "[\"udp://0.0.0.0:5060\", \"tcp://[::]:5060\"]";
    assert_eq!(
        told(tcp, "sip:c.example;transport=udp", ""),
        "trunk[0].uri: goes by UDP, but sip.listen has no udp://: no request can go there"
    );
    let proxy = "outbound_proxy = \"sip:p.example;transport=udp\"";
    assert!(
        told(tcp, "sip:c.example;transport=tcp", proxy).starts_with("trunk[0].outbound_proxy: ")
    );
    for (uri, kind) in [
        ("sip:c.example;transport=tcp", "TCP"),
        ("sips:c.example", "TLS"),
    ] {
        let told = told(udp, uri, "");
        assert!(told.contains(&format!("goes by {kind}, ")), "{told}");
        assert!(told.contains("come in only while"), "{told}");
    }
    assert_eq!(
        told(both, "sip:[2001:db8::1]", ""),
        "trunk[0].uri: goes by IPv6, but no udp:// in sip.listen is of it: no request can go there"
    );
    assert!(told(both, "sip:192.0.2.1;transport=tcp", "").contains("goes by IPv4, but no tcp://"));
    for (listen, uri) in [
        (udp, "sip:192.0.2.1"),
        (udp, "sip:c.example"),
        (tcp, "sip:c.example"),
        (both, "sip:[2001:db8::1];transport=tcp"),
    ] {
        assert_eq!(told(listen, uri, ""), "", "{listen} {uri}");
    }
}

#[test]
fn what_media_tells_others_is_said_for_both_kinds_of_legs() {
    let line = |more: &str| {
        let report = reads(&format!("{MINIMAL}{more}")).config.report();
        let line = report.lines().find(|line| line.starts_with("media "));
        line.unwrap_or_default().to_owned()
    };
    let sip = "[sip]\nadvertise = \"203.0.113.5\"\n";
    for (more, told) in [
        (
            "",
            "every address of the host on XMPP legs, the one toward the first trunk on SIP legs",
        ),
        (
            sip,
            "every address of the host on XMPP legs, 203.0.113.5 on SIP legs",
        ),
        ("[media]\nbind = \"192.0.2.1\"\n", "the bound address"),
        (
            "[media]\nadvertise = \"203.0.113.6\"\n[sip]\nadvertise = \"203.0.113.5\"\n",
            "203.0.113.6",
        ),
    ] {
        assert!(
            line(more).ends_with(&format!("tells others {told}")),
            "{}",
            line(more)
        );
    }
}

#[test]
fn listeners_that_take_each_others_address_are_told() {
    let listen = |sockets: &str| format!("{MINIMAL}[sip]\nlisten = [{sockets}]\n");
    // Dual stack as it is usually written, and two transports on one port.
    reads(&listen(
        "\"udp://0.0.0.0:5060\", \"udp://[::]:5060\", \"tcp://[::]:5060\"",
    ));
    refuses(
        &listen("\"udp://0.0.0.0:5060\", \"udp://127.0.0.1:5060\""),
        "sip.listen[1]",
        "127.0.0.1:5060 is taken by sip.listen[0], 0.0.0.0:5060",
    );
    let admin = |at: &str| format!("[admin]\nlisten = \"{at}\"\n");
    for (sockets, at) in [
        ("\"tcp://0.0.0.0:9080\"", "127.0.0.1:9080"),
        ("\"tcp://[::]:9080\"", "127.0.0.1:9080"),
    ] {
        let text = format!("{}{}", listen(sockets), admin(at));
        refuses(&text, "admin.listen", "choose another port");
    }
    reads(&format!(
        "{}{}",
        listen("\"udp://0.0.0.0:9080\""),
        admin("127.0.0.1:9080")
    ));
}

#[test]
fn without_a_store_nothing_is_said_of_an_archive() {
    let mix = format!("{MINIMAL}[mix]\ndomain = \"mix.example.org\"\n");
    assert!(!reads(&mix).config.report().contains("messages are kept"));
    let told = warnings(&format!("{mix}archive_days = 3\n"));
    let about = |line: &String| line.starts_with("mix.archive_days: does nothing without [store]");
    assert!(told.iter().any(about), "{told:?}");
    let kept = format!("{mix}archive_days = 3\n[store]\nurl = \"sqlite:///var/lib/offhook.db\"\n");
    assert!(
        reads(&kept)
            .config
            .report()
            .contains("messages are kept for 3 days")
    );
    assert!(!warnings(&kept).iter().any(about));
}

#[test]
fn addresses_that_nobody_has_are_refused_where_people_are_listed() {
    let allow = |text: &str| format!("{MINIMAL}[access]\nallow = [\"{text}\"]\n");
    refuses(&allow("*.example.org"), "access.allow[0]", "no wildcards");
    refuses(
        &allow("@example.org"),
        "access.allow[0]",
        "write example.org for everybody there",
    );
    let own = "+15551234567@phone.example.org";
    refuses(&allow(own), "access.allow[0]", "contact of this gateway");
    let mix = format!("{MINIMAL}[mix]\ndomain = \"mix.example.org\"\n");
    refuses(
        &format!("{mix}create = [\"*\"]"),
        "mix.create[0]",
        "no wildcards",
    );
    let number = format!("{MINIMAL}[[number]]\nnumber = \"+15550001000\"\nring = [\"{own}\"]\n");
    refuses(&number, "number[0].ring[0]", "contact of this gateway");
}

#[test]
fn hints_do_not_lead_to_the_next_mistake() {
    let trunk = |line: &str| format!("{MINIMAL}{TRUNK}{line}\n");
    refuses(
        &trunk("from_domain = \"sip:pbx.example.org\""),
        "trunk[0].from_domain",
        "is a URI; write pbx.example.org",
    );
    refuses(
        &trunk("codecs = [\"G729\"]"),
        "trunk[0].codecs[0]",
        "there are opus, G722",
    );
    let empty = "username = \"u\"\npassword_file = \"\"";
    refuses(
        &trunk(empty),
        "trunk[0].password_file",
        "write the name of a file",
    );
    let cert = format!("{MINIMAL}[sip.tls]\ncert = \"\"\nkey = \"key.pem\"\n");
    refuses(&cert, "sip.tls.cert", "write the name of a file");
    let proxied = "srtp = \"offer\"\noutbound_proxy = \"sip:p.example;transport=tls\"";
    let text = trunk(proxied).replace("carrier.example\"", "carrier.example;transport=udp\"");
    let told = warnings(&text);
    assert!(
        !told.iter().any(|line| line.contains("anybody on the way")),
        "{told:?}"
    );
}
