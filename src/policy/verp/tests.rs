//! Tokens come back as they left, and nothing else is taken for one.

use proptest::prelude::*;

use super::*;

const NOW: WallTime = WallTime(1_795_491_661_007);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn verp(address: &str, secrets: &str) -> Verp {
    let address = Mailbox::parse(address, true).expect("an address");
    Verp::new(address, Secrets::parse(secrets).expect("secrets").into(), days(30)).expect("it fits")
}

fn ours() -> Verp {
    verp("bounces@b.example", SECRET)
}

fn traces() -> [Trace; 6] {
    let message = MessageId(0x0123_4567_89ab_cdef);
    let recipient = Some(Mark::of("user@example.com"));
    let tenant = Some(Mark::of_tenant(&TenantName::parse("acme").expect("a name")));
    let campaign = CampaignName::parse("news/2026").expect("a name");
    let campaign = Some(Mark::of_campaign(&campaign));
    [
        Trace { message, recipient: None, tenant: None, campaign: None },
        Trace { message, recipient, tenant: None, campaign: None },
        Trace { message, recipient: None, tenant, campaign: None },
        Trace { message, recipient, tenant, campaign: None },
        Trace { message, recipient: None, tenant, campaign },
        Trace { message, recipient, tenant, campaign },
    ]
}

/// Made by another program, after this module's description.
#[test]
fn tokens_are_what_they_are_said_to_be_and_those_of_before_are_still_read() {
    let verp = ours();
    let trace = traces();
    for (trace, token) in [
        (trace[0], "caasgrlhrgv4332rfwype6pkjufsok62pe"),
        (trace[1], "ceasgrlhrgv4332rfw2mtiujq7xwcoddqjcq75r5"),
        (trace[2], "ciasgrlhrgv4332rfxjopfjjduxcvmohiaurqvfk"),
        (trace[3], "cmasgrlhrgv4332rfw2mtiuj2ltzkkiexmogqdrbvnjpgcq"),
        (trace[5], "c4asgrlhrgv4332rfw2mtiuj2ltzkkp7ozya7itchyjkgcmgxjbsc"),
    ] {
        assert_eq!(verp.token(Use::ReversePath, trace, NOW), token);
        assert_eq!(verp.check(Use::ReversePath, token, NOW), Ok(trace));
    }
}

#[test]
fn a_reverse_path_comes_back_whatever_its_case() {
    let verp = ours();
    for trace in traces() {
        let path = verp.reverse_path(trace, NOW);
        assert_eq!(verp.read(&path, NOW), Some(Ok(trace)), "{path}");
        for changed in [path.as_str().to_uppercase(), path.as_str().to_lowercase()] {
            let changed = Mailbox::parse(&changed, false).expect("an address");
            assert_eq!(verp.read(&changed, NOW), Some(Ok(trace)), "{changed}");
        }
    }
}

//= RFC 5321 §4.5.3.1.1, type=test
//# The maximum total length of a user name or other local-part is 64 octets.
#[test]
fn the_longest_token_fits_behind_the_longest_local_part() {
    let local = "x".repeat(VERP_LOCAL_MAX);
    let short = "x".repeat(VERP_LOCAL_SHORT_MAX);
    for (local, with, most) in [(&local, [40, 47], 47), (&short, [47, VERP_TOKEN_MAX], 53)] {
        let verp = verp(&format!("{local}@b.example"), SECRET);
        for (trace, length) in traces().into_iter().zip([34, 40, 40, 47].into_iter().chain(with)) {
            let path = verp.reverse_path(trace, NOW);
            assert_eq!(path.local_part().len(), local.len() + 1 + length);
            assert!(path.local_part().len() <= 64 && length <= most, "{path}");
            // Where there is no room for a campaign, all else is there.
            let campaign = trace.campaign.filter(|_| verp.has_room_for_campaign());
            assert_eq!(verp.read(&path, NOW), Some(Ok(Trace { campaign, ..trace })));
        }
    }
    let secrets = || Arc::new(Secrets::parse(SECRET).expect("secrets"));
    for unfit in [format!("x{local}@b.example"), "\"a b\"@b.example".into()] {
        let address = Mailbox::parse(&unfit, false).expect("an address");
        assert!(Verp::new(address, secrets(), days(30)).is_none(), "{unfit}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let verp = ours();
    for trace in traces() {
        let token = verp.token(Use::ReversePath, trace, NOW);
        let octets = base32::read(&token).expect("base32");
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let checked = verp.check(Use::ReversePath, &base32::write(&flipped), NOW);
            assert_eq!(checked, Err(TokenError::Forged), "bit {bit}");
        }
        for end in 0..token.len() {
            let checked = verp.check(Use::ReversePath, &token[..end], NOW);
            assert_eq!(checked, Err(TokenError::Forged), "cut at {end}");
        }
    }
}

#[test]
fn every_changed_character_of_a_reverse_path_is_refused_or_no_token() {
    let verp = ours();
    let path = verp.reverse_path(traces()[1], NOW);
    let start = "bounces+".len();
    for at in start..path.local_part().len() {
        for other in "abcdefghijklmnopqrstuvwxyz0123456789-=".chars() {
            let mut text = path.as_str().to_owned();
            text.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
            let changed = Mailbox::parse(&text, false).expect("an address");
            let expected = if changed == path { Ok(traces()[1]) } else { Err(TokenError::Forged) };
            assert_eq!(verp.read(&changed, NOW), Some(expected), "{changed}");
        }
    }
}

#[test]
fn another_secret_domain_or_use_signs_nothing_of_ours() {
    let trace = traces()[0];
    let token = ours().token(Use::ReversePath, trace, NOW);
    let refused = Err(TokenError::Forged);
    let stranger = verp("bounces@b.example", OTHER);
    assert_eq!(stranger.check(Use::ReversePath, &token, NOW), refused);
    let elsewhere = verp("bounces@c.example", SECRET);
    assert_eq!(elsewhere.check(Use::ReversePath, &token, NOW), refused);
    assert_eq!(ours().check(Use::FeedbackId, &token, NOW), refused);
}

#[test]
fn a_secret_that_signed_before_still_checks() {
    let trace = traces()[1];
    let before = ours().reverse_path(trace, NOW);
    let changed = verp("bounces@b.example", &format!("{OTHER}\n{SECRET}\n"));
    assert_eq!(changed.read(&before, NOW), Some(Ok(trace)));
    let after = changed.reverse_path(trace, NOW);
    assert_eq!(changed.read(&after, NOW), Some(Ok(trace)));
    assert_eq!(ours().read(&after, NOW), Some(Err(TokenError::Forged)));
}

#[test]
fn a_token_is_good_for_its_days_and_a_clock_that_was_ahead_does_no_harm() {
    let verp = ours();
    let trace = traces()[0];
    let path = verp.reverse_path(trace, NOW);
    assert_eq!(verp.read(&path, NOW + days(30)), Some(Ok(trace)));
    assert_eq!(verp.read(&path, NOW + days(31)), Some(Err(TokenError::Expired)));
    assert_eq!(verp.read(&path, WallTime(NOW.0 - 86_400_000)), Some(Ok(trace)));
}

#[test]
fn what_is_no_reverse_path_of_ours_is_left_to_others() {
    let verp = ours();
    let token = verp.token(Use::ReversePath, traces()[0], NOW);
    for other in [
        "bounces@b.example".to_owned(),
        "bouncesx@b.example".into(),
        format!("bounces-{token}@b.example"),
        format!("other+{token}@b.example"),
        format!("bounces+{token}@c.example"),
        "é@b.example".into(),
        "bouncé@b.example".into(),
    ] {
        let address = Mailbox::parse(&other, true).expect("an address");
        assert_eq!(verp.read(&address, NOW), None, "{other}");
    }
    let empty = Mailbox::parse("bounces+@b.example", false).expect("an address");
    assert_eq!(verp.read(&empty, NOW), Some(Err(TokenError::Forged)));
}

//= draft-levine-smtp-batv-01 §4
//# tag-val = K DDD SSSSSS
/// Who signs that way has a tag of another form, of another secret.
#[test]
fn a_tag_of_batv_is_no_token() {
    let verp = ours();
    for local in ["bounces+prvs=0001abcdef", "bounces+0001abcdef=user", "bounces+0123456789"] {
        let address = Mailbox::parse(&format!("{local}@b.example"), false).expect("an address");
        assert_eq!(verp.read(&address, NOW), Some(Err(TokenError::Forged)), "{local}");
    }
}

#[test]
fn a_recipient_is_marked_in_whatever_case() {
    let mark = Mark::of("user@example.com");
    assert_eq!(mark, Mark::of("User@Example.COM"));
    assert_ne!(mark, Mark::of("user@example.org"));
}

proptest! {
    #[test]
    fn no_text_is_a_token_and_none_panics(text in "\\PC{0,50}") {
        prop_assert_eq!(ours().check(Use::ReversePath, &text, NOW), Err(TokenError::Forged));
    }

    #[test]
    fn every_id_comes_back(id in any::<u64>(), now in 0i64..5_000_000_000_000) {
        let trace = Trace { message: MessageId(id), ..traces()[0] };
        let token = ours().token(Use::FeedbackId, trace, WallTime(now));
        prop_assert_eq!(ours().check(Use::FeedbackId, &token, WallTime(now)), Ok(trace));
    }
}
