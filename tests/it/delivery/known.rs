//! Identify of a known affiliate: only changed values are sent, and read back where Refersion's answer is unclear; and records that are
//! stale.

use super::scenario::{identify, membership};
use super::{Row, check, row};
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = changes();
    rows.extend(keys());
    rows.extend(read_back());
    rows.extend(stale());
    rows
}

fn changes() -> Vec<Row> {
    vec![
        row(
            "nothing changed: no call",
            identify("city=Paris #11=450").knowing("created a3y7/7", "city=Paris #11=450"),
            "",
            "→ unchanged a3y7 | created a3y7/7",
        ),
        row(
            "an address in another case is no change",
            identify("email=Peter@X.io").knowing("created a3y7/7", ""),
            "",
            "→ unchanged a3y7 | created a3y7/7",
        ),
        row(
            "only what changed is sent",
            identify("city=Paris zip=75001 #11=451 #12=yes")
                .knowing("created a3y7/7", "city=Rome zip=75001 #11=450 #12=yes"),
            "changed",
            "edit 7 {city, #11} → updated a3y7 | created a3y7/7",
        ),
        row(
            "the numeric id is learnt where it is needed",
            identify("city=Paris").knowing("created a3y7", ""),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "who has another e-mail by then is the same affiliate",
            identify("city=Paris").knowing("created a3y7", ""),
            "affiliate 7 ACTIVE email=new@x.io, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "who turns out to have been disabled is left alone",
            identify("city=Paris").knowing("created a3y7", ""),
            "affiliate 7 DISABLED",
            "get a3y7 → left alone a3y7 DISABLED | created a3y7/7, owing {city}",
        ),
        row(
            "a membership needs no e-mail",
            membership("#11=450").by_user_id("created a3y7/7", ""),
            "changed",
            "edit 7 {#11} → updated a3y7 | created a3y7/7 by userId",
        ),
        row(
            "a status is given after the edit",
            identify("city=Paris").demanding(AffiliateStatus::Denied).knowing("created a3y7/7", "status=ACTIVE"),
            "changed, affiliate 7 ACTIVE, changed",
            "edit 7 {city}, get 7, status 7 DENIED → updated a3y7 | created a3y7/7",
        ),
        row(
            "a status that was given last is not given again",
            identify("").demanding(AffiliateStatus::Denied).knowing("created a3y7/7", "status=DENIED"),
            "",
            "→ unchanged a3y7 | created a3y7/7",
        ),
        row(
            "a value that is refused is left out",
            identify("city=Paris").knowing("created a3y7/7", ""),
            "refused",
            "edit 7 {city} → unchanged a3y7, left out city | created a3y7/7",
        ),
        row(
            "a refused status is dead, and the edit before it is remembered",
            identify("city=Paris").demanding(AffiliateStatus::Active).knowing("created a3y7/7", ""),
            "changed, affiliate 7 PENDING, refused",
            "edit 7 {city}, get 7, status 7 ACTIVE → dead refused | created a3y7/7",
        ),
    ]
}

fn keys() -> Vec<Row> {
    vec![
        row(
            "a new e-mail of a known userId is an edit, and leads here once Refersion has it",
            identify("email=new@x.io").by_user_id("created a3y7/7", ""),
            "changed",
            "edit 7 {email} → updated a3y7 | created a3y7/7",
        ),
        row(
            "a new e-mail that is another affiliate's is left out, and does not lead here",
            identify("email=new@x.io").by_user_id("created a3y7/7", ""),
            "taken",
            "edit 7 {email} → unchanged a3y7, email taken | created a3y7/7 by userId",
        ),
        row(
            "a new userId with a known e-mail is known",
            identify("city=Paris").by_email("created a3y7/7", ""),
            "changed",
            "edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "the userId has the last word where the keys lead to two",
            identify("city=Paris").by_user_id("created a3y7/7", "email=old@x.io").by_email("created b2b2/9", ""),
            "changed",
            "edit 7 {email, city} → updated a3y7 | created a3y7/7",
        ),
    ]
}

fn read_back() -> Vec<Row> {
    vec![
        row(
            "not changed, and as wanted: nothing was changed by us",
            identify("company=Initech").knowing("created a3y7/7", ""),
            "unchanged, affiliate 7 ACTIVE company=Initech",
            "edit 7 {company}, get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "an address shown in another case is as wanted",
            identify("email=new@x.io").by_user_id("created a3y7/7", ""),
            "unchanged, affiliate 7 ACTIVE email=New@X.io",
            "edit 7 {email}, get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "an address shown with its domain in punycode is as wanted",
            identify("email=new@bücher.example").by_user_id("created a3y7/7", ""),
            "unchanged, affiliate 7 ACTIVE email=new@xn--bcher-kva.example",
            "edit 7 {email}, get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "what `get` never shows is taken to be as wanted",
            identify("city=Paris #11=450").knowing("created a3y7/7", ""),
            "unchanged, affiliate 7 ACTIVE",
            "edit 7 {city, #11}, get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "not changed, and otherwise: dead, by name",
            identify("company=Initech first_name=Pete").knowing("created a3y7/7", ""),
            "unchanged, affiliate 7 ACTIVE company=Initrode first_name=Pete",
            "edit 7 {first_name, company}, get 7 → dead not_applied {company} | created a3y7/7, owing {first_name, company}",
        ),
        row(
            "not changed because it is disabled: left alone",
            identify("company=Initech").knowing("created a3y7/7", ""),
            "unchanged, affiliate 7 DISABLED company=Initrode",
            "edit 7 {company}, get 7 → left alone a3y7 DISABLED | created a3y7/7, owing {company}",
        ),
        row(
            "disabled, and what was to change is never shown: not taken to be as wanted",
            identify("city=Paris").knowing("created a3y7/7", ""),
            "unchanged, affiliate 7 DENIED",
            "edit 7 {city}, get 7 → left alone a3y7 DENIED | created a3y7/7, owing {city}",
        ),
        row(
            "an audience that demands a status goes on to give it",
            identify("city=Paris").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=DENIED"),
            "unchanged, affiliate 7 DENIED, changed",
            "edit 7 {city}, get 7, status 7 ACTIVE → updated a3y7 | created a3y7/7",
        ),
        row(
            "a status not changed, and as wanted",
            identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", ""),
            "affiliate 7 PENDING, unchanged, affiliate 7 ACTIVE",
            "get 7, status 7 ACTIVE, get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "a status not changed, and otherwise",
            identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", ""),
            "affiliate 7 PENDING, unchanged, affiliate 7 DENIED",
            "get 7, status 7 ACTIVE, get 7 → retry | created a3y7/7",
        ),
        row(
            "the edit changed something although the status did not",
            identify("city=Paris").demanding(AffiliateStatus::Active).knowing("created a3y7/7", ""),
            "changed, affiliate 7 PENDING, unchanged, affiliate 7 ACTIVE",
            "edit 7 {city}, get 7, status 7 ACTIVE, get 7 → updated a3y7 | created a3y7/7",
        ),
    ]
}

fn stale() -> Vec<Row> {
    vec![
        row(
            "whom Refersion no longer has is created anew, and the old code forgotten",
            identify("city=Paris").knowing("created a3y7/7", ""),
            "gone, gone, created b2b2 9",
            "edit 7 {city}, get 7, new → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "gone, where only `get` tells",
            identify("city=Paris").knowing("found a3y7/7", ""),
            "unchanged, gone, created b2b2 9",
            "edit 7 {city}, get 7, new → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "gone before the numeric id was learnt",
            identify("#11=450").knowing("created a3y7", ""),
            "gone, created b2b2 9, changed",
            "get a3y7, new, edit 9 {#11} → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "gone when its status was to change",
            identify("").demanding(AffiliateStatus::Denied).knowing("created a3y7/7", ""),
            "gone, created b2b2 9, changed",
            "get 7, new, status 9 DENIED → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "gone, and the address is another's by now",
            identify("city=Paris").knowing("created a3y7/7", ""),
            "gone, gone, taken, found b2b2, affiliate 9 ACTIVE, changed",
            "edit 7 {city}, get 7, new, search p1, get b2b2, edit 9 {city} → updated b2b2 | found b2b2/9, forgot a3y7",
        ),
        row(
            "gone by userId, and the e-mail leads to another: that one",
            identify("city=Paris").by_user_id("created a3y7/7", "email=old@x.io").by_email("created b2b2/9", ""),
            "gone, gone, changed",
            "edit 7 {email, city}, get 7, edit 9 {city} → updated b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "gone, and a membership creates nobody",
            membership("#11=450").by_user_id("created a3y7/7", ""),
            "gone, gone",
            "edit 7 {#11}, get 7 → ignored | forgot a3y7",
        ),
        row(
            "gone, and without a name nobody is created",
            identify("city=Paris").nameless().knowing("created a3y7/7", ""),
            "gone, gone",
            "edit 7 {city}, get 7 → dead unmappable | forgot a3y7",
        ),
    ]
}

#[test]
fn only_changed_values_of_a_known_user_are_sent() {
    check(&changes());
}

#[test]
fn the_user_id_decides_and_an_email_leads_here_once_refersion_has_it() {
    check(&keys());
}

#[test]
fn not_changed_is_read_back() {
    check(&read_back());
}

#[test]
fn a_stale_memory_is_forgotten_once_and_the_affiliate_created_anew() {
    check(&stale());
}
