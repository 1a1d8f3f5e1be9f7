//! Runs a script against [`step`], with a store that keeps what a worker would save.

use super::scenario::{Scenario, hash};
use super::text;
use refersion_destination::delivery::{
    AffiliateRecord, Call, Memory, PlanInput, PlanState, Progress, RecalledAffiliate, Reply, Step, on_recalled, step,
};
use refersion_destination::domain::{AffiliateCode, Profile};
use refersion_destination::mapping::{Identify, Intent};
use std::fmt;

/// When the process restarts; afterwards it knows only what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    Never,
    AfterEachStep,
}

/// The result of a script; prints as `calls → verdict | memory`.
#[derive(Clone, Debug)]
pub struct ScriptRun {
    pub calls: Vec<String>,
    pub verdict: Step,
    pub store: Store,
}

/// What is on disk.
#[derive(Clone, Debug)]
pub struct Store {
    pub memory: Memory,
    pub progress: Progress,
    pub forgotten: Vec<AffiliateCode>,
    /// What the event wants and Refersion was not sent.
    owing: Profile,
}

/// Runs with `replies`, separated by `, `, and fails if one of them is left over or missing.
pub fn run_script(scenario: &Scenario, replies: &str, restarts: Restarts) -> ScriptRun {
    let mut replies = replies.split(", ").filter(|text| !text.is_empty());
    let run = run_with(scenario, restarts, |_| replies.next().map(text::reply));
    assert_eq!(replies.next(), None, "a reply that no call asked for, after {run}");
    run
}

/// Runs with what `answer` replies to each call, until the verdict or until it has no reply.
pub fn run_with(scenario: &Scenario, restarts: Restarts, mut answer: impl FnMut(&Call) -> Option<Reply>) -> ScriptRun {
    let hash = hash();
    let custom_fields = ["77".to_owned()];
    let input = PlanInput {
        intent: &scenario.intent,
        policy: scenario.policy,
        hash: &hash,
        custom_fields: &custom_fields,
        events: 1,
    };
    let mut store = Store::new(scenario);
    let Scenario { intent, policy, .. } = scenario;
    let (memory, progress) = (store.memory.clone(), store.progress.clone());
    let mut state = if scenario.interrupted {
        PlanState::after_interruption(intent, *policy, &hash, memory, progress)
    } else {
        PlanState::new(intent, *policy, memory, progress)
    };
    let (mut calls, mut heard) = (Vec::new(), None);
    loop {
        let step = step(&input, &mut state, heard.as_ref().map(|(call, reply): &(Call, Reply)| (call, reply.clone())));
        store.write(scenario, &state);
        if let Step::Recall(code) = &step {
            on_recalled(&input, &mut state, store.recall(scenario, code));
            heard = None;
            continue;
        }
        let Step::Next(call) = &step else { return ScriptRun { calls, verdict: step, store } };
        let Some(reply) = answer(call) else { return ScriptRun { calls, verdict: step, store } };
        calls.push(text::call(call));
        if restarts == Restarts::AfterEachStep {
            state = PlanState::new(intent, *policy, store.memory.clone(), store.progress.clone());
        }
        heard = Some((call.clone(), reply));
    }
}

impl Store {
    fn new(scenario: &Scenario) -> Self {
        let Scenario { memory, progress, .. } = scenario.clone();
        Self { memory, progress, forgotten: Vec::new(), owing: Profile::default() }
    }

    /// What is remembered of an affiliate that a search found.
    fn recall(&self, scenario: &Scenario, code: &AffiliateCode) -> Option<RecalledAffiliate> {
        let Memory { by_user_id, by_email, .. } = &self.memory;
        let own = [by_user_id, by_email].into_iter().flatten().find(|known| known.code == *code);
        let own = own.map(|known| RecalledAffiliate { known: known.clone(), has_other_owner: false });
        own.or_else(|| scenario.recalled.clone().filter(|recalled| recalled.known.code == *code))
    }

    /// Saves what the worker would, and reads it back from JSON.
    fn write(&mut self, scenario: &Scenario, state: &PlanState) {
        let json = serde_json::to_string(&state.progress).expect("serialises");
        self.progress = serde_json::from_str(&json).expect("reads back");
        let Memory { by_user_id, by_email, .. } = &mut self.memory;
        for code in &state.forgotten {
            for known in [&mut *by_user_id, &mut *by_email] {
                known.take_if(|known| known.code == *code);
            }
            if !self.forgotten.contains(code) {
                self.forgotten.push(code.clone());
            }
        }
        self.owing = Profile::default();
        if let (Intent::Identify(wanted), Some(known)) = (&scenario.intent, &state.known) {
            self.owing = wanted.facts.newer(&known.sent).changes(&hash(), &known.sent).profile();
            if wanted.user.user_id.is_some() {
                by_user_id.clone_from(&state.known);
            }
            if has_email(wanted, known) || by_email.as_ref().is_some_and(|before| before.code == known.code) {
                by_email.clone_from(&state.known);
            }
        }
    }
}

fn has_email(wanted: &Identify, known: &AffiliateRecord) -> bool {
    wanted.user.email.as_ref().is_some_and(|email| known.has_email(&hash(), email))
}

impl fmt::Display for ScriptRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls.join(", ");
        write!(f, "{calls}{}→ {}", if calls.is_empty() { "" } else { " " }, text::verdict(&self.verdict))?;
        let Memory { by_user_id, by_email, .. } = &self.store.memory;
        let user_id = by_user_id.as_ref().map(text::affiliate);
        let email = by_email.as_ref().map(text::affiliate);
        let mut notes = match (user_id, email) {
            (None, None) => Vec::new(),
            (Some(user_id), Some(email)) if user_id == email => vec![user_id],
            (user_id, email) => {
                let user_id = user_id.map(|name| format!("{name} by userId"));
                user_id.into_iter().chain(email.map(|name| format!("{name} by email"))).collect()
            }
        };
        notes.extend((!self.store.owing.is_empty()).then(|| format!("owing {}", text::names(&self.store.owing))));
        notes.extend(self.store.forgotten.iter().map(|code| format!("forgot {code}")));
        if notes.is_empty() { Ok(()) } else { write!(f, " | {}", notes.join(", ")) }
    }
}
