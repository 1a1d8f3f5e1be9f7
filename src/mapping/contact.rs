//! Contact: phone, company and PayPal address → Refersion's fields.
//!
//! In: traits. Out: `phone`, `company` and `paypal_email` in a profile, and notes on values that were left out. The PayPal address counts
//! only if the operator permits it: commissions are paid to it, and a browser may send any trait.

use super::{Note, email, note, text};
use crate::domain::{Email, EmailError, Field, Profile};
use crate::segment::Traits;

/// Sets `phone`, `company` and `paypal_email` of `profile`.
pub(super) fn read(traits: &Traits<'_>, with_paypal_email: bool, profile: &mut Profile, notes: &mut Vec<Note>) {
    let company = traits.find("company.name", text::first).or_else(|| traits.find("company", text::first));
    if company.is_none() && traits.non_empty("company").is_some_and(|value| !value.is_string() && !value.is_object()) {
        notes.push(note("company", "neither a text nor an object with `name`, so it was left out"));
    }
    profile.set(Field::Company, company.unwrap_or_default());
    let phone = traits.first_text("phone").or_else(|| traits.first_text("phones"));
    if phone.is_none() && traits.non_empty("phone").is_some_and(|value| !value.is_string()) {
        notes.push(note("phone", "neither a text nor a number, so it was left out"));
    }
    profile.set(Field::Phone, phone.unwrap_or_default());
    match email::at_path(traits, "paypalemail") {
        Ok(Some(_)) if !with_paypal_email => {
            notes.push(note("paypal_email", "left out, since the setting `paypal_email` is not true"));
        }
        Ok(email) => profile.set(Field::PaypalEmail, email.as_ref().map(Email::as_str).unwrap_or_default()),
        Err(EmailError) => notes.push(note("paypal_email", "not an e-mail address, so it was left out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::RawJson;

    #[test]
    fn phone_company_and_paypal_address_are_sent_when_present() {
        for (traits, expected) in [
            (r#"{"phone":"+1 555","phones":["2"]}"#, "phone=+1 555"),
            (r#"{"phone":"","phones":[null,5550100]}"#, "phone=5550100"),
            (r#"{"company":{"name":"Initech"}}"#, "company=Initech"),
            (r#"{"company":"Initech"}"#, "company=Initech"),
            (r#"{"company":{"name":"Tom &amp; Co"}}"#, "company=Tom & Co"),
            (r#"{"company":{"id":"6789"}}"#, ""),
            (r#"{"company":["Initech","Other"],"phone":["",5550100]}"#, "company=Initech|phone=5550100"),
            (r#"{"company":true,"phone":{"number":"1"}}"#, "note on company|note on phone"),
            (r#"{"company":[{}],"phone":false,"phones":["2"]}"#, "phone=2|note on company"),
            (r#"{"company":null,"phone":"<nil>"}"#, ""),
            (r#"{"paypal_email":" p@x.io "}"#, "paypal_email=p@x.io"),
            (r#"{"payPalEmail":"p@x.io"}"#, "paypal_email=p@x.io"),
            (r#"{"paypal_email":"junk"}"#, "note on paypal_email"),
            (r#"{"paypal_email":null}"#, ""),
        ] {
            let (mut profile, mut notes) = (Profile::default(), Vec::new());
            read(
                &RawJson::parse(traits).expect("JSON").as_object().expect("an object").into(),
                true,
                &mut profile,
                &mut notes,
            );
            let mut found: Vec<_> = profile.iter().map(|(attribute, value)| format!("{attribute}={value}")).collect();
            found.extend(notes.into_iter().map(|note| format!("note on {}", note.about)));
            assert_eq!(found.join("|"), expected, "{traits}");
        }
    }

    #[test]
    fn a_paypal_address_is_left_out_unless_the_operator_wants_it() {
        let (mut profile, mut notes) = (Profile::default(), Vec::new());
        let traits =
            RawJson::parse(r#"{"paypalEmail":"p@x.io"}"#).expect("JSON").as_object().expect("an object").into();
        read(&traits, false, &mut profile, &mut notes);
        assert!(profile.is_empty());
        assert_eq!(notes[0].about, "paypal_email");
    }
}
