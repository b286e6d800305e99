use super::*;
use crate::description::Crypto;
use crate::id::TokenMaker;

// RFC 7714 §16 and §17: session keys, not master keys.
const GCM_SALT: &str = "517569642070726f2071756f";
const RTP: &str = "8040f17b8041f8d35501a0b2\
    47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
    deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

#[test]
fn aes_cm_key_stream_is_that_of_rfc_3711_b2() {
    let session = Session::new(
        Profile::AesCm128HmacSha1_80,
        &array("2B7E151628AED2A6ABF7158809CF4F3C00000000000000000000000000000000"),
        &[0; 20],
        &array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
        10,
    );
    let mut stream = vec![0; 1_044_512];
    session.key_stream(0, 0, &mut stream);
    assert_eq!(
        stream[..48],
        bytes(
            "E03EAD0935C95E80E166B16DD92B4EB4\
             D23513162B02D0F72A43A2FE4A5F97AB\
             41E95B3BB0A2E8DD477901E4FCA894C0"
        )
    );
    assert_eq!(
        stream[stream.len() - 48..],
        bytes(
            "EC8CDF7398607CB0F2D21675EA9EA1E4\
             362B7C3C6773516318A077D7FC5073AE\
             6A2CC3787889374FBEB4C81B17BA6C44"
        )
    );
}

#[test]
fn keys_are_derived_as_in_rfc_3711_b3() {
    let master = b3_master();
    let mut key = [0; 16];
    derive_key(&master, 0, &mut key);
    assert_eq!(key[..], bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    let mut auth = [0; 94];
    derive_key(&master, 1, &mut auth);
    assert_eq!(
        auth[..],
        bytes(
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
        )
    );
    let mut salt = [0; 14];
    derive_key(&master, 2, &mut salt);
    assert_eq!(salt[..], bytes("30CBBC08863D8C85D49DB34A9AE1"));
}

#[test]
fn keys_of_256_bits_are_derived_as_in_rfc_6188() {
    let master = rfc_6188_master();
    let mut key = [0; 32];
    derive_key(&master, 0, &mut key);
    assert_eq!(
        key[..],
        bytes("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
    );
    let mut auth = [0; 20];
    derive_key(&master, 1, &mut auth);
    assert_eq!(auth[..], bytes("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    let mut salt = [0; 14];
    derive_key(&master, 2, &mut salt);
    assert_eq!(salt[..], bytes("fa31791685ca444a9e07c6c64e93"));
}

#[test]
fn whole_packets_agree_with_libsrtp() {
    let plain = bytes("800f1234decafbadcafebabeabababababababababababababababab");
    let cases = [
        (
            b3_master(),
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
        ),
        (
            rfc_6188_master(),
            "800f1234decafbadcafebabef1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b",
        ),
    ];
    for (master, protected) in cases {
        assert_eq!(seal(&mut Protect::new(&master), &plain), bytes(protected));
        assert_eq!(
            open(&mut Unprotect::new(&master), &bytes(protected)).unwrap(),
            plain
        );
    }
}

#[test]
fn gcm_srtp_packets_are_those_of_rfc_7714_16() {
    let cases = [
        (
            Profile::AeadAes128Gcm,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a\
             51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Profile::AeadAes256Gcm,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a02\
             76ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (profile, protected) in cases {
        let mut sender = Protect(gcm_context(profile));
        assert_eq!(seal(&mut sender, &bytes(RTP)), bytes(protected));
        let mut receiver = Unprotect(gcm_context(profile));
        assert_eq!(open(&mut receiver, &bytes(protected)), Ok(bytes(RTP)));
    }
}

#[test]
fn gcm_srtcp_packets_are_those_of_rfc_7714_17() {
    let cases = [
        (
            Profile::AeadAes128Gcm,
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda\
             4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        ),
        (
            Profile::AeadAes256Gcm,
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be\
             8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        ),
    ];
    for (profile, protected) in cases {
        let mut sender = Protect(gcm_context(profile));
        for _ in 0..0x5d4 {
            seal_rtcp(&mut sender, &bytes(RTCP));
        }
        assert_eq!(seal_rtcp(&mut sender, &bytes(RTCP)), bytes(protected));
        let mut receiver = Unprotect(gcm_context(profile));
        assert_eq!(open_rtcp(&mut receiver, &bytes(protected)), Ok(bytes(RTCP)));
    }
}

#[test]
fn gcm_srtcp_that_is_only_tagged_is_taken() {
    let cases = [
        (Profile::AeadAes128Gcm, "841dd9683dd78ec92ae58790125f62b3"),
        (Profile::AeadAes256Gcm, "91db4afbfeee5a978fab4393ed2615fe"),
    ];
    for (profile, tag) in cases {
        let tagged = [bytes(RTCP), bytes(tag), bytes("000005d4")].concat();
        let mut receiver = Unprotect(gcm_context(profile));
        assert_eq!(open_rtcp(&mut receiver, &tagged), Ok(bytes(RTCP)));
        let mut forged = tagged;
        forged[20] ^= 1;
        let mut receiver = Unprotect(gcm_context(profile));
        assert_eq!(
            open_rtcp(&mut receiver, &forged),
            Err(SrtpError::Authentication)
        );
    }
}

#[test]
fn cm_srtcp_that_is_only_tagged_is_taken() {
    let context = Context::new(&b3_master());
    let mut packet = bytes(RTCP);
    let word = 7u32.to_be_bytes();
    let tag = context.rtcp.cm_tag(&packet, word);
    packet.extend(word);
    packet.extend(&tag[..10]);
    let mut receiver = Unprotect::new(&b3_master());
    assert_eq!(open_rtcp(&mut receiver, &packet), Ok(bytes(RTCP)));
}

#[test]
fn every_profile_goes_round_with_and_without_key_identifier() {
    for profile in Profile::ALL {
        for mki in [&[][..], &[1], &[0, 0, 0, 9]] {
            let (mut sender, mut receiver) = pair(profile, mki);
            for sequence in 0..300u16 {
                let plain = packet(7, sequence, usize::from(sequence));
                let wire = seal(&mut sender, &plain);
                assert_eq!(wire.len(), plain.len() + profile.rtp_tag_len() + mki.len());
                assert_eq!(open(&mut receiver, &wire), Ok(plain));
            }
            for _ in 0..10 {
                let wire = seal_rtcp(&mut sender, &bytes(RTCP));
                assert_eq!(open_rtcp(&mut receiver, &wire), Ok(bytes(RTCP)));
            }
        }
    }
}

#[test]
fn header_extension_and_csrc_stay_in_the_clear() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        let mut plain = vec![0x91, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        plain.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        plain.extend(b"hello");
        let wire = seal(&mut sender, &plain);
        assert_eq!(wire[..24], plain[..24]);
        assert_ne!(wire[24..29], plain[24..]);
        assert_eq!(open(&mut receiver, &wire), Ok(plain));
    }
}

#[test]
fn a_replayed_packet_is_refused() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        let wires: Vec<_> = (0..5)
            .map(|s| seal(&mut sender, &packet(1, s, 9)))
            .collect();
        for wire in &wires {
            open(&mut receiver, wire).unwrap();
        }
        for wire in &wires {
            assert_eq!(open(&mut receiver, wire), Err(SrtpError::Replayed));
        }
        let report = seal_rtcp(&mut sender, &bytes(RTCP));
        open_rtcp(&mut receiver, &report).unwrap();
        assert_eq!(open_rtcp(&mut receiver, &report), Err(SrtpError::Replayed));
    }
}

#[test]
fn an_index_is_never_used_twice_for_sending() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm, &[]);
    let plain = packet(1, 5, 9);
    seal(&mut sender, &plain);
    let mut buffer = [plain, vec![0; TAIL_ROOM]].concat();
    assert_eq!(sender.rtp(&mut buffer, 21), Err(SrtpError::Replayed));
}

#[test]
fn a_damaged_packet_is_refused_and_does_no_harm() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        let wire = seal(&mut sender, &packet(1, 5, 20));
        for at in 0..wire.len() {
            let mut forged = wire.clone();
            forged[at] ^= 4;
            assert!(open(&mut receiver, &forged).is_err(), "{profile:?} {at}");
        }
        assert_eq!(open(&mut receiver, &wire), Ok(packet(1, 5, 20)));
        let report = seal_rtcp(&mut sender, &bytes(RTCP));
        for at in 0..report.len() {
            let mut forged = report.clone();
            forged[at] ^= 4;
            assert!(open_rtcp(&mut receiver, &forged).is_err());
        }
        assert_eq!(open_rtcp(&mut receiver, &report), Ok(bytes(RTCP)));
    }
}

#[test]
fn the_roll_over_counter_follows_the_wrap() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        // Three times around: each wrap counts.
        for step in 0..3 * 65_536u32 / 97 {
            let plain = packet(1, (step * 97) as u16, 9);
            let wire = seal(&mut sender, &plain);
            assert_eq!(open(&mut receiver, &wire), Ok(plain));
        }
        assert_eq!(receiver.0.streams[0].rtp.highest >> 16, 2);
    }
}

#[test]
fn late_packets_around_the_wrap_belong_to_the_roll_over_before() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        let order = [0xfffa_u16, 0xfffe, 1, 0xffff, 0, 0xfffc, 3, 0xfffd, 2];
        for sequence in order {
            let plain = packet(1, sequence, 9);
            // The relay sees them in this order, too.
            let wire = seal(&mut sender, &plain);
            assert_eq!(open(&mut receiver, &wire), Ok(plain));
        }
        // Sent in order, received out of order.
        let (mut sender, mut receiver) = pair(profile, &[]);
        let plains: Vec<_> = (0..9)
            .map(|n| packet(1, 0xfffb_u16.wrapping_add(n), 9))
            .collect();
        let wires: Vec<_> = plains
            .iter()
            .map(|plain| seal(&mut sender, plain))
            .collect();
        for at in [0, 7, 2, 5, 1, 8, 3, 6, 4] {
            assert_eq!(open(&mut receiver, &wires[at]), Ok(plains[at].clone()));
        }
    }
}

#[test]
fn a_packet_behind_the_window_is_refused() {
    let (mut sender, mut receiver) = pair(Profile::AesCm128HmacSha1_80, &[]);
    let late = seal(&mut sender, &packet(1, 0, 9));
    let border = seal(&mut sender, &packet(1, 1, 9));
    let newest = seal(&mut sender, &packet(1, REPLAY_WINDOW as u16, 9));
    open(&mut receiver, &newest).unwrap();
    assert_eq!(open(&mut receiver, &late), Err(SrtpError::TooOld));
    assert!(open(&mut receiver, &border).is_ok());
}

#[test]
fn nothing_is_older_than_the_first_roll_over() {
    let (mut sender, mut receiver) = pair(Profile::AesCm128HmacSha1_80, &[]);
    let first = seal(&mut sender, &packet(1, 2, 9));
    open(&mut receiver, &first).unwrap();
    let mut buffer = [packet(1, 0xfff0, 9), vec![0; TAIL_ROOM]].concat();
    assert_eq!(sender.rtp(&mut buffer, 21), Err(SrtpError::TooOld));
    assert_eq!(receiver.rtp(&mut buffer), Err(SrtpError::TooOld));
}

#[test]
fn a_stream_joined_after_its_first_wrap_is_understood() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        seal(&mut sender, &packet(1, 0xffff, 9)); // lost
        for sequence in 4..8 {
            let plain = packet(1, sequence, 9);
            let wire = seal(&mut sender, &plain);
            assert_eq!(open(&mut receiver, &wire), Ok(plain), "{profile:?}");
        }
    }
}

#[test]
fn another_ssrc_has_an_index_of_its_own() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[]);
        for sequence in [0xfff0, 0xffff, 3] {
            let wire = seal(&mut sender, &packet(1, sequence, 9));
            open(&mut receiver, &wire).unwrap();
        }
        // A transfer: another source in the middle of the call, and back again.
        for (ssrc, sequence) in [(2, 3), (2, 4), (1, 4), (2, 5)] {
            let plain = packet(ssrc, sequence, 9);
            let wire = seal(&mut sender, &plain);
            assert_eq!(open(&mut receiver, &wire), Ok(plain));
        }
    }
}

#[test]
fn the_number_of_streams_is_bounded_and_forgeries_take_no_place() {
    let (mut sender, mut receiver) = pair(Profile::AesCm128HmacSha1_80, &[]);
    for ssrc in 1_000..2_000 {
        let forged = [packet(ssrc, 1, 9), vec![0; 10]].concat();
        assert_eq!(open(&mut receiver, &forged), Err(SrtpError::Authentication));
    }
    for ssrc in 0..STREAMS_LIMIT as u32 {
        let wire = seal(&mut sender, &packet(ssrc, 1, 9));
        open(&mut receiver, &wire).unwrap();
    }
    let mut buffer = [packet(5_000, 1, 9), vec![0; TAIL_ROOM]].concat();
    assert_eq!(sender.rtp(&mut buffer, 21), Err(SrtpError::TooManyStreams));
}

#[test]
fn a_buffer_without_room_is_refused() {
    let (mut sender, _) = pair(Profile::AeadAes128Gcm, &[]);
    let mut buffer = packet(1, 1, 9);
    let len = buffer.len();
    assert_eq!(sender.rtp(&mut buffer, len), Err(SrtpError::NoRoom));
    assert_eq!(sender.rtp(&mut buffer, len + 1), Err(SrtpError::Malformed));
}

#[test]
fn a_packet_under_another_key_identifier_is_refused() {
    let (mut sender, _) = pair(Profile::AesCm128HmacSha1_80, &[1]);
    let (_, mut receiver) = pair(Profile::AesCm128HmacSha1_80, &[2]);
    let wire = seal(&mut sender, &packet(1, 1, 9));
    assert_eq!(open(&mut receiver, &wire), Err(SrtpError::UnknownKey));
}

#[test]
fn sdes_lines_become_keys() {
    let crypto = |suite: &str, key: &str| Crypto {
        tag: 1,
        suite: suite.to_owned(),
        key: key.to_owned(),
    };
    // RFC 4568 §9.2's example key.
    let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let plain = MasterKey::from_sdes(&crypto("AES_CM_128_HMAC_SHA1_80", key)).unwrap();
    assert_eq!(plain.key[..16], *b"YS___semctl () {");
    assert_eq!(plain.salt, *b"\t220;}\n}\nunles");
    let with_mki = MasterKey::from_sdes(&crypto(
        "AES_CM_128_HMAC_SHA1_32",
        &format!("{key}|2^20|1:4"),
    ))
    .unwrap();
    assert_eq!(with_mki.mki.as_bytes(), [0, 0, 0, 1]);
    let lifetime = MasterKey::from_sdes(&crypto("AES_CM_128_HMAC_SHA1_80", &format!("{key}|2^31")));
    assert_eq!(lifetime.as_ref(), Ok(&plain));
    let window = MasterKey::from_sdes(&crypto("AES_CM_128_HMAC_SHA1_80", &format!("{key} WSH=64")));
    assert_eq!(window, Ok(plain));
    let wrong = [
        ("AES_CM_128_NULL", key.to_owned(), "unknown crypto suite"),
        ("AEAD_AES_128_GCM", key.to_owned(), "malformed"),
        ("AES_CM_128_HMAC_SHA1_80", "inline:".to_owned(), "malformed"),
        ("AES_CM_128_HMAC_SHA1_80", "WVNf".to_owned(), "malformed"),
        ("AES_CM_128_HMAC_SHA1_80", format!("{key}!"), "malformed"),
        (
            "AES_CM_128_HMAC_SHA1_80",
            format!("{key}|999:1"),
            "malformed",
        ),
        (
            "AES_CM_128_HMAC_SHA1_80",
            format!("{key}|1:99"),
            "unsupported",
        ),
        (
            "AES_CM_128_HMAC_SHA1_80",
            format!("{key} UNENCRYPTED_SRTP"),
            "unsupported",
        ),
    ];
    for (suite, key, error) in wrong {
        let result = MasterKey::from_sdes(&crypto(suite, &key)).unwrap_err();
        assert!(result.to_string().starts_with(error), "{key}: {result}");
    }
}

#[test]
fn keys_exported_by_dtls_are_split_as_in_rfc_5764() {
    for profile in Profile::ALL {
        let exported: Vec<u8> = (0..MasterKey::exported_len(profile) as u8).collect();
        let (client, server) = MasterKey::pair_from_dtls(profile, &exported).unwrap();
        let (key, salt) = (profile.key_len() as u8, profile.salt_len() as u8);
        assert_eq!((client.key[0], server.key[0]), (0, key));
        assert_eq!((client.salt[0], server.salt[0]), (2 * key, 2 * key + salt));
        assert!(MasterKey::pair_from_dtls(profile, &exported[1..]).is_err());
    }
}

#[test]
fn names_and_numbers_of_profiles_go_round() {
    for profile in Profile::ALL {
        assert_eq!(Profile::from_suite(profile.suite()), Some(profile));
        if let Some(number) = profile.dtls_number() {
            assert_eq!(Profile::from_dtls_number(number), Some(profile));
        }
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let master = b3_master();
    assert_eq!(format!("{master:?}"), "MasterKey(AES_CM_128_HMAC_SHA1_80)");
    let text = format!("{:?} {:?}", Protect::new(&master), Unprotect::new(&master));
    assert!(text.len() < 80);
}

#[test]
fn no_bytes_make_it_panic() {
    let mut tokens = TokenMaker::new([3; 32]);
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, &[1, 2]);
        let (mut relay, _) = pair(profile, &[1, 2]);
        for round in 0..2_000 {
            let mut bytes = if round % 2 == 0 {
                seal(&mut sender, &packet(1, round, 30))
            } else {
                vec![0x80; tokens.below(80) as usize]
            };
            for _ in 0..1 + tokens.below(4) {
                let at = tokens.below(bytes.len().max(1) as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = tokens.number() as u8;
                }
            }
            bytes.truncate(tokens.below(1 + bytes.len() as u64) as usize);
            let mut again = bytes.clone();
            let _ = receiver.rtp(&mut again);
            let _ = receiver.rtcp(&mut bytes.clone());
            bytes.resize(bytes.len() + TAIL_ROOM, 0);
            let len = bytes.len() - TAIL_ROOM;
            let _ = relay.rtp(&mut bytes.clone(), len);
            let _ = relay.rtcp(&mut bytes, len);
        }
    }
}

fn pair(profile: Profile, mki: &[u8]) -> (Protect, Unprotect) {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
    let master = MasterKey::new(profile, &key, &salt, Mki::new(mki).unwrap()).unwrap();
    (Protect::new(&master), Unprotect::new(&master))
}

fn b3_master() -> MasterKey {
    MasterKey::new(
        Profile::AesCm128HmacSha1_80,
        &bytes("E1F97A0D3E018BE0D64FA32C06DE4139"),
        &bytes("0EC675AD498AFEEBB6960B3AABE6"),
        Mki::default(),
    )
    .unwrap()
}

fn rfc_6188_master() -> MasterKey {
    MasterKey::new(
        Profile::AesCm256HmacSha1_80,
        &bytes("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
        &bytes("3b04803de51ee7c96423ab5b78d2"),
        Mki::default(),
    )
    .unwrap()
}

/// A context from session keys, as RFC 7714 gives them.
fn gcm_context(profile: Profile) -> Context {
    let mut key = [0; KEY_LIMIT];
    for (byte, value) in key.iter_mut().zip(0..) {
        *byte = value;
    }
    let mut salt = [0; SALT_LIMIT];
    salt[..12].copy_from_slice(&bytes(GCM_SALT));
    let session = || Session::new(profile, &key, &[0; 20], &salt, 16);
    Context {
        profile,
        mki: Mki::default(),
        rtp: session(),
        rtcp: session(),
        streams: Vec::new(),
        last: 0,
    }
}

fn packet(ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp: 160 * u32::from(sequence),
        ssrc,
        payload_start: 0,
        payload_end: 0,
    };
    let mut buffer = vec![0; 12 + payload];
    header.write(&vec![0x55; payload], &mut buffer).unwrap();
    buffer
}

fn seal(sender: &mut Protect, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; TAIL_ROOM]].concat();
    let len = sender.rtp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn open(receiver: &mut Unprotect, wire: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = wire.to_vec();
    let len = receiver.rtp(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

fn seal_rtcp(sender: &mut Protect, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; TAIL_ROOM]].concat();
    let len = sender.rtcp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn open_rtcp(receiver: &mut Unprotect, wire: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = wire.to_vec();
    let len = receiver.rtcp(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}
