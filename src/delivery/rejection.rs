//! Rejected values: a `new` or an `edit` of which Refersion rejected a value is repeated without that value.
//!
//! In: the values that were sent, and Refersion's message, which is in English and at best names the field. Out: a changed state, which
//! determines the next call, or the end of the delivery. Invariants: an identify never leaves out a field that `new` requires, nor one that
//! only `new` takes and that cannot be at fault; a call is repeated at most twice; coalesced events are tried one by one.

use super::outcome::{PermanentFailure, Step};
use super::{Call, Done, PlanInput, PlanState, Progress, RejectedValues, Rejection, Stage};
use crate::domain::{Attribute, Field, Profile};

/// The most repeats of a call without rejected values.
const MAX_REPETITIONS: u32 = 2;

/// Refersion rejected values of `call`. If those that seem to be at fault can be left out, another call is made without them. If not, the
/// delivery ends. Coalesced events are tried one by one.
pub(super) fn on_rejected(input: &PlanInput<'_>, state: &mut PlanState, call: &Call, words: String) -> Option<Step> {
    let is_left_out = input.events == 1
        && match call {
            Call::New(new) => leave_out_of_new(&mut state.progress, &new.profile, &words),
            Call::Edit { changes, .. } => leave_out_of_edit(&mut state.progress, changes, &words),
            Call::Search { .. } | Call::Get(_) | Call::SetStatus { .. } => false,
        };
    (!is_left_out).then(|| Step::rejected(call, words))
}

/// The affiliate is created with the required values and those that only `new` takes, and gets the rest by an `edit`, without the values
/// that seem to be at fault. If Refersion names none, those that only `new` takes may be at fault, too. Returns false if none can be.
fn leave_out_of_new(progress: &mut Progress, sent: &Profile, words: &str) -> bool {
    let (rejected, at_fault) = (&mut progress.rejected_values, attributes_at_fault(sent, words));
    if at_fault.attributes.is_empty() {
        return false;
    }
    (rejected.required_only, rejected.rejections) = (true, 1);
    add(rejected, &at_fault);
    if !at_fault.is_named {
        let only_new = sent.iter().filter(|(attribute, _)| is_only_new(attribute) && !rejected.excludes(attribute));
        let names: Vec<_> = only_new.map(|(attribute, _)| attribute.to_string()).collect();
        rejected.dropped.extend(names);
    }
    true
}

/// The `edit` is repeated without the values that seem to be at fault. After the last repeat, an affiliate that was created stays without the
/// other values until another event states them. Returns false if none can be at fault, or if this was the last repeat and the affiliate
/// existed before.
fn leave_out_of_edit(progress: &mut Progress, sent: &Profile, words: &str) -> bool {
    let (rejected, is_created) = (&mut progress.rejected_values, progress.done == Done::Created);
    rejected.rejections += 1;
    let is_last = rejected.rejections > MAX_REPETITIONS || is_created && rejected.required_only;
    let at_fault = attributes_at_fault(sent, words);
    if is_last && !is_created || !is_last && at_fault.attributes.is_empty() {
        return false;
    }
    add(rejected, &at_fault);
    if is_last {
        let others = sent.iter().filter(|(attribute, _)| !at_fault.attributes.contains(attribute));
        rejected.dropped.extend(others.map(|(attribute, _)| attribute.to_string()));
    }
    progress.stage = Stage::Start;
    true
}

/// Another affiliate has the new e-mail. All other values are sent, and this e-mail is not sent again.
pub(super) fn on_email_taken(input: &PlanInput<'_>, state: &mut PlanState, changes: &Profile) -> Option<Step> {
    let (1, Some(known), Some(email)) = (input.events, &mut state.known, changes.get(Field::Email)) else {
        return Some(Step::Dead(PermanentFailure::EmailTaken));
    };
    known.sent.record_taken_email(input.hash, email);
    state.progress.rejected_values.email_taken = true;
    state.progress.stage = Stage::Start;
    None
}

/// Refersion rejected placeholders of an anonymizing delete. They are sent again without those that Refersion named, else without those of
/// fields that may have a format, else without those of custom fields, else without the e-mail. After the last repeat none is sent, and the
/// affiliate is disabled nevertheless.
pub(super) fn on_placeholders(rejected: &mut RejectedValues, sent: &Profile, rejection: &Rejection) {
    rejected.rejections += 1;
    let names = |is_at_fault: &dyn Fn(&Attribute) -> bool| -> Vec<String> {
        let at_fault = sent.iter().filter(|(attribute, _)| is_at_fault(attribute));
        at_fault.map(|(attribute, _)| attribute.to_string()).collect()
    };
    let by_name = names(&|attribute| match rejection {
        Rejection::EmailTaken => *attribute == Field::Email.into(),
        Rejection::Other(words) => is_named(attribute, words),
    });
    let formatted =
        names(&|attribute| matches!(attribute, Attribute::Field(Field::PaypalEmail | Field::Zip | Field::Phone)));
    let custom = names(&|attribute| matches!(attribute, Attribute::Custom(_)));
    let email = names(&|attribute| *attribute == Field::Email.into());
    let is_last = rejected.rejections > MAX_REPETITIONS;
    let some = [by_name, formatted, custom, email].into_iter().find(|names| !names.is_empty() && !is_last);
    rejected.dropped.extend(some.unwrap_or_else(|| names(&|_| true)));
}

/// Adds the attributes that are left out now. An earlier guess was wrong, because the call was rejected without it, too.
fn add(rejected: &mut RejectedValues, at_fault: &AtFault) {
    let earlier = std::mem::take(&mut rejected.guessed);
    rejected.dropped.extend(earlier);
    let names = at_fault.attributes.iter().map(ToString::to_string);
    if at_fault.is_named { rejected.named.extend(names) } else { rejected.guessed.extend(names) }
}

/// The attributes that seem to be at fault.
struct AtFault {
    attributes: Vec<Attribute>,
    /// Whether Refersion named them. If not, they are a guess.
    is_named: bool,
}

/// Parts of messages that are not about a value that was sent. Source: Refersion's API contract.
const NO_VALUE_IS_AT_FAULT: [&str; 2] = ["plan does not support", "Missing required field"];

/// The attributes to leave out: the ones that `words` name; else the ones to be cleared; else the longest value. Empty if no optional
/// attribute can be at fault.
fn attributes_at_fault(sent: &Profile, words: &str) -> AtFault {
    let guess = |attributes| AtFault { attributes, is_named: false };
    if NO_VALUE_IS_AT_FAULT.iter().any(|part| words.contains(part)) {
        return guess(Vec::new());
    }
    let named = |attribute: &Attribute| is_named(attribute, words);
    let (optional, required): (Vec<_>, Vec<_>) = sent.iter().partition(|(attribute, _)| is_optional(attribute));
    let all = |keep: &dyn Fn(&Attribute, &str) -> bool| -> Vec<Attribute> {
        let kept = optional.iter().filter(|(attribute, value)| keep(attribute, value));
        kept.map(|(attribute, _)| (*attribute).clone()).collect()
    };
    let by_name = all(&|attribute, _| named(attribute));
    if !by_name.is_empty() || required.iter().any(|(attribute, _)| named(attribute)) {
        return AtFault { attributes: by_name, is_named: true };
    }
    let cleared = all(&|_, value| value.is_empty());
    if !cleared.is_empty() {
        return guess(cleared);
    }
    let longest = optional.iter().max_by_key(|(_, value)| value.chars().count());
    guess(longest.map(|(attribute, _)| (*attribute).clone()).into_iter().collect())
}

/// Whether `words` name the attribute, in any case: "Offer does not exists on the database."
fn is_named(attribute: &Attribute, words: &str) -> bool {
    words
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| word.eq_ignore_ascii_case(wire_name(attribute)))
}

/// Whether an affiliate can be created without it.
pub(super) fn is_optional(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Field(field) => !field.spec().required,
        Attribute::Custom(_) => true,
    }
}

/// Whether `new` takes it and `edit` does not.
pub(super) fn is_only_new(attribute: &Attribute) -> bool {
    matches!(attribute, Attribute::Field(field) if !field.is_editable())
}

fn wire_name(attribute: &Attribute) -> &str {
    match attribute {
        Attribute::Field(field) => field.as_str(),
        Attribute::Custom(id) => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_values_are_left_out_else_the_cleared_ones_else_the_longest() {
        for (words, sent, expected) in [
            ("X is not a allowed value for field state", "first_name=Ann state=Bay company=Long-name", "state"),
            ("Invalid field 77", "77=yes company=Acme", "custom field 77"),
            ("Value exceed the char limit", "first_name=Annnnnnnnnn company=Acme city=Rome-on-Tiber", "city"),
            ("Value exceed the char limit", "address2= state= company=Acme", "address2 state"),
            ("x is not a allowed value for field first_name", "first_name=Ann company=Acme", ""),
            ("Value exceed the char limit", "first_name=Ann email=a@x.io", ""),
            ("Your account plan does not support this feature (error 1).", "first_name=Ann company=Acme", ""),
            ("estate", "state=CA zip=94103", "zip"),
            ("Bad request, no body; Offer does not exists on the database.", "offer=9 company=Acme", "offer"),
        ] {
            let mut profile = Profile::default();
            for (name, value) in sent.split(' ').filter_map(|pair| pair.split_once('=')) {
                let field = Field::ALL.iter().find(|field| field.as_str() == name);
                profile.set_or_clear(field.map_or(Attribute::Custom(name.to_owned()), |field| (*field).into()), value);
            }
            let names: Vec<_> =
                attributes_at_fault(&profile, words).attributes.iter().map(ToString::to_string).collect();
            assert_eq!(names.join(" "), expected, "{words}: {sent}");
        }
    }

    #[test]
    fn the_named_placeholders_are_left_out_else_those_with_a_format_else_custom_fields_else_the_email() {
        let sent = |custom: &[&str]| -> Profile {
            let fields =
                [Field::FirstName, Field::Email, Field::PaypalEmail, Field::Zip].map(|field| (field.into(), "-"));
            fields.into_iter().chain(custom.iter().map(|id| (Attribute::Custom((*id).to_owned()), "-"))).collect()
        };
        for (words, custom, expected) in [
            (["no", "no", "no"], &["77"][..], ["paypal_email zip", "custom field 77", "first_name email"]),
            (["no", "no", "no"], &[], ["paypal_email zip", "email", "first_name"]),
            (
                ["field first_name", "no", "field email"],
                &["77"],
                ["first_name", "paypal_email zip", "email custom field 77"],
            ),
        ] {
            let (mut rejected, mut left) = (RejectedValues::default(), sent(custom));
            for (words, expected) in words.into_iter().zip(expected) {
                let before = rejected.dropped.len();
                on_placeholders(&mut rejected, &left, &Rejection::Other(words.into()));
                assert_eq!(rejected.dropped[before..].join(" "), expected, "{words}: {custom:?}");
                left = left.filtered(|attribute, _| !rejected.excludes(attribute));
            }
            assert!(left.is_empty(), "after the last repeat none is sent");
        }
    }
}
