//! Pieces of one user, in every order: they give the same affiliate.

use super::super::{Audience, CustomField, Effect, Intent, Reason, map};
use super::*;
use crate::segment::Event;
use std::time::Duration;

/// One day, in milliseconds.
const DAY: i64 = 86_400_000;
/// When the pieces are received: later than all of them.
const NOW: i64 = 1_750_000_000_000;

fn rules() -> Rules {
    let effect =
        |status, offer: Option<&str>| Effect { status, offer: offer.map(Into::into), custom_fields: Vec::new() };
    Rules {
        create_if: Some(CreateIf { trait_name: "wants".into(), equals: "true".into() }),
        remember_traits: Some(Duration::from_secs(3_600)),
        custom_fields: vec![CustomField { trait_name: "plan".into(), id: "9".into() }],
        audiences: vec![
            Audience {
                trait_name: "vip".into(),
                on_true: effect(Some(AffiliateStatus::Active), Some("7")),
                on_false: effect(None, Some("8")),
            },
            Audience {
                trait_name: "banned".into(),
                on_true: effect(Some(AffiliateStatus::Denied), None),
                on_false: Effect::default(),
            },
        ],
        ..Rules::default()
    }
}

/// An identify of `u1` with these traits that was true `day` days before now, and more of the event.
fn event(day: i64, traits: &str, more: &str) -> Identify {
    let timestamp = humantime::format_rfc3339_millis(
        std::time::UNIX_EPOCH + Duration::from_millis((NOW - day * DAY).unsigned_abs()),
    );
    let text = format!(r#"{{"type":"identify","userId":"u1","timestamp":"{timestamp}","traits":{traits}{more}}}"#);
    let mapped = map(&Event::parse(&text).expect("an event"), &rules(), Timestamp(NOW));
    match mapped.intent.expect("mapped") {
        Intent::Identify(identify) => identify,
        other => panic!("{text}: {other:?}"),
    }
}

fn pieces(event: &Identify) -> &Pieces {
    event.pieces.as_deref().expect("a trusted project and a userId")
}

/// What the last of these events creates together with the others: `email=… city=… ACTIVE`, or why it creates nobody.
fn together(events: &[Identify], rules: &Rules) -> String {
    let mut traits = RememberedTraits::default();
    let mut created = String::new();
    for event in events {
        traits = traits.with(event, pieces(event), Precedence::Newer);
        traits = RememberedTraits::from_bytes(&traits.to_bytes()).expect("its own bytes");
        created = match traits.creating(event, pieces(event), rules).creation {
            Creation::Allowed(new) => {
                let fields: Vec<_> = new.profile.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{} {}", fields.join(" "), new.status)
            }
            Creation::Skipped(reason) => reason.to_string(),
            Creation::Invalid(error) => error.to_string(),
        };
    }
    created
}

fn permutations(events: &[Identify]) -> Vec<Vec<Identify>> {
    let Some((first, rest)) = events.split_first() else { return vec![Vec::new()] };
    let with = |order: Vec<Identify>| {
        (0..=order.len()).map(move |place| {
            let mut order = order.clone();
            order.insert(place, first.clone());
            order
        })
    };
    permutations(rest).into_iter().flat_map(with).collect()
}

#[test]
fn pieces_in_any_order_give_the_same_affiliate() {
    let engage = r#","context":{"personas":{"computation_class":"audience"}}"#;
    for (pieces, created) in [
        (
            vec![event(3, r#"{"email":"a@x.io","name":"Ann Lee"}"#, ""), event(1, r#"{"wants":true}"#, "")],
            "first_name=Ann last_name=Lee email=a@x.io unique_merchant_id=u1 PENDING",
        ),
        (
            vec![
                event(3, r#"{"email":"a@x.io"}"#, ""),
                event(2, r#"{"firstName":"Ann","phone":"1"}"#, ""),
                event(1, r#"{"wants":"TRUE"}"#, ""),
            ],
            "first_name=Ann last_name=- email=a@x.io phone=1 unique_merchant_id=u1 PENDING",
        ),
        (
            vec![
                event(4, r#"{"vip":true}"#, engage),
                event(3, r#"{"email":"a@x.io","name":"Ann Lee"}"#, ""),
                event(1, r#"{"wants":true}"#, ""),
            ],
            "first_name=Ann last_name=Lee email=a@x.io offer=7 unique_merchant_id=u1 ACTIVE",
        ),
        (
            vec![
                event(1, r#"{"name":"Ann Lee"}"#, r#","context":{"traits":{"email":"c@x.io"}}"#),
                event(2, r#"{"wants":true}"#, ""),
            ],
            "first_name=Ann last_name=Lee email=c@x.io unique_merchant_id=u1 PENDING",
        ),
    ] {
        let all = permutations(&pieces);
        assert!(all.len() >= 2);
        for order in all {
            assert_eq!(together(&order, &rules()), created, "{order:?}");
        }
    }
}

#[test]
fn the_newer_of_two_pieces_about_one_attribute_counts_in_either_order() {
    let wants = || event(0, r#"{"wants":true}"#, "");
    let address = |day, street: &str| event(day, &format!(r#"{{"address":{{"city":"Paris"{street}}}}}"#), "");
    for (pieces, holds) in [
        (
            [event(3, r#"{"name":"Old Name","email":"a@x.io"}"#, ""), event(1, r#"{"name":"New Name"}"#, "")],
            "first_name=New",
        ),
        (
            [event(3, r#"{"name":"A B","email":"old@x.io"}"#, ""), event(1, r#"{"email":"new@x.io"}"#, "")],
            "email=new@x.io",
        ),
    ] {
        for order in permutations(&pieces) {
            let created = together(&[order, vec![wants()]].concat(), &rules());
            assert!(created.contains(holds), "{created}");
        }
    }
    for order in permutations(&[address(3, r#","street":"1 Main St, Suite 5""#), address(1, "")]) {
        let both = order
            .iter()
            .fold(RememberedTraits::default(), |traits, event| traits.with(event, pieces(event), Precedence::Newer));
        let later = both.updating(&wants());
        let value = |field: Field| later.facts.get(&field.into()).map(|fact| fact.value.clone());
        assert_eq!(value(Field::City).as_deref(), Some("Paris"));
        assert!(both.names().contains(&"city".to_owned()), "{:?}", both.names());
    }
}

#[test]
fn the_event_that_arrives_last_counts_where_the_operator_says_so() {
    let (newer, older) = (event(1, r#"{"name":"New"}"#, ""), event(3, r#"{"name":"Old"}"#, ""));
    for (precedence, name) in [(Precedence::Newer, "New"), (Precedence::LastArrived, "Old")] {
        let traits = RememberedTraits::default().with(&newer, pieces(&newer), precedence);
        let traits = traits.with(&older, pieces(&older), precedence);
        assert_eq!(traits.profile().get(Field::FirstName), Some(name));
    }
}

#[test]
fn the_newest_answer_to_the_condition_counts_and_only_for_the_condition_it_answers() {
    let whole = || event(5, r#"{"email":"a@x.io","name":"Ann Lee"}"#, "");
    let reason = Reason::CreateIf { trait_name: "wants".into() }.to_string();
    let (yes, no) = (event(3, r#"{"wants":true}"#, ""), event(1, r#"{"wants":false}"#, ""));
    for order in permutations(&[no.clone(), yes.clone()]) {
        assert_eq!(together(&[order, vec![whole()]].concat(), &rules()), reason, "it was taken back later");
    }
    let again = event(0, r#"{"wants":true}"#, "");
    assert!(together(&[no.clone(), again, whole()], &rules()).contains("email=a@x.io"), "and given again");
    let other = Rules { create_if: Some(CreateIf { trait_name: "wants".into(), equals: "yes".into() }), ..rules() };
    assert_eq!(together(&[yes.clone(), whole()], &other), reason, "the operator has changed the condition");
    let answer = Pieces { condition: other.create_if.clone().map(|rule| (rule, true)), ..pieces(&yes).clone() };
    let traits =
        RememberedTraits::default().with(&no, pieces(&no), Precedence::Newer).with(&yes, &answer, Precedence::Newer);
    assert_eq!(traits.condition(&other), Some(true), "an older answer to the present condition");
    let none = Rules { create_if: None, ..rules() };
    assert!(together(&[no, whole()], &none).contains("email=a@x.io"), "there is no condition any more");
}

#[test]
fn an_audience_that_denies_creates_nobody_and_leaving_one_makes_no_affiliate() {
    let engage = r#","context":{"personas":{"computation_class":"audience"}}"#;
    let whole = || event(3, r#"{"email":"a@x.io","name":"Ann Lee","wants":true}"#, "");
    let denied = together(&[event(4, r#"{"banned":true}"#, engage), whole()], &rules());
    assert!(denied.contains("audience `banned` says DENIED"), "{denied}");
    let traits = RememberedTraits::default();
    let denied = event(4, r#"{"banned":true}"#, engage);
    let lacks = traits.with(&denied, pieces(&denied), Precedence::Newer).lacks(&rules());
    assert_eq!(
        lacks,
        ["`wants`", "an e-mail address", "a name", "another status than the DENIED of the audience `banned`"]
    );
    let left = event(1, r#"{"vip":false,"wants":true}"#, engage);
    let said = event(3, r#"{"email":"a@x.io","name":"Ann Lee"}"#, "");
    assert_eq!(together(&[said, left], &rules()), Reason::UnknownUser.to_string());
}

#[test]
fn an_event_alone_creates_the_same_as_without_memory() {
    for traits in [
        r#"{"email":"a@x.io","name":"Ann Lee","wants":true,"plan":"gold","address":{"city":"Paris"}}"#,
        r#"{"email":"a@x.io","name":"Ann Lee"}"#,
        r#"{"email":"a@x.io","wants":true}"#,
        r#"{"name":"Ann","wants":true}"#,
        r#"{"vip":true,"wants":true}"#,
        r#"{"email":"a@x.io","name":"Ann","wants":true,"banned":true}"#,
    ] {
        let event = event(1, traits, "");
        let own = RememberedTraits::default().with(&event, pieces(&event), Precedence::Newer);
        let merged = own.creating(&event, pieces(&event), &rules());
        assert_eq!(merged.creation, event.creation, "{traits}");
        assert_eq!(merged.user, event.user, "{traits}");
    }
}

#[test]
fn traits_beside_the_user_id_are_worth_remembering() {
    let company = |length| format!(r#"{{"company":"{}"}}"#, "x".repeat(length));
    let (longest, long) = (company(MAX_VALUE), company(MAX_VALUE + 1));
    for (traits, more, worth) in [
        (longest.as_str(), "", true),
        ("{}", "", false),
        (r#"{"shoe_size":7}"#, "", false),
        (long.as_str(), "", false),
        (r#"{"wants":false}"#, "", true),
        (r#"{"plan":"gold"}"#, "", true),
        (r#"{"vip":true}"#, "", true),
        ("{}", r#","context":{"traits":{"email":"a@x.io"}}"#, true),
    ] {
        let event = event(1, traits, more);
        assert_eq!(pieces(&event).are_worth_remembering(&event), worth, "{traits}{more}");
    }
}

#[test]
fn a_value_that_is_too_long_is_not_remembered_and_counts_in_its_own_event_alone() {
    let company = |identify: &Identify| identify.facts.get(&Field::Company.into()).is_some();
    for (length, remembered) in [(MAX_VALUE, true), (MAX_VALUE + 1, false)] {
        let own = event(2, &format!(r#"{{"company":"{}","plan":"gold"}}"#, "x".repeat(length)), "");
        let later = event(1, r#"{"wants":true}"#, "");
        let traits = RememberedTraits::default().with(&own, pieces(&own), Precedence::Newer);
        assert_eq!(traits.names().contains(&"company".to_owned()), remembered);
        assert_eq!((company(&traits.updating(&own)), company(&traits.updating(&later))), (true, remembered));
        let newer = event(1, r#"{"company":"Acme"}"#, "");
        let of_both = RememberedTraits::default().with(&newer, pieces(&newer), Precedence::Newer).with(
            &own,
            pieces(&own),
            Precedence::Newer,
        );
        let facts = of_both.updating(&own).facts;
        let is_newer = facts.get(&Field::Company.into()).is_some_and(|fact| fact.value == "Acme");
        assert_eq!(is_newer, remembered, "{length}");
    }
}

#[test]
fn nothing_is_remembered_without_the_setting_a_user_id_or_a_trusted_project() {
    let text = |user: &str| format!(r#"{{"type":"identify"{user},"projectId":"p2","traits":{{"email":"a@x.io"}}}}"#);
    let trusted = Rules { trusted_projects: vec!["p1".into()], ..rules() };
    for (rules, user, remembers) in [
        (rules(), r#","userId":"u1""#, true),
        (rules(), "", false),
        (rules(), r#","userId":"undefined""#, false),
        (trusted, r#","userId":"u1""#, false),
        (Rules { remember_traits: None, ..rules() }, r#","userId":"u1""#, false),
    ] {
        let text = text(user);
        let mapped = map(&Event::parse(&text).expect("an event"), &rules, Timestamp(NOW)).intent.expect("mapped");
        let Intent::Identify(identify) = mapped else { panic!("{mapped:?}") };
        assert_eq!(identify.pieces.is_some(), remembers, "{text}");
    }
}

#[test]
fn names_are_shown_and_no_value_is() {
    let event = event(1, r#"{"email":"a@x.io","name":"Ann Lee","vip":true,"wants":true,"plan":"gold"}"#, "");
    let traits = RememberedTraits::default().with(&event, pieces(&event), Precedence::Newer);
    assert_eq!(traits.names(), ["first_name", "last_name", "email", "offer", "#9", "status", "wants"]);
    for (says, names) in
        [("", &["offer", "status"][..]), (r#","traits":{"email":"c@x.io"}"#, &["offer", "email", "status"])]
    {
        let engage = format!(r#","context":{{"personas":{{"computation_class":"audience"}}{says}}}"#);
        let event = self::event(1, r#"{"vip":true}"#, &engage);
        assert_eq!(RememberedTraits::default().with(&event, pieces(&event), Precedence::Newer).names(), names);
    }
    let shown = format!("{traits:?}");
    assert!(!shown.contains("Ann") && !shown.contains("a@x.io") && !shown.contains("gold"), "{shown}");
    for bytes in [&b"{}"[..], b"", br#"{"facts":[["no_field","x",1]],"email":null,"status":null,"condition":null}"#] {
        assert!(RememberedTraits::from_bytes(bytes).is_none());
    }
}
