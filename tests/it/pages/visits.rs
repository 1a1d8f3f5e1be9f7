//! Visits with a browser: by mouse, by keyboard, on a phone.

use super::{Browser, OPS_TOKEN, PAGES, Password, service_with_a_dead_letter, url};
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, basic, identify};
use refersion_destination::sandbox::Sandbox;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Whether the event that was a dead letter has become an affiliate.
fn has_affiliate(sandbox: &Sandbox) -> bool {
    sandbox.affiliates().iter().any(|affiliate| affiliate.email() == "markeruser1@example.com")
}

/// `PICTURES=folder cargo test pages` writes a picture of each.
#[tokio::test]
async fn no_page_has_an_error_in_the_console_or_scrolls_sideways_on_a_phone_light_or_dark() {
    let (service, _) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    let pictures = std::env::var_os("PICTURES").map(PathBuf::from);
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, scheme).await;
        for (number, path) in PAGES.iter().enumerate() {
            browser.open(&url(&service, path)).await;
            let errors = browser.errors();
            let missing = path.ends_with("99999");
            assert!(
                errors.is_empty() || missing && errors.len() == 1 && errors[0].contains("404"),
                "{path}: {errors:?}"
            );
            let sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.eval(sideways).await, 0, "{path} at {width}");
            assert_eq!(
                browser.eval("getComputedStyle(document.querySelector('.skip')).position").await,
                "absolute",
                "the style applies"
            );
            if let Some(folder) = &pictures {
                browser.picture(&folder.join(format!("{number}-{width}-{scheme}.png"))).await;
            }
        }
    }
}

#[tokio::test]
async fn a_dead_letter_is_replayed_by_clicking() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    browser.set_password(Password::Is(OPS_TOKEN));
    browser.open(&url(&service, "/dead-letters")).await;
    browser.click("input[name=ids]").await;
    browser.click("form[method=post] button").await;
    browser.loaded().await;
    let text = browser.text().await;
    assert!(text.contains("Replayed 1 of 1") && text.contains(&id.to_string()), "{text}");
    service.refersion.until(has_affiliate).await;
    browser.open(&url(&service, "/dead-letters")).await;
    assert!(browser.text().await.contains("No dead letter fits."));
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_reveal_is_refused_without_the_token_and_shows_the_event_with_it() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    let reveal = format!("form[action='/dead-letters/{id}/reveal'] button");
    for (password, shows) in [(Password::None, false), (Password::Is(OPS_TOKEN), true)] {
        browser.set_password(password);
        browser.open(&url(&service, &format!("/dead-letters/{id}"))).await;
        assert!(!browser.text().await.contains("Markertown"));
        browser.click(&reveal).await;
        browser.loaded().await;
        let text = browser.text().await;
        assert_eq!(text.contains("Markertown"), shows, "{password:?}: {text}");
        if !shows {
            assert!(text.contains("The operators' token is required"), "{text}");
        }
    }
}

/// Presses Tab until the element with the focus has this text or label.
async fn tab_to(browser: &mut Browser, name: &str) {
    let focused =
        "(() => { const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || e.id })()";
    let mut passed = Vec::new();
    for _ in 0..60 {
        browser.press("Tab").await;
        let found = browser.eval(focused).await.as_str().unwrap_or_default().trim().to_owned();
        if found == name {
            let outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle").await;
            assert_eq!(outline, "solid", "{name} shows that it has the focus");
            return;
        }
        passed.push(found);
    }
    panic!("Tab does not lead to {name}: {passed:?}");
}

#[tokio::test]
async fn a_whole_visit_needs_no_mouse() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    browser.set_password(Password::Is(OPS_TOKEN));
    browser.open(&url(&service, "/?refresh=off")).await;
    browser.press("Tab").await;
    assert_eq!(browser.eval("document.activeElement.innerText").await, "To the content", "the first stop");
    for (name, heading) in [("Last day", "Overview"), ("Dead letters", "Dead letters")] {
        tab_to(&mut browser, name).await;
        browser.press("Enter").await;
        browser.loaded().await;
        assert_eq!(browser.eval("document.querySelector('h1').innerText").await, heading);
    }
    tab_to(&mut browser, &id.to_string()).await;
    browser.press("Enter").await;
    browser.loaded().await;
    tab_to(&mut browser, "Discard…").await;
    browser.press("Enter").await;
    browser.loaded().await;
    tab_to(&mut browser, "Keep them").await;
    browser.press("Enter").await;
    browser.loaded().await;
    // The buttons stand before the list: tick the box first, then go around.
    tab_to(&mut browser, &format!("Select dead letter {id}")).await;
    browser.press(" ").await;
    assert_eq!(browser.eval("document.activeElement.checked").await, true);
    tab_to(&mut browser, "Replay the selected").await;
    browser.press("Enter").await;
    browser.loaded().await;
    assert_eq!(heading(&mut browser).await, "Replayed 1 of 1");
    service.refersion.until(has_affiliate).await;
}

/// A service whose store has three pending events of the account `old`, which is not configured any more.
async fn service_with_an_account_that_is_gone() -> Service {
    let (folder, key) = (tempfile::tempdir().expect("a folder"), "pub_old.sec_old");
    let file = folder.path().join("old.toml");
    std::fs::write(&file, format!("[[accounts]]\nname = \"old\"\napi_key = \"{key}\"\n")).expect("written");
    let refersion = Refersion::start().await; // rejects its key, so that its events stay pending
    let service = Service::configured(refersion, folder, &[("SERVER_WAIT", "0s")], &[file]).await;
    let events: Value = ["a", "b", "c"].iter().map(|user| identify(user, user, &json!({}))).collect();
    let request = service.http.post(service.url("/segment/old")).header("Authorization", basic(key));
    assert_eq!(Answer::to(request.body(events.to_string())).await.status, 202);
    let (refersion, folder) = service.stop().await;
    Service::resume(refersion, folder, &[]).await
}

/// The heading of the page.
async fn heading(browser: &mut Browser) -> String {
    browser.eval("document.querySelector('h1').innerText").await.as_str().expect("text").to_owned()
}

/// Clicks on each of these in turn, which leads to a page whose heading begins so.
async fn click_through(browser: &mut Browser, steps: &[(&str, &str)]) {
    for &(selector, leads_to) in steps {
        browser.click(selector).await;
        browser.loaded().await;
        let now = heading(browser).await;
        assert!(now.starts_with(leads_to), "{selector} leads to {now}, not to {leads_to}");
    }
}

#[tokio::test]
async fn events_of_an_account_that_is_gone_are_set_aside_moved_and_discarded_by_clicking() {
    let service = service_with_an_account_that_is_gone().await;
    let Some(mut browser) = Browser::start().await else { return };
    browser.set_password(Password::Is(OPS_TOKEN));
    browser.open(&url(&service, "/?refresh=off")).await;
    let to_its_dead_letters = [
        ("a[href='/accounts/old']", "Account old"),
        ("form[action='/accounts/old/set-aside'] button", "Set the pending events of old aside?"),
        ("form[action='/accounts/old/set-aside'] a", "Account old"),
        ("form[action='/accounts/old/set-aside'] button", "Set the pending events of old aside?"),
        ("form[action='/accounts/old/set-aside'] button", "Set 3 aside"),
        ("a[href='/dead-letters?account=old&reason=account_gone']", "Dead letters"),
    ];
    click_through(&mut browser, &to_its_dead_letters).await;
    for box_of in ["tr:nth-child(1) input[name=ids]", "tr:nth-child(3) input[name=ids]", "#to"] {
        browser.click(box_of).await;
    }
    browser.write("main").await;
    browser.click("form#selected button.primary").await;
    browser.loaded().await;
    assert_eq!(heading(&mut browser).await, "Replayed 2 of 2");
    service.refersion.until(|sandbox| sandbox.affiliates().len() == 2).await;
    browser.open(&url(&service, "/dead-letters")).await;
    let discarding = [
        ("form#selected a", "Dead letters"),
        ("form#selected button.danger", "Discard dead letter"),
        ("form[action='/dead-letters/discard'] button", "Discarded 1 of 1"),
    ];
    click_through(&mut browser, &discarding).await;
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn events_of_an_account_that_is_gone_are_moved_without_a_mouse() {
    let service = service_with_an_account_that_is_gone().await;
    let Some(mut browser) = Browser::start().await else { return };
    browser.set_password(Password::Is(OPS_TOKEN));
    browser.open(&url(&service, "/?refresh=off")).await;
    for (name, leads_to) in [
        ("old", "Account old"),
        ("Set its pending events aside…", "Set the pending events of old aside?"),
        ("Set aside", "Set 3 aside"),
        ("Its dead letters, to discard them or to replay them to another account", "Dead letters"),
    ] {
        tab_to(&mut browser, name).await;
        browser.press("Enter").await;
        browser.loaded().await;
        let now = heading(&mut browser).await;
        assert!(now.starts_with(leads_to), "{name} leads to {now}, not to {leads_to}");
    }
    let boxes = browser.eval("[...document.querySelectorAll('input[name=ids]')].map(box => box.ariaLabel)").await;
    for name in &boxes.as_array().expect("a list")[1..] {
        tab_to(&mut browser, name.as_str().expect("a name")).await;
        browser.press(" ").await;
    }
    tab_to(&mut browser, "to").await;
    browser.write("main").await;
    tab_to(&mut browser, "Replay the selected").await;
    browser.press("Enter").await;
    browser.loaded().await;
    assert_eq!(heading(&mut browser).await, "Replayed 2 of 2");
    service.refersion.until(|sandbox| sandbox.affiliates().len() == 2).await;
}
