//! Pieces of a user that arrive at several processes are put together by the owner of the account.

use super::cluster::{Cluster, post};
use serde_json::json;

const SETTINGS: [(&str, &str); 3] = [
    ("STORE_SEAL_KEY", "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM="),
    ("MAPPING_CREATE_IF", r#"{ trait = "wants", equals = "true" }"#),
    ("MAPPING_REMEMBER_TRAITS", "30d"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_that_arrive_at_two_processes_become_one_affiliate_with_all_of_them() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = cluster.processes_with_owner(2, &SETTINGS, &[]).await;
    let pieces = [
        json!({"email": "u1@example.com"}),
        json!({"name": "Ann Lee"}),
        json!({"phone": "555"}),
        json!({"wants": true}),
    ];
    for (n, traits) in pieces.into_iter().enumerate() {
        let event = json!({"type": "identify", "messageId": format!("m{n}"), "userId": "u1", "traits": traits});
        assert_eq!(post(&processes[n % 2].server, &event).await.expect("answered").status, 202);
    }
    cluster.drained().await;
    let affiliates = cluster.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 1);
    let fields = ["first_name", "last_name", "email", "phone"].map(|name| affiliates[0].field(name));
    assert_eq!(fields, ["Ann", "Lee", "u1@example.com", "555"]);
    assert_eq!(cluster.refersion.operations(), ["new"]);
}
