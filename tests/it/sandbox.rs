//! The simulated Refersion over a real socket: every rule of the API contract and every fault.

use refersion_destination::domain::{AffiliateStatus, ApiKey, Field, Timestamp};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// A long deadline, reached only by a test that fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

struct Client {
    http: reqwest::Client,
    root: String,
}

struct Answer {
    status: u16,
    body: String,
    retry_after: Option<String>,
    content_type: Option<String>,
}

impl Answer {
    /// Status and JSON; `null` if there is no body.
    fn status_and_json(&self) -> (u16, Value) {
        let body = if self.body.is_empty() { Value::Null } else { serde_json::from_str(&self.body).expect("JSON") };
        (self.status, body)
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TEST_TIMEOUT, future).await.expect("in time")
}

async fn start(settings: SandboxSettings) -> (Sandbox, Client) {
    // Err: another test of this process has installed it already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let root = format!("http://{}", listener.local_addr().expect("bound"));
    let sandbox = Sandbox::new(settings);
    tokio::spawn(sandbox.serve(listener));
    let http = reqwest::Client::builder().no_proxy().timeout(TEST_TIMEOUT).build().expect("a client");
    (sandbox, Client { http, root })
}

impl Client {
    fn request(&self, operation: &str, body: impl Into<String>) -> reqwest::RequestBuilder {
        let url = format!("{}/v2/affiliate/{operation}", self.root);
        self.http.post(url).header("Content-Type", "application/json").body(body.into())
    }

    fn signed(&self, operation: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.request(operation, body.to_string());
        request.header("Refersion-Public-Key", "pub_abc").header("Refersion-Secret-Key", "sec_abc")
    }

    async fn try_call(&self, operation: &str, body: &Value) -> reqwest::Result<Answer> {
        read(self.signed(operation, body)).await
    }

    async fn call(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.try_call(operation, body).await.expect("an answer").status_and_json()
    }

    async fn get(&self, path: &str) -> Answer {
        read(self.http.get(format!("{}{path}", self.root))).await.expect("an answer")
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.root)).body(body.to_owned());
        read(request).await.expect("an answer").status_and_json()
    }
}

async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let header = |name| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    let (retry_after, content_type) = (header("retry-after"), header("content-type"));
    let status = response.status().as_u16();
    Ok(Answer { status, retry_after, content_type, body: response.text().await? })
}

fn ada() -> Value {
    json!({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com", "password": "Note-G-1843", "status": "ACTIVE"})
}

/// `base` with `changes`; a change to `null` removes the field.
fn with(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            base.as_object_mut().expect("an object").remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

fn unprocessable(message: &str) -> (u16, Value) {
    (422, json!({"errors": [message]}))
}

fn missing(field: &str) -> (u16, Value) {
    (400, json!({"error": format!("Missing required field {field}")}))
}

/// HTTP forbids the body that is documented.
fn unknown_field() -> (u16, Value) {
    (204, Value::Null)
}

fn changed(changed: &[u64], kept: &[u64]) -> (u16, Value) {
    (200, json!({"ids_changed": changed, "ids_not_changed": kept}))
}

fn seed(sandbox: &Sandbox, emails: &[&str]) -> Vec<u64> {
    let add = |email: &&str| {
        let profile = [(Field::FirstName, "Ann"), (Field::LastName, "Other"), (Field::Email, *email)];
        sandbox.add(AffiliateStatus::Pending, &profile.into_iter().collect()).expect("a new e-mail").id.0
    };
    emails.iter().map(add).collect()
}

/// The first affiliate is that of the contract's examples.
fn as_in_the_contract() -> SandboxSettings {
    SandboxSettings { first_affiliate: 0, ..SandboxSettings::default() }
}

const TAKEN: &str = "The email you have entered is taken by another Affiliate.";

#[tokio::test]
async fn new_returns_the_code_and_has_the_numeric_id_only_in_its_message() {
    let (sandbox, client) = start(as_in_the_contract()).await;
    let everything = json!({
        "offer": "1234", "company": "Engines", "paypal_email": "pay@example.com", "address1": "1 Main St", "address2": "Flat 2",
        "city": "London", "state": "ENG", "zip": "SW1", "country": "GB", "phone": "1", "send_welcome": "TRUE",
        "conversion_trigger_coupon": "ADA10", "unique_merchant_id": "u1",
    });
    for (body, answer) in [
        (
            ada(),
            json!({"id": "a3y7", "link": "https://site.refersion.com/c/a3y7",
                   "message": "The affiliate 37569297 has been created with the status of ACTIVE."}),
        ),
        (
            with(with(ada(), &everything), &json!({"email": "Ada2@Example.com", "status": "PENDING"})),
            json!({"id": "lchq", "link": "https://site.refersion.com/c/lchq",
                   "message": "The affiliate 37569298 has been created with the status of PENDING."}),
        ),
    ] {
        assert_eq!(client.call("new", &body).await, (200, answer));
    }
    let second = sandbox.affiliate("ada2@example.COM").expect("created");
    assert_eq!((second.status, second.field("email")), (AffiliateStatus::Pending, "Ada2@Example.com"));
    for (name, value) in everything.as_object().expect("an object") {
        assert_eq!(Some(second.field(name)), value.as_str(), "{name}");
    }
    assert!(!second.fields.contains_key("password"));
}

#[tokio::test]
async fn an_invalid_new_has_no_effect_and_gets_refersions_message() {
    let (sandbox, client) = start(SandboxSettings { offers: vec![1234], ..SandboxSettings::default() }).await;
    let long = "ü".repeat(256);
    let no_such_offer = || (404, json!({"error": ["Bad request, no body", "Offer does not exists on the database."]}));
    for (changes, answer) in [
        (json!({"first_name": null}), missing("first_name")),
        (json!({"last_name": ""}), missing("last_name")),
        (json!({"email": null}), missing("email")),
        (json!({"password": null}), missing("password")),
        (json!({"status": null}), missing("status")),
        (json!({"nickname": "Countess"}), unknown_field()),
        (json!({"custom_fields": [{"1": "x"}]}), unknown_field()),
        (json!({"nickname": "Countess", "email": null}), unknown_field()),
        (json!({"state": "California"}), unprocessable("California is not a allowed value for field state")),
        (json!({"country": "UK"}), unprocessable("UK is not a allowed value for field country")),
        (json!({"country": "gb"}), unprocessable("gb is not a allowed value for field country")),
        (json!({"country": ""}), unprocessable(" is not a allowed value for field country")),
        (json!({"status": "DENIED"}), unprocessable("DENIED is not a allowed value for field status")),
        (json!({"status": "active"}), unprocessable("active is not a allowed value for field status")),
        (json!({"send_welcome": "true"}), unprocessable("true is not a allowed value for field send_welcome")),
        (json!({"send_welcome": true}), unprocessable("true is not a allowed value for field send_welcome")),
        (json!({"zip": 94103}), unprocessable("94103 is not a allowed value for field zip")),
        (json!({"offer": 1234}), unprocessable("1234 is not a allowed value for field offer")),
        (json!({"city": ["Rome"]}), unprocessable("[\"Rome\"] is not a allowed value for field city")),
        (json!({"email": "ada"}), unprocessable("ada is not a allowed value for field email")),
        (json!({"paypal_email": "x y@z.io"}), unprocessable("x y@z.io is not a allowed value for field paypal_email")),
        (
            json!({"unique_merchant_id": "a-1"}),
            unprocessable("a-1 is not a allowed value for field unique_merchant_id"),
        ),
        (json!({"city": long}), unprocessable("Value exceed the char limit")),
        (json!({"offer": "99"}), no_such_offer()),
        (json!({"offer": "best"}), no_such_offer()),
        (
            json!({"country": "UK", "zip": 1}),
            (
                422,
                json!({"errors": ["1 is not a allowed value for field zip", "UK is not a allowed value for field country"]}),
            ),
        ),
    ] {
        assert_eq!(client.call("new", &with(ada(), &changes)).await, answer, "{changes}");
    }
    assert_eq!(client.call("new", &with(ada(), &json!({"city": "ü".repeat(255), "offer": "1234"}))).await.0, 200);
    assert_eq!(sandbox.affiliates().len(), 1);
}

#[tokio::test]
async fn each_broken_password_rule_has_its_message() {
    let (_, client) = start(SandboxSettings::default()).await;
    let seventy_three = "Ab-1".repeat(19)[..73].to_owned();
    for (password, message) in [
        ("Note-G-1", "Password must be between 9 and 72 characters."),
        (&seventy_three, "Password must be between 9 and 72 characters."),
        ("note-g-1843", "Password must contain at least one uppercase letter."),
        ("NOTE-G-1843", "Password must contain at least one lowercase letter."),
        ("Note-G-abcd", "Password must contain at least one number."),
        ("NoteG1843x", "Password must contain at least one symbol."),
        ("Note-G-1111", "Password must not contain the same character more than 3 times in a row."),
        ("Ada1@example.com", "Password must not be the same as the email."),
    ] {
        let body = with(ada(), &json!({"password": password, "email": "ada1@example.com"}));
        assert_eq!(client.call("new", &body).await, unprocessable(message), "{password}");
    }
    let (status, body) = client.call("new", &with(ada(), &json!({"password": "1111"}))).await;
    assert_eq!((status, body["errors"].as_array().map(Vec::len)), (422, Some(5)));
    for (email, password) in [("a@x.io", "Note-G-111"), ("b@x.io", &seventy_three[..72]), ("c@x.io", "Note-G-12")] {
        let body = with(ada(), &json!({"email": email, "password": password}));
        assert_eq!(client.call("new", &body).await.0, 200, "{password}");
    }
}

#[tokio::test]
async fn an_email_and_a_coupon_belong_to_one_affiliate() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    seed(&sandbox, &["Bob@x.io"]);
    assert_eq!(client.call("new", &with(ada(), &json!({"email": "bOB@X.io"}))).await, unprocessable(TAKEN));
    let coupon = json!({"conversion_trigger_coupon": "TEN"});
    assert_eq!(client.call("new", &with(ada(), &coupon)).await.0, 200);
    let again = with(with(ada(), &coupon), &json!({"email": "other@x.io"}));
    assert_eq!(
        client.call("new", &again).await,
        unprocessable("TEN is not a allowed value for field conversion_trigger_coupon")
    );
    assert_eq!(client.call("new", &ada()).await, unprocessable(TAKEN));
    assert!(sandbox.add(AffiliateStatus::Active, &[(Field::Email, "BOB@x.io")].into_iter().collect()).is_none());
    assert_eq!(sandbox.affiliates().len(), 2);
}

#[tokio::test]
async fn search_finds_parts_of_addresses_a_page_at_a_time() {
    let (sandbox, client) = start(SandboxSettings { page_size: 2, ..SandboxSettings::default() }).await;
    let ids = seed(&sandbox, &["notbob@x.io", "Bob@x.io", "bob@x.io.example", "eve@y.io"]);
    let everyone = sandbox.affiliates();
    let code = |index: usize| everyone[index].code.0.clone();
    for (body, total, found) in [
        (json!({"keyword": "bob@x.io", "page": "1"}), 3, vec![0, 1]),
        (json!({"keyword": "bob@x.io", "page": "2"}), 3, vec![2]),
        (json!({"keyword": "bob@x.io", "page": "3"}), 3, vec![]),
        (json!({"keyword": "NOTBOB"}), 1, vec![0]),
        (json!({"keyword": code(3)}), 1, vec![3]),
        (json!({"keyword": ids[3].to_string()}), 1, vec![3]),
        (json!({"first_name": "ann", "keyword": "eve"}), 1, vec![3]),
        (json!({"last_name": "OTHER", "page": "2"}), 4, vec![2, 3]),
    ] {
        let (status, answer) = client.call("search", &body).await;
        assert_eq!((status, &answer["total"]), (200, &json!(total)), "{body}");
        let codes: Vec<_> =
            answer["results"].as_array().expect("results").iter().map(|one| one["id"].clone()).collect();
        assert_eq!(codes, found.into_iter().map(|index| json!(code(index))).collect::<Vec<_>>(), "{body}");
    }
    for (body, answer) in [
        (json!({"keyword": "nobody@x.io"}), unprocessable("Could not find affiliates with this keyword.")),
        (json!({"keyword": "bob", "first_name": "Eve"}), unprocessable("Could not find affiliates with this keyword.")),
        (json!({}), unprocessable("Request filter not provided.")),
        (json!({"keyword": ""}), unprocessable("Request filter not provided.")),
        (json!({"page": "1"}), unprocessable("Request filter not provided.")),
        (json!({"keyword": "bob", "page": 1}), unprocessable("1 is not a allowed value for field page")),
        (json!({"keyword": "bob", "page": "0"}), unprocessable("0 is not a allowed value for field page")),
        (json!({"keyword": 7}), unprocessable("7 is not a allowed value for field keyword")),
        (json!({"email": "bob@x.io"}), unknown_field()),
    ] {
        assert_eq!(client.call("search", &body).await, answer, "{body}");
    }
}

#[tokio::test]
async fn list_takes_texts_and_a_limit_of_at_most_a_hundred() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    assert_eq!(
        client.call("list", &json!({"limit": "1", "page": "1"})).await,
        (200, json!({"total": 0, "results": []}))
    );
    seed(&sandbox, &["a@x.io", "b@x.io"]);
    let (_, answer) = client.call("list", &json!({"limit": "1", "page": "2"})).await;
    let expected = json!({"total": 2, "results": [{
        "id": sandbox.affiliates()[1].code, "offer_id": "1", "status": "PENDING", "first_name": "Ann", "last_name": "Other",
        "email": "b@x.io", "custom_fields": [],
    }]});
    assert_eq!(answer, expected);
    for (body, answer) in [
        (json!({"limit": "101"}), unprocessable("101 is not a allowed value for field limit")),
        (json!({"limit": "+1"}), unprocessable("+1 is not a allowed value for field limit")),
        (json!({"limit": 1}), unprocessable("1 is not a allowed value for field limit")),
        (json!({"keyword": "a"}), unknown_field()),
    ] {
        assert_eq!(client.call("list", &body).await, answer, "{body}");
    }
    assert_eq!(client.call("list", &json!({"limit": "100"})).await.0, 200);
    assert_eq!(client.call("list", &json!({})).await.1["total"], json!(2));
}

#[tokio::test]
async fn get_finds_by_either_identifier_and_returns_the_numeric_id() {
    let (sandbox, client) = start(SandboxSettings { offers: vec![77], ..as_in_the_contract() }).await;
    let profile =
        [(Field::FirstName, "Ann"), (Field::Email, "ann@x.io"), (Field::Company, "Ann Ltd"), (Field::Phone, "1")];
    sandbox.add(AffiliateStatus::Denied, &profile.into_iter().collect()).expect("added");
    let ann = json!({
        "id": 37_569_297, "offer_id": "77", "status": "DENIED", "first_name": "Ann", "last_name": "", "company_name": "Ann Ltd",
        "email": "ann@x.io", "link": "https://site.refersion.com/c/a3y7", "custom_fields": [],
    });
    for (body, answer) in [
        (json!({"id": 37_569_297}), (200, ann.clone())),
        (json!({"affiliate_code": "a3y7"}), (200, ann)),
        (json!({"id": 1}), unprocessable("Affiliate not found.")),
        (json!({"affiliate_code": "37569297"}), unprocessable("Affiliate not found.")),
        (json!({"id": "37569297"}), unprocessable("37569297 is not a allowed value for field id")),
        (json!({"affiliate_code": 5}), unprocessable("5 is not a allowed value for field affiliate_code")),
        (json!({}), unprocessable("Request filter not provided.")),
        (json!({"code": "a3y7"}), unknown_field()),
    ] {
        assert_eq!(client.call("get", &body).await, answer, "{body}");
    }
    let (sandbox, client) = start(SandboxSettings { ids_as_text: true, ..as_in_the_contract() }).await;
    seed(&sandbox, &["ann@x.io"]);
    assert_eq!(client.call("get", &json!({"affiliate_code": "a3y7"})).await.1["id"], json!("37569297"));
}

#[tokio::test]
async fn two_sandboxes_have_different_ids_and_codes() {
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let (sandbox, _) = start(SandboxSettings::default()).await;
        seed(&sandbox, &["a@x.io", "b@x.io"]);
        for affiliate in sandbox.affiliates() {
            assert!(seen.insert(affiliate.id.to_string()) && seen.insert(affiliate.code.to_string()), "{affiliate:?}");
        }
    }
}

#[tokio::test]
async fn edit_lists_the_ids_that_changed_and_gives_no_reason_for_the_others() {
    let (sandbox, client) = start(SandboxSettings { offers: vec![1, 2], ..SandboxSettings::default() }).await;
    let [a, b] = seed(&sandbox, &["a@x.io", "b@x.io"])[..] else { panic!("two") };
    for (entries, answer) in [
        (json!([{"id": a, "city": "Rome", "state": "NSW"}, {"id": b, "country": "IT"}]), changed(&[a, b], &[])),
        (json!([{"id": a, "city": "Rome"}, {"id": b, "country": "FR"}]), changed(&[b], &[a])),
        (json!([{"id": 5, "city": "Rome"}]), changed(&[], &[5])),
        (json!([{"id": a}]), changed(&[], &[a])),
        (json!([{"id": a, "offer": 2}, {"id": b, "offer": 3, "city": "Oslo"}]), changed(&[a], &[b])),
        (json!([{"id": a, "custom_fields": [{"12": "Hello"}, {"13": "World"}]}]), changed(&[a], &[])),
        (json!([{"id": a, "custom_fields": [{"12": "Hello"}]}]), changed(&[], &[a])),
        (json!([{"id": a, "city": ""}]), changed(&[a], &[])),
        (json!([{"id": a, "email": "A2@x.io"}, {"id": b, "email": "b@x.io"}]), changed(&[a], &[b])),
        (json!([{"id": b, "email": "a@x.io", "state": "TX"}]), changed(&[b], &[])),
        (json!([{"id": b, "state": ""}]), changed(&[b], &[])),
    ] {
        assert_eq!(client.call("edit", &json!({"affiliates": entries})).await, answer, "{entries}");
    }
    let first = sandbox.affiliate("a2@x.io").expect("renamed");
    assert_eq!((first.id.0, first.field("state"), first.field("offer"), first.field("city")), (a, "NSW", "2", ""));
    assert_eq!(
        first.custom_fields.into_iter().collect::<Vec<_>>(),
        [("12".to_owned(), "Hello".to_owned()), ("13".to_owned(), "World".to_owned())]
    );
    let shown = client.call("get", &json!({"id": a})).await.1;
    assert_eq!(shown["custom_fields"][0], json!({"label": "Custom field 12", "value": "Hello"}));
    assert_eq!((sandbox.affiliate("b@x.io"), sandbox.affiliate("a@x.io").map(|one| one.id.0)), (None, Some(b)));
}

#[tokio::test]
async fn edit_with_one_invalid_value_changes_nothing() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    let [a, b] = seed(&sandbox, &["a@x.io", "b@x.io"])[..] else { panic!("two") };
    let before = sandbox.affiliates();
    for (entry, answer) in [
        (json!({"city": "Rome"}), missing("id")),
        (json!({"id": b, "status": "ACTIVE"}), unknown_field()),
        (json!({"id": b, "password": "Note-G-1843"}), unknown_field()),
        (json!({"id": b, "unique_merchant_id": "u"}), unknown_field()),
        (json!({"id": "7"}), unprocessable("7 is not a allowed value for field id")),
        (json!({"id": b, "offer": "2"}), unprocessable("2 is not a allowed value for field offer")),
        (json!({"id": b, "state": "California"}), unprocessable("California is not a allowed value for field state")),
        (json!({"id": b, "state": "C"}), unprocessable("C is not a allowed value for field state")),
        (json!({"id": b, "country": "UK"}), unprocessable("UK is not a allowed value for field country")),
        (json!({"id": b, "first_name": ""}), unprocessable(" is not a allowed value for field first_name")),
        (json!({"id": b, "zip": 1}), unprocessable("1 is not a allowed value for field zip")),
        (json!({"id": b, "city": null}), unprocessable("null is not a allowed value for field city")),
        (json!({"id": b, "city": "x".repeat(256)}), unprocessable("Value exceed the char limit")),
        (json!({"id": b, "email": "A@x.io"}), unprocessable(TAKEN)),
        (
            json!({"id": b, "custom_fields": {"12": "x"}}),
            unprocessable("{\"12\":\"x\"} is not a allowed value for field custom_fields"),
        ),
        (
            json!({"id": b, "custom_fields": [{"size": "x"}]}),
            unprocessable("[{\"size\":\"x\"}] is not a allowed value for field custom_fields"),
        ),
        (
            json!({"id": b, "custom_fields": [{"12": 5}]}),
            unprocessable("5 is not a allowed value for field custom_fields"),
        ),
    ] {
        let body = json!({"affiliates": [{"id": a, "city": "Rome"}, entry]});
        assert_eq!(client.call("edit", &body).await, answer, "{body}");
    }
    for (body, answer) in [
        (json!({}), missing("affiliates")),
        (json!({"affiliates": []}), unprocessable("[] is not a allowed value for field affiliates")),
        (json!({"affiliates": [7]}), unprocessable("[7] is not a allowed value for field affiliates")),
        (json!({"affiliates": [{"id": a, "email": "n@x.io"}, {"id": b, "email": "N@x.io"}]}), unprocessable(TAKEN)),
        (json!({"ids": [a]}), unknown_field()),
    ] {
        assert_eq!(client.call("edit", &body).await, answer, "{body}");
    }
    assert_eq!(sandbox.affiliates(), before);
}

#[tokio::test]
async fn status_change_takes_at_most_fifty_ids_and_not_pending() {
    let (sandbox, client) = start(as_in_the_contract()).await;
    let [a, b] = seed(&sandbox, &["a@x.io", "b@x.io"])[..] else { panic!("two") };
    let many = |n: u64| (1..=n).collect::<Vec<_>>();
    for (body, answer) in [
        (json!({"ids": [a], "status": "ACTIVE"}), changed(&[a], &[])),
        (json!({"ids": [a, b, 9], "status": "ACTIVE"}), changed(&[b], &[a, 9])),
        (json!({"ids": [a], "status": "DENIED"}), changed(&[a], &[])),
        (json!({"ids": [a], "status": "DISABLED"}), changed(&[a], &[])),
        (json!({"ids": [a], "status": "PENDING"}), unprocessable("PENDING is not a allowed value for field status")),
        (json!({"ids": ["1"], "status": "ACTIVE"}), unprocessable("1 is not a allowed value for field ids")),
        (json!({"ids": a, "status": "ACTIVE"}), unprocessable("37569297 is not a allowed value for field ids")),
        (json!({"status": "ACTIVE"}), missing("ids")),
        (json!({"ids": [a]}), missing("status")),
        (json!({"ids": [a], "status": "ACTIVE", "id": a}), unknown_field()),
        (json!({"ids": many(50), "status": "ACTIVE"}), changed(&[], &many(50))),
        (
            json!({"ids": many(51), "status": "ACTIVE"}),
            (429, json!({"error": "Max number of elements on attribute (50) reached."})),
        ),
    ] {
        assert_eq!(client.call("status_change", &body).await, answer, "{body}");
    }
    assert_eq!(
        sandbox.affiliates().iter().map(|one| one.status).collect::<Vec<_>>(),
        [AffiliateStatus::Disabled, AffiliateStatus::Active]
    );
}

#[tokio::test]
async fn the_api_key_is_checked_before_the_body_and_no_body_is_a_404() {
    let key = ApiKey::parse("pub_abc.sec_abc").expect("valid");
    let (sandbox, client) = start(SandboxSettings { api_key: Some(key), ..SandboxSettings::default() }).await;
    let bad_key = || (401, json!({"error": "Invalid API credentials (error 2)."}));
    let no_body = || (404, json!({"error": "Bad request, no body"}));
    let (public, secret) = (Some("pub_abc"), Some("sec_abc"));
    for (public, secret, body, answer) in [
        (public, secret, r#"{"id": 1}"#, unprocessable("Affiliate not found.")),
        (None, None, r#"{"id": 1}"#, bad_key()),
        (public, None, r#"{"id": 1}"#, bad_key()),
        (None, secret, r#"{"id": 1}"#, bad_key()),
        (public, Some("sec_abd"), r#"{"id": 1}"#, bad_key()),
        (Some("pub_abd"), secret, r#"{"id": 1}"#, bad_key()),
        (Some("pub_abd"), secret, "", bad_key()),
        (public, secret, "", no_body()),
        (public, secret, "null", no_body()),
        (public, secret, "[]", no_body()),
        (public, secret, "{", no_body()),
        (public, secret, "{}", unprocessable("Request filter not provided.")),
    ] {
        let mut request = client.request("get", body);
        for (name, half) in [("Refersion-Public-Key", public), ("Refersion-Secret-Key", secret)] {
            request = if let Some(half) = half { request.header(name, half) } else { request };
        }
        assert_eq!(read(request).await.expect("an answer").status_and_json(), answer, "{public:?} {secret:?} {body}");
    }
    for (content_type, answer) in [
        (None, no_body()),
        (Some("application/x-www-form-urlencoded"), no_body()),
        (Some("application/json; charset=utf-8"), unprocessable("Request filter not provided.")),
    ] {
        let mut request = client.http.post(format!("{}/v2/affiliate/get", client.root)).body("{}");
        request = request.header("Refersion-Public-Key", "pub_abc").header("Refersion-Secret-Key", "sec_abc");
        request = if let Some(name) = content_type { request.header("Content-Type", name) } else { request };
        assert_eq!(read(request).await.expect("an answer").status_and_json(), answer, "{content_type:?}");
    }
    sandbox.revoke_api_key();
    assert_eq!(client.call("get", &json!({"id": 1})).await, bad_key());
    sandbox.restore_api_key();
    assert_eq!(client.call("get", &json!({"id": 1})).await.0, 422);
    assert_eq!(client.call("delete", &json!({"id": 1})).await.0, 404, "there is no delete");
    assert_eq!(client.get("/v2/affiliate/list").await.status, 405, "reads are POST too");
}

#[tokio::test]
async fn the_sandbox_without_an_api_key_of_its_own_accepts_any_well_formed_one() {
    let (_, client) = start(SandboxSettings::default()).await;
    for (public, secret, status) in [("pub_x", "sec_y", 200), ("", "sec_y", 401), ("pub_x", "", 401), ("a b", "c", 401)]
    {
        let request = client.request("list", "{}").header("Refersion-Public-Key", public);
        let answer = read(request.header("Refersion-Secret-Key", secret)).await.expect("an answer");
        assert_eq!(answer.status, status, "{public:?} {secret:?}");
    }
}

#[tokio::test]
async fn scripted_responses_are_sent_once_each_in_order_and_their_calls_have_no_effect() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    sandbox.script([Fault::status(503), Fault::too_many_calls(Some(7)), Fault::html(502), Fault::unprocessable(TAKEN)]);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(client.try_call("new", &ada()).await.expect("an answer"));
    }
    assert_eq!(answers[0].status_and_json(), (503, json!({"error": "Service Unavailable"})));
    assert_eq!(answers[1].status_and_json(), (429, json!({"error": "You're making too many API calls"})));
    assert_eq!(answers[1].retry_after.as_deref(), Some("7"));
    assert_eq!((answers[2].status, answers[2].content_type.as_deref()), (502, Some("text/html")));
    assert!(answers[2].body.contains("<h1>502 Bad Gateway</h1>"), "{}", answers[2].body);
    assert_eq!(answers[3].status_and_json(), unprocessable(TAKEN));
    assert!(sandbox.affiliates().is_empty());
    assert_eq!(client.call("new", &ada()).await.0, 200);
    let seen: Vec<_> = sandbox.calls().into_iter().map(|call| (call.status, call.fault)).collect();
    let scripted = |status| (Some(status), Some("status"));
    assert_eq!(seen, [scripted(503), scripted(429), (Some(502), Some("html")), scripted(422), (Some(200), None)]);
}

#[tokio::test]
async fn a_fault_of_one_operation_waits_for_it() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    sandbox.script_for(Operation::Get, [Fault::status(500)]);
    assert_eq!(client.call("new", &ada()).await.0, 200);
    assert_eq!((client.call("get", &json!({"id": 1})).await.0, sandbox.pending_faults()), (500, 0));
    assert_eq!(client.call("get", &json!({"id": 1})).await.0, 422);
}

#[tokio::test]
async fn a_lost_or_truncated_response_is_no_response_whether_or_not_the_call_took_effect() {
    for (fault, took_effect, status_line) in [
        (Fault::CloseConnection, false, false),
        (Fault::LoseResponse, true, false),
        (Fault::TruncateResponse, true, true),
    ] {
        let (sandbox, client) = start(SandboxSettings::default()).await;
        // The fault comes on a connection that was used before.
        assert_eq!(client.call("list", &json!({})).await.0, 200);
        sandbox.script([fault.clone()]);
        let sent = client.signed("new", &ada()).send().await;
        assert_eq!(sent.is_ok(), status_line, "{fault:?}: {sent:?}");
        if let Ok(response) = sent {
            assert_eq!(response.status(), 200);
            assert!(response.text().await.is_err(), "{fault:?}: the body must break off");
        }
        assert_eq!(sandbox.affiliates().len(), usize::from(took_effect), "{fault:?}");
        let record = sandbox.calls().pop().expect("noted");
        assert_eq!((record.status.is_some(), record.response.is_null()), (status_line, !took_effect), "{fault:?}");
        let again = client.call("new", &ada()).await;
        assert_eq!(again.0, if took_effect { 422 } else { 200 }, "{fault:?}: the next connection works");
    }
}

#[tokio::test]
async fn hanging_and_slow_responses_take_longer_than_a_client_waits() {
    for (fault, took_effect) in
        [(Fault::Hang { effect: false }, false), (Fault::Hang { effect: true }, true), (Fault::SlowResponse, true)]
    {
        let (sandbox, client) = start(SandboxSettings::default()).await;
        sandbox.script([fault.clone()]);
        let mut asking = tokio::spawn(read(client.signed("new", &ada())));
        within(sandbox.until(|sandbox| sandbox.calls_total() == 1)).await;
        assert_eq!(sandbox.affiliates().len(), usize::from(took_effect), "{fault:?}");
        let answer = tokio::time::timeout(Duration::from_millis(150), &mut asking).await;
        assert!(answer.is_err(), "{fault:?} must not be answered");
        assert_eq!(client.call("list", &json!({})).await.0, 200, "{fault:?}: others are answered");
        asking.abort();
    }
}

#[tokio::test]
async fn random_failures_are_json_or_html_and_a_scripted_pass_has_none() {
    let (sandbox, client) = start(SandboxSettings { fail_rate: 1.0, ..SandboxSettings::default() }).await;
    let mut kinds = Vec::new();
    for _ in 0..20 {
        let answer = client.try_call("new", &ada()).await.expect("an answer");
        assert_eq!(answer.status, 500);
        kinds.push(answer.content_type.expect("a type"));
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["application/json", "text/html"]);
    sandbox.script([Fault::Pass]);
    assert_eq!(client.call("new", &ada()).await.0, 200);
}

#[tokio::test]
async fn a_call_over_the_rate_limit_gets_a_429_with_retry_after() {
    let (sandbox, client) =
        start(SandboxSettings { rate_limit: NonZeroU32::new(1), ..SandboxSettings::default() }).await;
    assert_eq!(client.call("list", &json!({})).await.0, 200);
    // The second call is over the limit, or a later one on a machine too busy for two calls a second.
    for _ in 0..20 {
        let answer = client.try_call("list", &json!({})).await.expect("an answer");
        if answer.status == 429 {
            assert_eq!(answer.status_and_json().1, json!({"error": "You're making too many API calls"}));
            assert_eq!(answer.retry_after.as_deref(), Some("1"));
            assert_eq!(sandbox.calls().pop().and_then(|call| call.fault), Some("rate_limit"));
            return;
        }
    }
    panic!("twenty calls, and none over a limit of one a second");
}

#[tokio::test]
async fn half_of_the_latency_passes_before_the_effect_and_half_after() {
    let (sandbox, client) =
        start(SandboxSettings { latency: Duration::from_millis(100), ..SandboxSettings::default() }).await;
    let now = || Timestamp::from(SystemTime::now());
    let asked = now();
    assert_eq!(client.call("new", &ada()).await.0, 200);
    let effect = sandbox.calls()[0].at;
    let (before, after) = (effect.since(asked), now().since(effect));
    // Moments are whole milliseconds.
    let half = Duration::from_millis(49);
    assert!(before >= half && after >= half, "{before:?} {after:?}");
}

#[tokio::test]
async fn until_returns_when_its_condition_holds() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.until(|sandbox| sandbox.affiliate("ada@example.com").is_some()).await }
    });
    client.call("list", &json!({})).await;
    assert!(!waiting.is_finished());
    client.call("new", &ada()).await;
    within(waiting).await.expect("no panic");
    within(sandbox.until(|sandbox| sandbox.calls_total() == 2)).await;
}

#[tokio::test]
async fn another_process_scripts_faults_and_reads_calls_over_http() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    let script = r#"[{"fault": "status", "status": 503, "times": 2}, {"fault": "lose_response", "operation": "new"}, {"fault": "hang", "effect": true}]"#;
    assert_eq!(client.post("/sandbox/faults", script).await, (200, json!({"pending": 4})));
    for status in [503, 503] {
        assert_eq!(client.call("list", &json!({})).await.0, status);
    }
    assert!(client.try_call("new", &ada()).await.is_err());
    assert_eq!(client.post("/sandbox/key", r#"{"accepted": false}"#).await, (200, json!({"accepted": false})));
    assert!(sandbox.api_key_revoked());
    assert_eq!(client.post("/sandbox/key", r#"{"accepted": true}"#).await, (200, json!({"accepted": true})));
    assert!(!sandbox.api_key_revoked());
    let (_, affiliates) = client.get("/sandbox/affiliates").await.status_and_json();
    assert_eq!(affiliates[0]["fields"]["email"], json!("ada@example.com"));
    let (_, calls) = client.get("/sandbox/calls").await.status_and_json();
    assert_eq!(calls[2]["body"], with(ada(), &json!({"password": "…"})));
    assert_eq!((&calls[2]["operation"], &calls[2]["status"]), (&json!("new"), &Value::Null));
    for (body, problem) in [
        ("{}", "expected a list of faults"),
        (r#"[{"fault": "explode"}]"#, "fault 1: unknown variant `explode`"),
        (r#"[{"fault": "pass"}, {"fault": "status"}]"#, "fault 2: missing field `status`"),
        (r#"[{"fault": "status", "status": 101}]"#, "fault 1: status 101; expected 200 to 599"),
        (r#"[{"fault": "status", "status": 503, "retry": 1}]"#, "fault 1: unknown field `retry`"),
        (r#"[{"fault": "close_connection", "operation": "delete"}]"#, "fault 1: unknown variant `delete`"),
        (r#"[{"fault": "close_connection", "times": 0}]"#, "fault 1: expected `times` from 1 to 1000"),
    ] {
        let (status, answer) = client.post("/sandbox/faults", body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().expect("a text").starts_with(problem), "{body}: {answer}");
    }
    assert_eq!(sandbox.pending_faults(), 1, "a faulty script queues nothing");
    assert_eq!(client.post("/sandbox/key", "yes").await.0, 400);
}

#[tokio::test]
async fn the_call_log_keeps_the_body_that_a_204_cannot_carry() {
    let (sandbox, client) = start(SandboxSettings::default()).await;
    assert_eq!(client.call("new", &with(ada(), &json!({"nick": "x"}))).await, (204, Value::Null));
    let call = sandbox.calls().pop().expect("noted");
    assert_eq!((call.status, call.response), (Some(204), json!({"error": "Invalid field nick"})));
    assert_eq!(call.body["password"], json!("…"));
}

#[tokio::test]
async fn the_page_lists_affiliates_and_escapes_their_values() {
    let (sandbox, client) = start(SandboxSettings { offers: vec![4711], ..as_in_the_contract() }).await;
    let empty = client.get("/").await;
    assert_eq!((empty.status, empty.content_type.as_deref()), (200, Some("text/html; charset=utf-8")));
    assert!(empty.body.contains("No affiliates yet.") && empty.body.contains("identify"), "{}", empty.body);
    assert!(empty.body.contains(&format!("{}/v2", client.root)), "{}", empty.body);
    let attack = "<script>alert(1)</script>";
    let attacks = ["first_name", "last_name", "company", "city"].map(|name| (name.to_owned(), json!(attack)));
    client.call("new", &with(ada(), &Value::Object(attacks.into_iter().collect()))).await;
    let id = sandbox.affiliates()[0].id.0;
    client.call("edit", &json!({"affiliates": [{"id": id, "custom_fields": [{"12": attack}]}]})).await;
    client.call("new", &json!({attack: attack})).await;
    let page = client.http.get(&client.root).header("Host", "\"><script>x").send().await.expect("an answer");
    let policy = page.headers().get("content-security-policy").expect("a policy").to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline';"), "{policy}");
    let page = page.text().await.expect("a page");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("ada@example.com"), "{page}");
    assert!(page.contains(r#"<td class="tight">4711</td>"#), "the offer: {page}");
    assert!(page.contains("37569297") && page.contains("a3y7") && !page.contains("Note-G-1843"), "{page}");
    let newest = "zoe@example.com";
    client.call("new", &with(ada(), &json!({"email": newest}))).await;
    let page = client.get("/").await.body;
    assert!(page.find(newest) < page.find("ada@example.com"), "the newest comes first");
}
