//! Accessibility of the pages: checked by axe-core, where it is (`.ci/run` fetches it from npm; `AXE_CORE` names another copy), and by
//! checks of our own everywhere.

use super::{Browser, PAGES, service_with_a_dead_letter, url};
use crate::support::say_skipped;
use serde_json::Value;
use std::path::PathBuf;

/// What is wrong with a page, in a list: names of fields, order of headings, landmarks, contrast of text.
const CHECKS: &str = r"(() => {
  const wrong = [];
  const say = (what, element) => wrong.push(what + ': ' + element.outerHTML.slice(0, 120));
  const named = e => (e.getAttribute('aria-label') || e.innerText || '').trim()
    || [...(e.labels || [])].some(label => label.innerText.trim());
  for (const e of document.querySelectorAll('a, button, select, input:not([type=hidden])')) if (!named(e)) say('no name', e);
  for (const [what, count] of [['main', 1], ['header', 1], ['footer', 1], ['h1', 1]])
    if (document.querySelectorAll(what).length !== count) wrong.push('not one ' + what);
  if (!document.documentElement.lang || !document.title.trim()) wrong.push('no language or title');
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3')) {
    if (+e.tagName[1] > level + 1) say('a level of headings is left out', e);
    level = +e.tagName[1];
  }
  for (const e of document.querySelectorAll('[aria-labelledby]'))
    for (const id of e.getAttribute('aria-labelledby').split(' ')) if (!document.getElementById(id)) say('no ' + id, e);
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id occurs twice');
  for (const e of document.querySelectorAll('nav')) if (!e.getAttribute('aria-label')) say('no name', e);
  for (const e of document.querySelectorAll('th')) if (!e.scope) say('no scope', e);
  const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const numbers = color => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = e => { for (; e; e = e.parentElement) {
    const color = numbers(getComputedStyle(e).backgroundColor); if (color.length < 4 || color[3] > 0) return color } return [255, 255, 255] };
  for (const e of document.querySelectorAll('body *:not(svg *)')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
    const [one, other] = [light(numbers(getComputedStyle(e).color)), light(behind(e))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) say('contrast ' + contrast.toFixed(2), e);
  }
  return wrong;
})()";

/// What axe-core finds, one text for each rule that is broken.
const AXE: &str = "axe.run().then(found => found.violations.map(rule =>
  rule.id + ': ' + rule.help + ': ' + rule.nodes.map(node => node.html.slice(0, 120)).join(' | ')))";

fn axe() -> Option<String> {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    let file = std::env::var_os("AXE_CORE").map_or(kept, PathBuf::from);
    let script = std::fs::read_to_string(file).ok();
    if script.is_none() {
        say_skipped("axe-core is not here (AXE_CORE, or target/axe by .ci/run); the other checks are made");
    }
    script
}

#[tokio::test]
async fn every_page_is_accessible_light_and_dark_on_a_screen_and_on_a_phone() {
    let (service, _) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    let axe = axe();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.look(width, scheme).await;
        for path in PAGES {
            let stopped = if path.contains("refresh=off") || path.contains("dead-letters") {
                path.to_owned()
            } else {
                format!("{path}?refresh=off")
            };
            browser.open(&url(&service, &stopped)).await;
            let wrong = browser.eval(CHECKS).await;
            assert_eq!(wrong, Value::Array(Vec::new()), "{path} at {width}, {scheme}: {wrong:#}");
            if let Some(axe) = &axe {
                browser.eval(&format!("{axe}; undefined")).await;
                let violations = browser.eval(AXE).await;
                assert_eq!(violations, Value::Array(Vec::new()), "{path} at {width}, {scheme}: {violations:#}");
            }
        }
    }
}

/// The checks find what they are for.
#[tokio::test]
async fn the_checks_find_faults() {
    let (service, _) = service_with_a_dead_letter(&[]).await;
    let Some(mut browser) = Browser::start().await else { return };
    for (spoil, expected) in [
        ("document.querySelector('label').remove()", "no name"),
        ("document.querySelector('h1').remove()", "not one h1"),
        ("document.querySelector('main').innerHTML += '<h3>x</h3>'; document.querySelector('h2')?.remove()", "a level"),
        ("document.querySelector('h1').style.color = '#ccc'; document.body.style.background = '#fff'", "contrast"),
        ("document.querySelector('th').removeAttribute('scope')", "no scope"),
    ] {
        browser.open(&url(&service, "/dead-letters")).await;
        browser.eval(&format!("{spoil}; undefined")).await;
        let wrong = browser.eval(CHECKS).await.to_string();
        assert!(wrong.contains(expected), "{spoil}: {wrong}");
    }
}
