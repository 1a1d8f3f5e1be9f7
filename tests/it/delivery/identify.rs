//! Identify of an unknown user: the affiliate is created, gets the rest, and is remembered; and events that create no affiliate.

use super::scenario::{identify, membership, nothing};
use super::{Row, check, row};
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    vec![
        row(
            "who is unknown is created",
            identify("city=Paris"),
            "created a3y7 7",
            "new → created a3y7 | created a3y7/7",
        ),
        row(
            "a code is enough to remember somebody by",
            identify(""),
            "created a3y7",
            "new → created a3y7 | created a3y7",
        ),
        row(
            "custom fields, which `new` does not take, follow",
            identify("city=Paris #11=450 #12=yes"),
            "created a3y7 7, changed",
            "new, edit 7 {#11, #12} → created a3y7 | created a3y7/7",
        ),
        row(
            "custom fields follow even where `new` did not tell the numeric id",
            identify("#11=450"),
            "created a3y7, affiliate 7 ACTIVE, changed",
            "new, get a3y7, edit 7 {#11} → created a3y7 | created a3y7/7",
        ),
        row(
            "custom fields, then the status of an audience",
            identify("#11=450").demanding(AffiliateStatus::Denied),
            "created a3y7 7, changed, changed",
            "new, edit 7 {#11}, status 7 DENIED → created a3y7 | created a3y7/7",
        ),
        row(
            "a status that `new` gave already is not given again",
            identify("#11=450").demanding(AffiliateStatus::Active),
            "created a3y7 7, changed",
            "new, edit 7 {#11} → created a3y7 | created a3y7/7",
        ),
        row(
            "`ignore` is about affiliates that existed before, not about those created here",
            identify("#11=450").ignoring(),
            "created a3y7 7, changed",
            "new, edit 7 {#11} → created a3y7 | created a3y7/7",
        ),
        row(
            "a creation stands and is remembered although what followed was refused",
            identify("#11=450"),
            "created a3y7 7, refused",
            "new, edit 7 {#11} → created a3y7, left out custom field 11 | created a3y7/7",
        ),
        row(
            "what was created and is not known a moment later needs time, not another creation",
            identify("#11=450"),
            "created a3y7, gone",
            "new, get a3y7 → retry | created a3y7, owing {#11}",
        ),
        row(
            "nor when it was an edit that found nobody",
            identify("#11=450"),
            "created a3y7 7, gone, gone",
            "new, edit 7 {#11}, get 7 → retry | created a3y7/7, owing {#11}",
        ),
        row("a refused creation is dead", identify(""), "refused", "new → dead refused"),
        row("a membership creates nobody", membership("#11=450"), "", "→ ignored"),
        row("an event without a name creates nobody", identify("").nameless(), "", "→ dead unmappable"),
        row("what wants nothing asks nothing", nothing(), "", "→ ignored"),
    ]
}

#[test]
fn an_unknown_user_is_created_and_the_remaining_values_are_sent() {
    check(&rows());
}
