//! The merchant's decision stands: before a status is set, the present one is read.

use super::scenario::identify;
use super::{Row, check, row};
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let activating = |was: &str| identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", was);
    vec![
        row(
            "an affiliate that the merchant denied is not activated",
            activating("status=PENDING"),
            "affiliate 7 DENIED",
            "get 7 → left alone a3y7 DENIED | created a3y7/7",
        ),
        row(
            "nor one that the merchant disabled; the rest is told",
            identify("city=Rome").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=PENDING"),
            "changed, affiliate 7 DISABLED",
            "edit 7 {city}, get 7 → updated a3y7, status DISABLED kept | created a3y7/7",
        ),
        row(
            "one that a rule of this service disabled is activated again",
            activating("status=DISABLED"),
            "affiliate 7 DISABLED, changed",
            "get 7, status 7 ACTIVE → updated a3y7 | created a3y7/7",
        ),
        row(
            "one that has the status already is not given it",
            activating("status=PENDING"),
            "affiliate 7 ACTIVE",
            "get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "one that the merchant disabled is not taken for one that a rule disabled",
            identify("").demanding(AffiliateStatus::Disabled).knowing("created a3y7/7", "status=ACTIVE"),
            "affiliate 7 DISABLED",
            "get 7 → left alone a3y7 DISABLED | created a3y7/7",
        ),
        row(
            "one that this event has created needs no reading",
            identify("").demanding(AffiliateStatus::Denied),
            "created a3y7 7, changed",
            "new, status 7 DENIED → created a3y7 | created a3y7/7",
        ),
    ]
}

#[test]
fn the_merchants_decision_stands() {
    check(&rows());
}
