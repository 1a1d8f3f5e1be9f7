//! Values that no longer hold are cleared: the second line of an earlier street, and the state of an earlier country.

use super::{hold, identify};
use serde_json::{Value, json};

fn address(address: Value) -> Value {
    identify("u1", json!({"email": "ann@example.com", "address": address}))
}

#[tokio::test]
async fn a_street_of_one_line_clears_the_second_line_sent_before() {
    let two_lines = || address(json!({"street": "1 Main St\nSuite 5", "city": "Rome"}));
    hold(
        &[],
        "address1 address2 city",
        vec![
            (
                "a new street",
                vec![two_lines(), address(json!({"street": "2 Side St"}))],
                "created updated",
                &["2 Side St - Rome"],
            ),
            (
                "the same street, without its second line",
                vec![two_lines(), address(json!({"street": "1 Main St"}))],
                "created updated",
                &["1 Main St - Rome"],
            ),
            (
                "an address without a street",
                vec![two_lines(), address(json!({"city": "Oslo"}))],
                "created updated",
                &["1 Main St Suite 5 Oslo"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_country_without_a_state_that_refersion_takes_clears_the_state_sent_before() {
    let california = || address(json!({"state": "CA", "country": "US", "city": "Fresno"}));
    hold(
        &[],
        "country state city",
        vec![
            (
                "another country",
                vec![california(), address(json!({"country": "DE", "city": "Bonn"}))],
                "created updated",
                &["DE - Bonn"],
            ),
            (
                "another country with a state of its own",
                vec![california(), address(json!({"country": "AU", "state": "NSW", "city": "Sydney"}))],
                "created updated",
                &["AU NSW Sydney"],
            ),
            (
                "the same country, without its state",
                vec![california(), address(json!({"country": "USA"}))],
                "created updated",
                &["US - Fresno"],
            ),
            (
                "an address without a country",
                vec![california(), address(json!({"city": "Oakland"}))],
                "created updated",
                &["US CA Oakland"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_value_that_was_never_sent_is_not_cleared() {
    hold(
        &[],
        "address1 address2",
        vec![(
            "a street of one line twice",
            vec![address(json!({"street": "1 Main St"})), address(json!({"street": "2 Side St"}))],
            "created updated",
            &["2 Side St -"],
        )],
    )
    .await;
}
