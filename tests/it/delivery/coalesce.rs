//! Coalescing: pending events of one user in log order, and their combined intent.
//!
//! A row reads `memory, line, "number of events: intent"`. The memory is that of the first event. Of an intent only the difference from
//! [`peter`] is shown.

use super::scenario::{Scenario, delete, identify, membership, nothing, peter};
use super::text;
use refersion_destination::delivery::{Coalesced, DeleteTarget, Done, Progress, Stage, UnansweredNew, coalesce};
use refersion_destination::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Profile};
use refersion_destination::mapping::{Creation, Intent};

struct Row {
    claim: &'static str,
    line: Vec<Scenario>,
    expected: &'static str,
}

fn row(claim: &'static str, line: impl IntoIterator<Item = Scenario>, expected: &'static str) -> Row {
    Row { claim, line: line.into_iter().collect(), expected }
}

fn coalesced(line: &[Scenario]) -> Coalesced<'_> {
    let (head, behind) = line.split_first().expect("a head");
    let behind: Vec<Intent> = behind.iter().map(|scenario| scenario.intent.clone()).collect();
    coalesce(&head.memory, head.policy, &head.intent, &behind)
}

/// `3: city=Rome, as ACTIVE, created with city=Rome`; `2 (1 cancelled): delete u1`.
fn described(Coalesced { intent, events, cancelled, .. }: &Coalesced) -> String {
    let cancelled = if *cancelled > 0 { format!(" ({cancelled} cancelled)") } else { String::new() };
    let what = match &**intent {
        Intent::Nothing(_) => "nothing".to_owned(),
        Intent::Delete { user, .. } => {
            let id = user.user_id.iter().map(|id| id.as_str().to_owned());
            let whom = id.chain(user.email.iter().map(|email| email.as_str().to_owned()));
            format!("delete {}", whom.collect::<Vec<_>>().join(" "))
        }
        Intent::Identify(wanted) => {
            let status = wanted.status.map(|fact| format!(", as {}", fact.status)).unwrap_or_default();
            let creation = match &wanted.creation {
                Creation::Allowed(new) => format!(", created with {}", beyond(&new.profile)),
                Creation::Skipped(_) => ", not created".to_owned(),
                Creation::Invalid(_) => ", refused".to_owned(),
            };
            format!("{}{status}{creation}", beyond(&wanted.facts.profile()))
        }
    };
    format!("{events}{cancelled}: {what}")
}

/// What is said beyond [`peter`]; `-` if that is nothing, `silence` if not even that is said.
fn beyond(profile: &Profile) -> String {
    if profile.is_empty() {
        return "silence".to_owned();
    }
    let plain = peter("");
    let more = profile.filtered(|attribute, value| plain.get(attribute.clone()) != Some(value));
    let said: Vec<String> = more.iter().map(|(attribute, value)| text::pair(attribute, value)).collect();
    if said.is_empty() { "-".to_owned() } else { said.join(" ") }
}

fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for Row { claim, line, expected } in rows {
        let described = described(&coalesced(line));
        if described != *expected {
            wrong.push(format!("{claim}\n  expected {expected}\n  coalesced   {described}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Known by both keys, and Refersion has the e-mail.
fn known(scenario: Scenario) -> Scenario {
    scenario.knowing("created a3y7/7", "")
}

#[test]
fn the_last_value_of_each_attribute_counts() {
    check(&[
        row(
            "for an edit",
            [known(identify("city=Paris zip=1 #11=1")), identify("city=Rome #11=2"), identify("phone=5 #12=3")],
            "3: city=Rome zip=1 phone=5 #11=2 #12=3, created with city=Rome zip=1 phone=5",
        ),
        row(
            "and for a creation, which takes no custom field",
            [identify("city=Paris #11=1"), identify("city=Rome #12=2")],
            "2: city=Rome #11=1 #12=2, created with city=Rome",
        ),
        row(
            "what a later one does not say stays said",
            [known(identify("city=Paris")), identify("")],
            "2: city=Paris, created with city=Paris",
        ),
        row(
            "the last status counts",
            [
                known(identify("").demanding(AffiliateStatus::Denied)),
                identify("").demanding(AffiliateStatus::Active),
                identify(""),
            ],
            "3: -, as ACTIVE, created with -",
        ),
        row("one alone is itself", [identify("city=Paris")], "1: city=Paris, created with city=Paris"),
        row("and so is nothing", [nothing(), nothing()], "1: nothing"),
    ]);
}

#[test]
fn only_events_that_certainly_mean_one_affiliate_are_coalesced() {
    let ends =
        |claim, next| row(claim, [known(identify("city=Paris")), next], "1: city=Paris, created with city=Paris");
    check(&[
        row(
            "the userId alone means whom it meant together with the e-mail",
            [known(identify("city=Paris")), membership("#11=1"), membership("#11=2")],
            "3: city=Paris #11=2, created with city=Paris",
        ),
        row(
            "the e-mail alone means itself",
            [known(identify("city=Paris").of("peter@x.io")), identify("city=Rome").of("peter@x.io")],
            "2: city=Rome, created with city=Rome",
        ),
        ends("a new e-mail is for itself", identify("email=new@x.io")),
        ends("another userId with this e-mail may lead elsewhere", identify("city=Rome").of("u2 peter@x.io")),
        ends("the e-mail alone may lead elsewhere", identify("city=Rome").of("peter@x.io")),
        ends("what wants nothing is for itself", nothing()),
        row(
            "an e-mail behind a userId alone may be another one",
            [known(membership("#11=1")), identify("city=Rome")],
            "1: #11=1, not created",
        ),
        row(
            "what comes behind one that is for itself waits",
            [known(identify("city=Paris")), identify("email=new@x.io"), identify("city=Rome")],
            "1: city=Paris, created with city=Paris",
        ),
    ]);
}

#[test]
fn an_unknown_user_begins_with_one_that_may_create_them() {
    check(&[
        row(
            "one that may",
            [identify(""), membership("#11=1"), identify("city=Rome").nameless()],
            "3: city=Rome #11=1, created with city=Rome",
        ),
        row("an audience may not", [membership("#11=1"), membership("#11=2")], "1: #11=1, not created"),
        row("one without a name may not", [identify("").nameless(), identify("")], "1: -, refused"),
        row(
            "of a known user it may be any",
            [known(membership("#11=1")), membership("#11=2")],
            "2: #11=2, not created",
        ),
        row(
            "known by the userId is known",
            [membership("#11=1").by_user_id("created a3y7/7", ""), membership("#11=2")],
            "2: #11=2, not created",
        ),
        row(
            "known by an e-mail it does not give is not",
            [membership("#11=1").by_email("created a3y7/7", ""), membership("#11=2")],
            "1: #11=1, not created",
        ),
    ]);
}

#[test]
fn a_delete_cancels_the_edits_before_it() {
    let edits = || [known(identify("city=Paris")), identify("city=Rome")];
    let then = |whom: &str, more: Vec<Scenario>| edits().into_iter().chain([delete(whom)]).chain(more);
    check(&[
        row("by userId", then("u1", vec![]), "3 (2 cancelled): delete u1"),
        row("by e-mail", then("peter@x.io", vec![]), "3 (2 cancelled): delete peter@x.io"),
        row("by both", then("u1 peter@x.io", vec![]), "3 (2 cancelled): delete u1 peter@x.io"),
        row("what comes behind it is a new beginning", then("u1", vec![identify("")]), "3 (2 cancelled): delete u1"),
        row(
            "with one that is for itself between them, only after that one",
            edits().into_iter().chain([identify("email=new@x.io"), delete("u1")]),
            "2: city=Rome, created with city=Rome",
        ),
        row("of another userId it cancels nothing", then("u2", vec![]), "2: city=Rome, created with city=Rome"),
        row("of another e-mail too", then("new@x.io", vec![]), "2: city=Rome, created with city=Rome"),
        row("of a further e-mail too", then("u1 new@x.io", vec![]), "2: city=Rome, created with city=Rome"),
        row(
            "that leads to another affiliate too",
            [
                identify("city=Paris").by_user_id("created a3y7/7", "").by_email("created b2b2/9", ""),
                delete("peter@x.io"),
            ],
            "1: city=Paris, created with city=Paris",
        ),
        row(
            "by a key that leads nowhere yet too",
            [identify("city=Paris").by_email("created a3y7/7", ""), delete("u1")],
            "1: city=Paris, created with city=Paris",
        ),
        row(
            "a new e-mail is sent before: a user who comes back by it has been deleted",
            [identify("email=new@x.io").by_user_id("created a3y7/7", ""), delete("u1")],
            "1: email=new@x.io, created with email=new@x.io",
        ),
    ]);
}

#[test]
fn a_user_to_create_is_created_even_if_a_delete_follows_at_once() {
    check(&[
        row(
            "and nothing more is said of them",
            [identify("city=Paris #11=1"), identify("city=Rome").demanding(AffiliateStatus::Active), delete("u1")],
            "2: silence, created with city=Paris",
        ),
        row(
            "not if the delete is somebody else's",
            [identify("city=Paris"), identify("city=Rome"), delete("u2")],
            "2: city=Rome, created with city=Rome",
        ),
        row("who may not be created is not", [membership("#11=1"), delete("u1")], "1: #11=1, not created"),
    ]);
}

#[test]
fn deletes_of_one_user_are_one() {
    check(&[
        row("one after the other", [delete("u1"), delete("u1"), identify("")], "2: delete u1"),
        row(
            "by both keys too, if both lead to one affiliate",
            [delete("u1 peter@x.io").knowing("created a3y7/7", ""), delete("u1 peter@x.io")],
            "2: delete u1 peter@x.io",
        ),
        row(
            "also if the e-mail leads to another, which no such delete is about",
            [
                delete("u1 peter@x.io").by_user_id("created a3y7/7", "").by_email("created b2b2/9", ""),
                delete("u1 peter@x.io"),
            ],
            "2: delete u1 peter@x.io",
        ),
        row("by one more key is another", [delete("u1"), delete("u1 peter@x.io")], "1: delete u1"),
        row("of another user too", [delete("u1"), delete("u2")], "1: delete u1"),
        row("what comes between them counts", [delete("u1"), identify(""), delete("u1")], "1: delete u1"),
    ]);
}

/// Far into a delivery.
fn far(stage: Stage) -> Progress {
    let target = Some(DeleteTarget { code: AffiliateCode("a3y7".into()), id: Some(AffiliateId(7)) });
    Progress {
        stage,
        new_in_flight: None,
        unanswered_new: Some(UnansweredNew::NotKept),
        affiliate_seen: true,
        done: Done::Anonymized,
        coalesced: Some(9),
        may_have_taken_effect: true,
        coalesced_rejections: 2,
        target,
        ..Progress::default()
    }
}

#[test]
fn only_progress_that_still_holds_is_kept_with_more_events_coalesced_or_fewer() {
    let of = |line: &[Scenario], stage| coalesced(line).progress(far(stage));
    let searching = || Stage::Searching { page: 2, seen: 3 };
    let edits = [known(identify("")), identify("")];
    for (stage, kept) in
        [(Stage::CheckEdit, Stage::Start), (Stage::CheckStatus, Stage::Start), (searching(), searching())]
    {
        let expected = Progress {
            stage: kept,
            coalesced: Some(2),
            may_have_taken_effect: false,
            coalesced_rejections: 0,
            target: None,
            ..far(Stage::Start)
        };
        assert_eq!(of(&edits, stage), expected, "what was checked may have been another edit");
    }
    let cancelling = [known(identify("")), delete("u1")];
    let expected = Progress {
        coalesced: Some(2),
        may_have_taken_effect: false,
        coalesced_rejections: 0,
        target: None,
        ..far(Stage::Start)
    };
    assert_eq!(of(&cancelling, searching()), expected, "the next time it may be an edit");
    let deletes = [delete("u1"), delete("u1")];
    let expected =
        Progress { coalesced: Some(2), may_have_taken_effect: false, coalesced_rejections: 0, ..far(searching()) };
    assert_eq!(of(&deletes, searching()), expected, "a delete of the same user goes on with the same affiliate");
    let as_many = Progress { coalesced: Some(2), ..far(Stage::Start) };
    let later = coalesced(&edits).progress(as_many.clone());
    assert_eq!(
        (later.may_have_taken_effect, later.coalesced_rejections),
        (true, as_many.coalesced_rejections),
        "refusals of the same are counted on"
    );
    let alone =
        Progress { coalesced: None, may_have_taken_effect: false, coalesced_rejections: 0, ..far(Stage::CheckEdit) };
    assert_eq!(of(&edits[..1], Stage::CheckEdit), alone, "one alone goes on where it was");
}

#[test]
fn values_that_a_follower_replaces_are_superseded_but_no_spelling_of_the_email() {
    let line = ["email=New@x.io city=Oslo zip=1", "email=new@x.io city=Rome zip=1"]
        .map(|facts| identify(facts).knowing("created a3y7/7", ""));
    assert_eq!(beyond(&coalesced(&line).superseded.profile()), "city=Oslo");
}
