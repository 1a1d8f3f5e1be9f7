//! What to leave out of a call whose values Refersion rejected, so that one refused value does not cost the others.
//!
//! In: what was sent, and Refersion's words, which are English and name the field at best. Out: the attributes to leave out.
//! Invariant: a field without which no affiliate can be created is never left out. Deliberately absent: how often a call is
//! repeated ([`super::identify`]).

use crate::domain::{Attribute, Profile};

/// Parts of messages that blame no value that was sent. Source: Refersion's API contract.
const NO_VALUE_IS_AT_FAULT: [&str; 2] = ["plan does not support", "Missing required field"];

/// The attributes to leave out: those that `words` name; else those that were to be cleared; else the longest value. Empty if no
/// optional attribute can be at fault.
pub(super) fn leave_out(sent: &Profile, words: &str) -> Vec<Attribute> {
    if NO_VALUE_IS_AT_FAULT.iter().any(|part| words.contains(part)) {
        return Vec::new();
    }
    let named = |attribute: &Attribute| {
        words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == wire_name(attribute))
    };
    let (optional, required): (Vec<_>, Vec<_>) = sent.iter().partition(|(attribute, _)| is_optional(attribute));
    let all = |keep: &dyn Fn(&Attribute, &str) -> bool| -> Vec<Attribute> {
        let kept = optional.iter().filter(|(attribute, value)| keep(attribute, value));
        kept.map(|(attribute, _)| (*attribute).clone()).collect()
    };
    let by_name = all(&|attribute, _| named(attribute));
    if !by_name.is_empty() || required.iter().any(|(attribute, _)| named(attribute)) {
        return by_name;
    }
    let cleared = all(&|_, value| value.is_empty());
    if !cleared.is_empty() {
        return cleared;
    }
    let longest = optional.iter().max_by_key(|(_, value)| value.chars().count());
    longest.map(|(attribute, _)| (*attribute).clone()).into_iter().collect()
}

/// Whether an affiliate can be created without it.
pub(super) fn is_optional(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Field(field) => !field.spec().required,
        Attribute::Custom(_) => true,
    }
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
    use crate::domain::Field;

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
        ] {
            let mut profile = Profile::default();
            for (name, value) in sent.split(' ').filter_map(|pair| pair.split_once('=')) {
                let field = Field::ALL.iter().find(|field| field.as_str() == name);
                profile.set_or_clear(field.map_or(Attribute::Custom(name.to_owned()), |field| (*field).into()), value);
            }
            let names: Vec<_> = leave_out(&profile, words).iter().map(ToString::to_string).collect();
            assert_eq!(names.join(" "), expected, "{words}: {sent}");
        }
    }
}
