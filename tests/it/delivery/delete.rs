//! Delete: the affiliate that it is about, how that one is disabled or anonymized, and the read-back after the answer "not changed".

use super::scenario::{Scenario, delete};
use super::{Row, check, row};
use refersion_destination::delivery::Stage;
use refersion_destination::domain::AffiliateCode;

/// What `get` shows of an anonymized affiliate 7.
const ANONYMOUS: &str =
    "unchanged, affiliate 7 ACTIVE first_name=- last_name=- email=deleted-7@example.com company=-, changed";
const BLANKS: &str =
    "edit 7 {first_name, last_name, email, paypal_email, company, address1, address2, city, zip, phone, #77}";
const NO_EMAIL: &str =
    "edit 7 {first_name, last_name, paypal_email, company, address1, address2, city, zip, phone, #77}";
const NO_CITY: &str =
    "edit 7 {first_name, last_name, email, paypal_email, company, address1, address2, zip, phone, #77}";
const NO_FORMATS: &str = "edit 7 {first_name, last_name, email, company, address1, address2, city, #77}";
const NO_CUSTOM: &str = "edit 7 {first_name, last_name, email, company, address1, address2, city}";

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = whom();
    rows.extend(disabled());
    rows.extend(gone());
    rows.extend(anonymized());
    rows.extend(left_out());
    rows
}

/// An earlier attempt found affiliate a3y7 by a search.
pub(super) fn found_before(mut event: Scenario) -> Scenario {
    event.progress.stage = Stage::Found(AffiliateCode("a3y7".into()));
    event
}

fn whom() -> Vec<Row> {
    vec![
        row(
            "the remembered e-mail leads to him",
            delete("u1 peter@x.io").knowing("created a3y7/7", ""),
            "changed",
            "status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "the userId decides, and the affiliate of the e-mail is left alone",
            delete("u1 peter@x.io").by_user_id("created b2b2/9", "").by_email("created a3y7/7", ""),
            "changed",
            "status 9 DISABLED → disabled b2b2, other affiliate a3y7 | created a3y7/7 by email, forgot b2b2",
        ),
        row(
            "a second delete of that userId leaves it alone, too",
            delete("u1 peter@x.io").by_email("created a3y7/7", "").deleted_by_user_id(),
            "",
            "→ not_found, other affiliate a3y7 | created a3y7/7 by email",
        ),
        row(
            "a userId of which nothing is remembered leaves the decision to the e-mail",
            delete("u1 peter@x.io").by_email("created a3y7/7", "").with_other_owner(),
            "changed",
            "status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "one that an earlier attempt found by an e-mail that another affiliate has by now is left alone",
            found_before(delete("peter@x.io")),
            "affiliate 7 ACTIVE email=new@x.io, found b2b2, affiliate 9 ACTIVE, changed",
            "get a3y7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 | forgot b2b2",
        ),
        row(
            "a remembered userId spares the search",
            delete("u1 peter@x.io").by_user_id("created b2b2/9", ""),
            "changed",
            "status 9 DISABLED → disabled b2b2 | forgot b2b2",
        ),
        row(
            "a userId alone",
            delete("u1").by_user_id("found a3y7/7", ""),
            "changed",
            "status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "the numeric id is learnt where it is needed",
            delete("u1").by_user_id("found a3y7", ""),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "every page is searched for the e-mail",
            delete("u1 peter@x.io"),
            "others 1 of 2, others 1 of 2",
            "search p1, search p2 → not_found",
        ),
        row("nobody by userId: a success", delete("u1"), "", "→ not_found"),
        row("nobody by e-mail: a success", delete("peter@x.io"), "gone", "search p1 → not_found"),
        row("an empty page is nobody", delete("u1 peter@x.io"), "empty", "search p1 → not_found"),
        row("somebody alike is nobody", delete("peter@x.io"), "others 3 of 3", "search p1 → not_found"),
        row("a refused search is dead", delete("peter@x.io"), "refused", "search p1 → dead refused"),
    ]
}

fn disabled() -> Vec<Row> {
    let u1 = || delete("u1").by_user_id("created a3y7/7", "");
    vec![
        row(
            "found DISABLED: the same calls, so that it is alone with the affiliate",
            delete("peter@x.io"),
            "found a3y7 DISABLED, affiliate 7 DISABLED, unchanged, affiliate 7 DISABLED",
            "search p1, get a3y7, status 7 DISABLED, get 7 → disabled a3y7 | forgot a3y7",
        ),
        row(
            "found DENIED: disabled all the same",
            delete("peter@x.io"),
            "found a3y7 DENIED, affiliate 7 DENIED, changed",
            "search p1, get a3y7, status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "not changed, and DISABLED: done",
            u1(),
            "unchanged, affiliate 7 DISABLED",
            "status 7 DISABLED, get 7 → disabled a3y7 | forgot a3y7",
        ),
        row(
            "not changed, and still ACTIVE: again",
            u1(),
            "unchanged, affiliate 7 ACTIVE",
            "status 7 DISABLED, get 7 → retry | created a3y7/7 by userId",
        ),
        row(
            "not changed, and of no readable status: again",
            u1(),
            "unchanged, affiliate 7 ODD",
            "status 7 DISABLED, get 7 → retry | created a3y7/7 by userId",
        ),
        row(
            "not changed, and gone: nobody",
            u1(),
            "unchanged, gone",
            "status 7 DISABLED, get 7 → not_found | forgot a3y7",
        ),
        row("a refusal is dead", u1(), "refused", "status 7 DISABLED → dead refused | created a3y7/7 by userId"),
    ]
}

fn gone() -> Vec<Row> {
    vec![
        row(
            "gone, and the address found another since",
            delete("u1 peter@x.io").by_email("created a3y7/7", ""),
            "gone, gone, found b2b2, affiliate 9 ACTIVE, changed",
            "status 7 DISABLED, get 7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 | forgot a3y7, forgot b2b2",
        ),
        row(
            "gone by both keys: asked once",
            delete("u1 peter@x.io").knowing("created a3y7/7", ""),
            "gone, gone, gone",
            "status 7 DISABLED, get 7, search p1 → not_found | forgot a3y7",
        ),
        row(
            "gone by userId, and the e-mail leads to another",
            delete("u1 peter@x.io").by_email("created a3y7/7", "").by_user_id("created b2b2/9", ""),
            "gone, gone, changed",
            "status 9 DISABLED, get 9, status 7 DISABLED → disabled a3y7 | forgot b2b2, forgot a3y7",
        ),
        row(
            "gone by userId, and the e-mail is nobody's",
            delete("u1 peter@x.io").by_user_id("created a3y7/7", ""),
            "gone, gone, gone",
            "status 7 DISABLED, get 7, search p1 → not_found | forgot a3y7",
        ),
        row(
            "gone before the numeric id was learnt",
            delete("u1").by_user_id("created a3y7", ""),
            "gone",
            "get a3y7 → not_found | forgot a3y7",
        ),
    ]
}

fn anonymizing() -> Scenario {
    delete("u1").by_user_id("created a3y7/7", "").anonymizing()
}

/// `BLANKS` and others stand for an edit.
pub(super) fn expected(calls: &str) -> &'static str {
    let parts = [
        ("BLANKS", BLANKS),
        ("NO_EMAIL", NO_EMAIL),
        ("NO_CITY", NO_CITY),
        ("NO_FORMATS", NO_FORMATS),
        ("NO_CUSTOM", NO_CUSTOM),
    ];
    parts.iter().fold(calls.to_owned(), |calls, (name, edit)| calls.replace(name, edit)).leak()
}

fn anonymized() -> Vec<Row> {
    vec![
        row(
            "personal fields are overwritten, then it is disabled",
            anonymizing(),
            "changed, changed",
            expected("BLANKS, status 7 DISABLED → anonymized a3y7 | forgot a3y7"),
        ),
        row(
            "overwritten already",
            anonymizing(),
            ANONYMOUS,
            expected("BLANKS, get 7, status 7 DISABLED → anonymized a3y7 | forgot a3y7"),
        ),
        row(
            "overwritten and DISABLED already",
            anonymizing(),
            "changed, unchanged, affiliate 7 DISABLED",
            expected("BLANKS, status 7 DISABLED, get 7 → anonymized a3y7 | forgot a3y7"),
        ),
        row(
            "not overwritten: again",
            anonymizing(),
            "unchanged, affiliate 7 ACTIVE",
            expected("BLANKS, get 7 → retry | created a3y7/7 by userId"),
        ),
        row(
            "found DISABLED is not anonymized yet",
            delete("peter@x.io").anonymizing(),
            "found a3y7 DISABLED, affiliate 7 DISABLED, changed, unchanged, affiliate 7 DISABLED",
            expected("search p1, get a3y7, BLANKS, status 7 DISABLED, get 7 → anonymized a3y7 | forgot a3y7"),
        ),
        row("gone: nobody", anonymizing(), "gone, gone", expected("BLANKS, get 7 → not_found | forgot a3y7")),
        row(
            "gone once overwritten, and another has the address: overwritten, too",
            delete("u1 peter@x.io").by_email("created b2b2/7", "").anonymizing(),
            "changed, gone, gone, found a3y7, affiliate 7 ACTIVE, changed, changed",
            expected(
                "BLANKS, status 7 DISABLED, get 7, search p1, get a3y7, BLANKS, status 7 DISABLED \
                      → anonymized a3y7 | forgot b2b2, forgot a3y7",
            ),
        ),
    ]
}

fn left_out() -> Vec<Row> {
    vec![
        row(
            "a placeholder that is named is left out, also of a field that a creation requires",
            anonymizing(),
            "refused first_name, refused company, changed, changed",
            expected(
                "BLANKS, edit 7 {last_name, email, paypal_email, company, address1, address2, city, zip, phone, #77}, \
                 edit 7 {last_name, email, paypal_email, address1, address2, city, zip, phone, #77}, status 7 DISABLED \
                 → anonymized a3y7, left out first_name company | forgot a3y7",
            ),
        ),
        row(
            "a placeholder address that is taken is left out",
            anonymizing(),
            "taken, changed, changed",
            expected("BLANKS, NO_EMAIL, status 7 DISABLED → anonymized a3y7, left out email | forgot a3y7"),
        ),
        row(
            "without the address, the other fields show whether it is overwritten already",
            anonymizing(),
            "taken, unchanged, affiliate 7 ACTIVE first_name=- last_name=- company=-, changed",
            expected("BLANKS, NO_EMAIL, get 7, status 7 DISABLED → anonymized a3y7, left out email | forgot a3y7"),
        ),
        row(
            "without the address, not overwritten: again",
            anonymizing(),
            "taken, unchanged, affiliate 7 ACTIVE",
            expected("BLANKS, NO_EMAIL, get 7 → retry | created a3y7/7 by userId"),
        ),
        row(
            "if none is named, those of fields that may have a format are left out",
            anonymizing(),
            "refused, changed, changed",
            expected(
                "BLANKS, NO_FORMATS, status 7 DISABLED → anonymized a3y7, left out paypal_email zip phone | forgot a3y7",
            ),
        ),
        row(
            "if the others are rejected, too, those of custom fields are left out",
            anonymizing(),
            "refused, refused, changed, changed",
            expected(
                "BLANKS, NO_FORMATS, NO_CUSTOM, status 7 DISABLED \
                 → anonymized a3y7, left out paypal_email zip phone custom field 77 | forgot a3y7",
            ),
        ),
        row(
            "if those are rejected, too, it is disabled nevertheless",
            anonymizing(),
            "refused, refused, refused, changed",
            expected(
                "BLANKS, NO_FORMATS, NO_CUSTOM, status 7 DISABLED → disabled a3y7, left out paypal_email zip phone \
                 custom field 77 first_name last_name email company address1 address2 city | forgot a3y7",
            ),
        ),
        row(
            "what Refersion rejects of one affiliate is sent to the next",
            delete("u1 peter@x.io").by_email("created b2b2/7", "").anonymizing(),
            "refused city, changed, gone, gone, found a3y7, affiliate 7 ACTIVE, changed, changed",
            expected(
                "BLANKS, NO_CITY, status 7 DISABLED, get 7, search p1, get a3y7, BLANKS, status 7 DISABLED \
                 → anonymized a3y7 | forgot b2b2, forgot a3y7",
            ),
        ),
        row(
            "after the second repeat nothing more is tried",
            anonymizing(),
            "refused city, refused zip, refused phone, changed",
            expected(
                "BLANKS, edit 7 {first_name, last_name, email, paypal_email, company, address1, address2, zip, phone, #77}, \
                 edit 7 {first_name, last_name, email, paypal_email, company, address1, address2, phone, #77}, \
                 status 7 DISABLED → disabled a3y7, left out city zip first_name last_name email paypal_email company \
                 address1 address2 phone custom field 77 | forgot a3y7",
            ),
        ),
    ]
}

#[test]
fn a_delete_finds_its_user() {
    check(&whom());
}

#[test]
fn a_delete_ends_with_a_disabled_affiliate_or_nobody() {
    check(&disabled());
}

#[test]
fn an_affiliate_that_is_not_found_is_searched_by_the_users_other_key() {
    check(&gone());
}

#[test]
fn anonymize_overwrites_what_refersion_accepts_first_and_disables_then() {
    check(&anonymized());
    check(&left_out());
}
