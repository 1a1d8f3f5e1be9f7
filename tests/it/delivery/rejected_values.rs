//! A value that Refersion rejects costs none of the others, and at most two more calls.
//!
//! `refused` blames no field; `refused FIELD` names one.

use super::scenario::identify;
use super::script_runner::{Restarts, run_with};
use super::{Row, check, row, text};
use refersion_destination::delivery::Call;
use refersion_destination::domain::Attribute;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = created();
    rows.extend(edited());
    rows.extend(emails());
    rows
}

fn created() -> Vec<Row> {
    vec![
        row(
            "the affiliate is created with the required fields, and sent the rest without the longest value",
            identify("company=A-company-with-a-long-name city=Rome"),
            "refused, created a3y7 7, changed",
            "new, new, edit 7 {city} → created a3y7, left out company | created a3y7/7",
        ),
        row(
            "without the one that is named",
            identify("company=A-company-with-a-long-name state=XX"),
            "refused state, created a3y7 7, changed",
            "new, new, edit 7 {company} → created a3y7, left out state | created a3y7/7",
        ),
        row(
            "the rest is refused, too: the affiliate is created",
            identify("company=A-company-with-a-long-name city=Rome"),
            "refused, created a3y7 7, refused",
            "new, new, edit 7 {city} → created a3y7, left out city company | created a3y7/7, owing {company}",
        ),
        row(
            "a required field that is named is a dead letter",
            identify("city=Rome"),
            "refused first_name",
            "new → dead refused",
        ),
        row(
            "the required fields alone are refused: a dead letter",
            identify("city=Rome"),
            "refused, refused",
            "new, new → dead refused",
        ),
        row("nothing optional can be at fault", identify(""), "refused", "new → dead refused"),
        row(
            "the second creation finds the e-mail taken",
            identify("city=Rome zip=1"),
            "refused city, taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, new, search p1, get a3y7, edit 7 {zip} → updated a3y7, left out city | found a3y7/7",
        ),
    ]
}

fn edited() -> Vec<Row> {
    let known = |and: &str| identify(and).knowing("created a3y7/7", "");
    vec![
        row(
            "the edit is repeated without the value that is named",
            known("city=Rome state=XX"),
            "refused state, changed",
            "edit 7 {city, state}, edit 7 {city} → updated a3y7, left out state | created a3y7/7",
        ),
        row(
            "and without a second one",
            known("city=Rome state=XX country=DE"),
            "refused state, refused country, changed",
            "edit 7 {city, state, country}, edit 7 {city, country}, edit 7 {city} \
             → updated a3y7, left out state country | created a3y7/7",
        ),
        row(
            "a wrong guess does not count as sent: a later event sends the value",
            known("company=A-long-company-name phone=12345 city=R"),
            "refused, refused, changed",
            "edit 7 {company, city, phone}, edit 7 {city, phone}, edit 7 {city} \
             → updated a3y7, left out phone company | created a3y7/7, owing {company}",
        ),
        row(
            "a third refusal is a dead letter, and nothing of it counts as sent",
            known("city=Rome state=XX country=DE"),
            "refused state, refused country, refused",
            "edit 7 {city, state, country}, edit 7 {city, country}, edit 7 {city} \
             → dead refused | created a3y7/7, owing {city, state, country}",
        ),
        row(
            "a required field is never left out",
            known("first_name=Pete"),
            "refused",
            "edit 7 {first_name} → dead refused | created a3y7/7, owing {first_name}",
        ),
    ]
}

fn emails() -> Vec<Row> {
    vec![row(
        "an e-mail that is taken stays as it is, and everything else is sent",
        identify("email=new@x.io city=Rome").by_user_id("created a3y7/7", ""),
        "taken, changed",
        "edit 7 {email, city}, edit 7 {city} → updated a3y7, email taken | created a3y7/7 by userId",
    )]
}

#[test]
fn a_creation_is_not_lost_over_a_value() {
    check(&created());
}

#[test]
fn a_value_that_only_new_takes_is_left_out_only_if_it_may_be_at_fault_and_never_without_a_note() {
    let sent = identify("company=A-company-with-a-long-name city=Rome").with_merchant_id();
    for (claim, replies, optional, end) in [
        (
            "another one is named",
            "refused city, created a3y7 7, changed",
            ["{company, city, unique_merchant_id}", "{unique_merchant_id}"].as_slice(),
            "edit 7 {company} → created a3y7, left out city",
        ),
        (
            "it is named",
            "refused unique_merchant_id, created a3y7 7, changed",
            &["{company, city, unique_merchant_id}", "{}"],
            "edit 7 {company, city} → created a3y7, left out unique_merchant_id",
        ),
        (
            "first another one is named, then it",
            "refused city, refused unique_merchant_id, created a3y7 7, changed",
            &["{company, city, unique_merchant_id}", "{unique_merchant_id}", "{}"],
            "edit 7 {company} → created a3y7, left out city unique_merchant_id",
        ),
        (
            "none is named",
            "refused, created a3y7 7, changed",
            &["{company, city, unique_merchant_id}", "{}"],
            "edit 7 {city} → created a3y7, left out company unique_merchant_id",
        ),
        (
            "then a required one is named",
            "refused city, refused first_name",
            &["{company, city, unique_merchant_id}", "{unique_merchant_id}"],
            "→ dead refused",
        ),
    ] {
        for restarts in [Restarts::Never, Restarts::AfterEachStep] {
            let (mut replies, mut calls) = (replies.split(", "), Vec::new());
            let is_optional =
                |attribute: &Attribute| !matches!(attribute, Attribute::Field(one) if one.spec().required);
            let run = run_with(&sent, restarts, |call| {
                if let Call::New(new) = call {
                    calls.push(text::names(&new.profile.filtered(|attribute, _| is_optional(attribute))));
                }
                replies.next().map(text::reply)
            });
            assert_eq!(calls, optional, "{claim}");
            assert!(run.to_string().contains(end), "{claim}: {run}");
        }
    }
}

#[test]
fn an_edit_is_not_lost_over_a_value() {
    check(&edited());
}

#[test]
fn a_taken_email_costs_nothing_else() {
    check(&emails());
}
