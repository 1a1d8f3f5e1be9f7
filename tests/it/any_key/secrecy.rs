//! Keys are secret: neither half is in the store's files, while events are pending or afterwards, in a log or in a response.

use super::{ANY, Partner, SEAL};
use crate::support::process::Process;
use crate::support::{Answer, basic, http, identify, within};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use refersion_destination::sandbox::{Fault, Operation, Sandbox};
use serde_json::{Value, json};
use std::path::Path;

const PUBLIC: &str = "pub_marker_Publichalf";
const SECRET: &str = "sec_marker_Secrethalf";

fn key() -> String {
    format!("{PUBLIC}.{SECRET}")
}

/// The encodings of a text that are searched for: plain, reversed, upper and lower case, UTF-16, hex, and base64 at each of three
/// offsets.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let mut found = vec![text.to_lowercase().into_bytes(), text.to_uppercase().into_bytes()];
    let reversed: String = text.chars().rev().collect();
    for text in [text, &reversed] {
        found.push(text.as_bytes().to_vec());
        found.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        found.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        found.push(hex::encode(text).into_bytes());
        found.push(hex::encode_upper(text).into_bytes());
        for before in 0..3 {
            let shifted = [&b"..."[..before], text.as_bytes()].concat();
            for engine in [STANDARD, URL_SAFE] {
                let encoded = engine.encode(&shifted);
                // Without the characters that hold bits of the bytes around it.
                found.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
            }
        }
    }
    found
}

/// Where the halves, parts of them, or the seal key are found in the files of `folder`.
fn leaks(folder: &Path) -> Vec<String> {
    let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|file| file.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(path).expect("readable")))
        .collect();
    assert!(files.iter().any(|(name, bytes)| name.ends_with("store.db") && !bytes.is_empty()), "{files:?}");
    let seal = String::from_utf8(STANDARD.decode(SEAL).expect("base64")).expect("text");
    let mut found = Vec::new();
    for text in [PUBLIC, SECRET, &PUBLIC[11..], &SECRET[11..], &seal, SEAL] {
        for (encoding, (name, bytes)) in
            encodings(text).iter().flat_map(|one| files.iter().map(move |file| (one, file)))
        {
            if bytes.windows(encoding.len()).any(|window| window == encoding) {
                found.push(format!("{text} in {name} as {}", encoding.escape_ascii()));
            }
        }
    }
    found
}

#[test]
fn the_test_finds_every_encoding() {
    let folder = tempfile::tempdir().expect("a folder");
    for bytes in encodings(SECRET).iter().chain(&encodings(PUBLIC)) {
        std::fs::write(folder.path().join("store.db"), [b"..", &bytes[..], b".."].concat()).expect("written");
        assert_ne!(leaks(folder.path()), [""; 0], "{}", bytes.escape_ascii());
    }
    std::fs::write(folder.path().join("store.db"), STANDARD.encode(key())).expect("written");
    assert!(leaks(folder.path()).len() > 1);
}

#[tokio::test]
async fn no_half_of_a_key_is_in_the_stores_files_in_any_encoding() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    let sandbox = partner.refersions.accept(&key());
    let event = |n: u32| identify(&format!("m{n}"), &format!("u{n}"), &Value::Null);
    assert_eq!(partner.send(&key(), &event(0)).await.brief(), "200 delivered");
    sandbox.script([Fault::too_many_calls(Some(3600))]);
    assert_eq!(partner.send(&key(), &json!([event(1), event(2)])).await.brief(), "202 accepted");
    within(sandbox.until(|sandbox| sandbox.pending_faults() == 0)).await;
    for bogus in [format!("{PUBLIC}.sec_marker_Another"), format!("pub_marker_Another.{SECRET}")] {
        assert_eq!(partner.send(&bogus, &event(9)).await.brief(), "401 unauthorized");
    }
    assert_eq!(leaks(partner.service.folder.path()), [""; 0], "while events wait");

    let (_, folder) = partner.service.stop().await;
    assert_eq!(leaks(folder.path()), [""; 0], "while the service is stopped");
    let partner = Partner::on(partner.refersions, folder, &[]).await;
    within(sandbox.until(|sandbox| sandbox.affiliates().len() == 3)).await;
    partner.service.until_drained().await;
    sandbox.script_for(Operation::New, [Fault::unprocessable("no"), Fault::unprocessable("no")]);
    assert_eq!(partner.send(&key(), &event(3)).await.brief(), "400 rejected");
    let changed = format!("{PUBLIC}.{SECRET}_2");
    partner.refersions.accept(&changed);
    assert_eq!(partner.send(&changed, &event(4)).await.brief(), "200 delivered");
    assert_eq!(leaks(partner.service.folder.path()), [""; 0], "after the secret was changed");
    let (_, folder) = partner.service.stop().await;
    assert_eq!(leaks(folder.path()), [""; 0], "in the end");
}

/// Sends `body` with `key` until the response is not a 503.
async fn send(process: &Process, key: &str, body: &Value) -> Answer {
    loop {
        let request = http().post(format!("{}/segment", process.server)).header("Authorization", basic(key));
        let answer = Answer::to(request.body(body.to_string())).await;
        if answer.status != 503 {
            return answer;
        }
    }
}

/// The responses to a new key, a wrong one, a refused one, a changed one and one that cannot be verified.
async fn responses(process: &Process, refersions: &super::MultiAccountRefersion, sandbox: &Sandbox) -> Vec<String> {
    let event = |n: u32| identify(&format!("m{n}"), &format!("u{n}"), &Value::Null);
    let mut answers = vec![send(process, &key(), &event(1)).await];
    answers.push(send(process, &format!("{PUBLIC}.sec_marker_wrong"), &event(2)).await);
    answers.push(send(process, PUBLIC, &event(2)).await);
    let changed = format!("{PUBLIC}.{SECRET}_2");
    refersions.accept(&changed);
    answers.push(send(process, &key(), &event(3)).await);
    answers.push(send(process, &changed, &event(4)).await);
    within(sandbox.until(|sandbox| sandbox.affiliates().len() == 3)).await;
    refersions.answer_all(500);
    let request =
        http().post(format!("{}/segment", process.server)).header("Authorization", basic("pub_marker_z.sec_marker"));
    answers.push(Answer::to(request.body(event(5).to_string())).await);
    answers.push(Answer::to(http().get(format!("{}/readyz", process.ops))).await);
    answers.into_iter().map(|answer| format!("{} {:?} {}", answer.status, answer.headers, answer.text)).collect()
}

#[tokio::test]
async fn no_half_of_a_key_is_logged_or_answered() {
    let refersions = super::MultiAccountRefersion::start().await;
    let sandbox = refersions.accept(&key());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [&ANY[..], &[("LOG_FILTER", "refersion_destination=trace,info"), super::PATIENT]].concat();
    let process = Process::start(&refersions.base_url, folder.path(), &settings);
    let answers = within(responses(&process, &refersions, &sandbox)).await;
    process.terminate();
    let (status, logged) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
    assert_eq!(status.code(), Some(0));
    let codes: Vec<&str> = answers.iter().map(|answer| &answer[..3]).collect();
    assert_eq!(codes.join(" "), "200 401 401 401 200 503 200", "{answers:#?}");
    for word in ["accepts a new API key", "accepts another API key", "cannot verify a new API key"] {
        assert!(logged.contains(word), "{word} is logged: {logged}");
    }
    for text in answers.iter().map(String::as_str).chain(logged.lines()) {
        assert!(!text.to_lowercase().contains("marker"), "{text}");
    }
}
