//! JSON generated from decisions: mostly events that look like Segment's, in many spellings.
//!
//! A [`Json`] keeps members in order, repeated keys included, and can be written in many ways that mean the same. Invariant:
//! a text of an event that is not one of Refersion's, Segment's or a rule's words holds [`MARK`], so that a test finds every
//! message that repeats it.

use super::source::Source;
use std::fmt::Write;

/// Part of every personal text: no message may hold it.
pub const MARK: &str = "zq9";

/// A JSON value.
#[derive(Clone, Debug)]
pub enum Json {
    /// `null`, `true`, `false`, or a number as it is written.
    Word(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Members(Vec<(String, Json)>),
}

/// Names of traits, in several spellings.
const KEYS: [&str; 46] = [
    "email",
    "Email",
    "name",
    "firstName",
    "First Name",
    "last_name",
    "lastName",
    "address",
    "street",
    "city",
    "state",
    "zip",
    "postalCode",
    "country",
    "phone",
    "phones",
    "company",
    "paypal_email",
    "address.city",
    "address.country",
    "vip",
    "VIP",
    "revenue",
    "partner",
    "",
    "é",
    "userId",
    "a.b",
    "Country",
    "NAME",
    "address.street",
    "traits",
    "company.name",
    "first_name",
    "given_name",
    "fullName",
    "address1",
    "address2",
    "province_code",
    "region",
    "country_code",
    "default_address",
    "billing_address",
    "address_city",
    "zipCode",
    "paypalEmail",
];

const TEXTS: [&str; 45] = [
    "Zq9@x.io",
    "Zq9 a",
    "Zq9",
    " Zq9  b ",
    "Zq9\u{0}@x.io",
    "Zq9\r\n\tb",
    "\u{feff}zq9@X.io\u{0}",
    "Zq9@x",
    "Zq9@@x.io",
    "Zq9 <zq9@x.io>",
    "USA",
    "uk",
    "Deutschland",
    "Kenya",
    "KE",
    "Ontario",
    "ca",
    "us-CA",
    "New South Wales",
    "true",
    "FALSE",
    "",
    " ",
    "\u{a0}",
    "é",
    "-",
    "Zq9\u{202e}b",
    "👍",
    "1",
    "Georgia",
    "ÅLAND",
    "İ",
    "Zq9\u{2028}c",
    "Türkiye",
    "AE",
    "zq9.Zq9@münchen.de",
    "Zq9 ß",
    "X",
    "XYZ",
    "94103",
    "yes",
    "Zq9 &amp; &#10;b",
    "<nil>",
    r#"[{"city":"Zq9","country":"DE"}]"#,
    "undefined",
];

const NUMBERS: [&str; 12] = [
    "0",
    "94103",
    "450.0",
    "-1.5e3",
    "1e400",
    "5e-1",
    "12345678901234567890123",
    "-0.0",
    "1E+2",
    "7",
    "1e21",
    "0.1e-99",
];

/// A text: often one that means something.
fn text(source: &mut Source<'_>) -> String {
    if source.below(4) == 3 { format!("Zq9{}", source.text()) } else { source.pick(&TEXTS).to_owned() }
}

/// Any value, nested at most `depth` deep.
pub fn anything(source: &mut Source<'_>, depth: usize) -> Json {
    match source.below(if depth == 0 { 6 } else { 8 }) {
        0..=2 => Json::Text(text(source)),
        3 => Json::Word(source.pick(&NUMBERS).to_owned()),
        4 => Json::Word(source.pick(&["true", "false"]).to_owned()),
        5 => Json::Word("null".to_owned()),
        6 => Json::List((0..source.below(4)).map(|_| anything(source, depth - 1)).collect()),
        _ => traits(source, depth - 1),
    }
}

/// An object with keys that mean something, some of them twice.
fn traits(source: &mut Source<'_>, depth: usize) -> Json {
    let count = source.below(8);
    Json::Members((0..count).map(|_| (source.pick(&KEYS).to_owned(), anything(source, depth))).collect())
}

/// An event whose outermost keys are all different; often one that creates an affiliate.
pub fn event(source: &mut Source<'_>) -> Json {
    let kinds =
        ["identify", "identify", "identify", "Delete", "delete", "track", "", "Zq9@x.io", "a long unheard-of type"];
    let mut members = vec![("type".to_owned(), Json::Text(source.pick(&kinds).to_owned()))];
    let mut own_traits = traits(source, 2);
    if let (Json::Members(own_traits), true) = (&mut own_traits, source.below(3) > 0) {
        own_traits.push(("email".to_owned(), Json::Text("Zq9@x.io".to_owned())));
        own_traits.push(("name".to_owned(), Json::Text("Zq9 a b".to_owned())));
    }
    let ids = ["m1", "", "m-2"].map(|id| Json::Text(id.to_owned()));
    let context = |source: &mut Source<'_>| {
        let mut members = vec![("traits".to_owned(), traits(source, 1))];
        if source.flag() {
            members.push(("personas".to_owned(), anything(source, 1)));
        }
        Json::Members(members)
    };
    for _ in 0..source.below(6) {
        let (key, value) = match source.below(7) {
            0 => ("userId", anything(source, 0)),
            1 => ("email", anything(source, 1)),
            2 => ("context", context(source)),
            3 => ("messageId", source.pick(&ids)),
            4 => ("integrations", anything(source, 1)),
            5 => ("action", Json::Text("identify".to_owned())),
            _ => ("timestamp", anything(source, 0)),
        };
        if !members.iter().any(|(other, _)| other == key) {
            members.push((key.to_owned(), value));
        }
    }
    let place = source.below(members.len() + 1);
    members.insert(place, ("traits".to_owned(), if source.below(8) == 7 { anything(source, 1) } else { own_traits }));
    Json::Members(members)
}

impl Json {
    /// The shortest spelling.
    pub fn plain(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, &mut Source::new(&[]));
        text
    }

    /// A spelling with blanks and escapes where `source` wants them.
    pub fn respelled(&self, source: &mut Source<'_>) -> String {
        let mut text = String::new();
        self.write(&mut text, source);
        text
    }

    fn write(&self, out: &mut String, source: &mut Source<'_>) {
        match self {
            Self::Word(word) => out.push_str(word),
            Self::Text(text) => spell(text, out, source),
            Self::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    blank(out, source);
                    item.write(out, source);
                    blank(out, source);
                }
                out.push(']');
            }
            Self::Members(members) => {
                out.push('{');
                for (place, (key, value)) in members.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    blank(out, source);
                    spell(key, out, source);
                    blank(out, source);
                    out.push(':');
                    blank(out, source);
                    value.write(out, source);
                    blank(out, source);
                }
                out.push('}');
            }
        }
    }

    /// The members of an object.
    pub fn members(&self) -> &[(String, Json)] {
        if let Self::Members(members) = self { members } else { &[] }
    }

    /// The same, with the members of the object at `key` changed; of a repeated key, all of them.
    pub fn with(&self, key: &str, change: impl Fn(&mut Vec<(String, Json)>)) -> Self {
        let mut changed = self.clone();
        if let Self::Members(members) = &mut changed {
            for (_, value) in members.iter_mut().filter(|(name, _)| name == key) {
                if let Self::Members(inner) = value {
                    change(inner);
                }
            }
        }
        changed
    }
}

fn blank(out: &mut String, source: &mut Source<'_>) {
    out.push_str(source.pick(&["", "", "", " ", "\n", "\t ", "\r\n"]));
}

fn spell(text: &str, out: &mut String, source: &mut Source<'_>) {
    let escape = |out: &mut String, c: char| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Err: a `String` takes all that is written.
            let _ = write!(out, "\\u{unit:04x}");
        }
    };
    let all = source.below(4) == 3;
    out.push('"');
    for c in text.chars() {
        match c {
            _ if all || c.is_control() => escape(out, c),
            '"' | '\\' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out.push('"');
}
