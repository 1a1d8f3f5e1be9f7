//! The pages that a merchant sees while they connect a source.
//!
//! In: the result to show. Out: an HTML document without scripts. Invariants: `maud` escapes every value; the policy in [`super::answer`]
//! forbids everything except the style, by its hash; no page shows a key, a code or an error text of Segment. Each page has one heading,
//! labels for its fields, and a title with the result; a problem is announced (`role=alert`) and connected with its field.

use super::ApiKeyProblem;
use crate::connect::ConnectFailure;
use crate::segment_api::{Connected, SourceName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("page.css");

/// The hash of the style, as a content security policy names it.
pub(super) static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE.as_bytes()))));

/// The form for the Refersion key.
pub(super) fn api_key_form(action: &str, state: &str, problem: Option<ApiKeyProblem>) -> Markup {
    let content = html! {
        h1 { "Connect Segment with Refersion" }
        p { "Your users become affiliates at Refersion, and stay up to date: Segment sends their " strong { "identify" } " and "
            strong { "delete" } " events, and this service carries them out." }
        ol {
            li { "Enter your Refersion API key here. It is checked with Refersion." }
            li { "At Segment, choose your workspace and one source, and allow the access. You need to be an owner of the workspace." }
            li { "Segment sends you back here, and the source is connected. You can then connect another." }
        }
        @if let Some(problem) = problem {
            p.problem #problem role="alert" { (text(problem)) }
        }
        form method="post" action=(action) {
            input type="hidden" name="state" value=(state);
            label for="api_key" { "Refersion API key" }
            p.soft #hint { "Your public key and your secret key, joined by a dot: " code { "publickey.secretkey" } ". You find both in "
                "Refersion under Account › Settings › Refersion API." }
            input #api_key type="password" name="api_key" required autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="512"
                aria-describedby=(if problem.is_some() { "hint problem" } else { "hint" }) aria-invalid=[problem.map(|_| "true")];
            button type="submit" { "Continue to Segment" }
        }
        p.soft { "The key goes to Refersion to be checked, and to Segment, which sends it with each event. Your browser keeps it encrypted "
            "for ten minutes." }
    };
    let title = if problem.is_some() { "Check the key" } else { "Connect Segment with Refersion" };
    document(title, content)
}

fn text(problem: ApiKeyProblem) -> &'static str {
    match problem {
        ApiKeyProblem::Malformed => {
            "This is not a key pair: enter the public key, a dot, and the secret key, without blanks."
        }
        ApiKeyProblem::Rejected => {
            "Refersion does not accept this key. Copy both keys from Refersion again; after several tries, wait a minute."
        }
        ApiKeyProblem::Unverified => {
            "Refersion did not answer in time, so the key could not be checked. Try again in a minute."
        }
        ApiKeyProblem::NotServed => {
            "Refersion accepts this key, but this service works for other Refersion accounts. Ask its operator to add yours."
        }
    }
}

/// The page after a source was connected.
pub(super) fn connected(source: &SourceName, connected: Connected, again: &str, state: &str) -> Markup {
    let what = match connected {
        Connected::Created => "The destination Refersion was added to this source, and is switched on.",
        Connected::Updated => {
            "The source had the destination Refersion before: it has your key now, and is switched on."
        }
        Connected::Either => "The destination Refersion of this source has your key, and is switched on.",
    };
    let (workspace, source) = source.slugs();
    let content = html! {
        h1.good { "Your source is connected" }
        p role="status" { (what) }
        dl {
            dt { "Workspace" } dd { (workspace) }
            dt { "Source" } dd { (source) }
        }
        p { "From now on, each user that this source identifies becomes an affiliate or is kept up to date. In Segment, the "
            strong { "Event Tester" } " of the destination shows what becomes of an event." }
        form method="post" action=(again) {
            input type="hidden" name="state" value=(state);
            button type="submit" { "Connect another source" }
        }
        p.soft { "Without entering your key again, within ten minutes. Otherwise you can close this page." }
    };
    document("Your source is connected", content)
}

/// The page of a failure. With a `state`, it offers another try with the key that was entered.
pub(super) fn failure(failure: ConnectFailure, start: &str, again: &str, state: Option<&str>) -> Markup {
    let content = html! {
        h1.bad { (failure.title()) }
        div role="alert" {
            @for paragraph in failure.paragraphs() { p { (paragraph) } }
        }
        @if let Some(state) = state.filter(|_| failure.can_try_again()) {
            form method="post" action=(again) {
                input type="hidden" name="state" value=(state);
                button type="submit" { "Try again" }
            }
            p { a href=(start) { "Begin again with another key" } }
        } @else {
            a.button href=(start) { "Begin again" }
        }
    };
    document(failure.title(), content)
}

fn document(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Refersion" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    }
}
