//! Parts: a walk through an array or an object that is known to be JSON, value by value.
//!
//! In goes the source text, out come the source texts of the elements, or of the keys and values in turn. Nothing is checked
//! and nothing decoded: only quotes, backslashes and brackets count. Invariant: a text that is no JSON gives wrong parts, but
//! no panic.
//! Deliberately absent: recursion, which deep nesting would turn into stack.

/// What is left to walk, up to the bracket that closes it and whatever follows.
#[derive(Default)]
pub(super) struct Parts<'a>(&'a str);

impl<'a> Parts<'a> {
    /// The parts of `json`, an array or an object.
    pub(super) fn of(json: &'a str) -> Self {
        Self(json.get(1..).unwrap_or_default())
    }

    /// Steps into the next part if that is an object; else passes it over. So nothing is looked at twice, once to see where
    /// it ends and once to read it.
    pub(super) fn enter(&mut self) -> bool {
        let start = self.0.bytes().position(|b| !is_between(b)).unwrap_or(self.0.len());
        if let Some(inside) = self.0[start..].strip_prefix('{') {
            self.0 = inside;
            return true;
        }
        self.next();
        false
    }

    /// Steps out of what was [entered](Self::enter), and passes over what is left of it.
    pub(super) fn leave(&mut self) {
        self.by_ref().for_each(drop);
        self.0 = self.0.get(1..).unwrap_or_default();
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.0.bytes().position(|b| !is_between(b))?;
        self.0 = &self.0[start..];
        if self.0.starts_with([']', '}']) {
            return None;
        }
        let (part, rest) = self.0.split_at(length(self.0.as_bytes()));
        self.0 = rest;
        Some(part)
    }
}

/// Between two values there can only be blanks and one comma or colon.
fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')
}

/// The length of the value that `json` starts with.
fn length(json: &[u8]) -> usize {
    match json.first() {
        Some(b'"') => string(json),
        Some(b'[' | b'{') => nested(json),
        _ => json.iter().position(|b| is_between(*b) || matches!(b, b']' | b'}')).unwrap_or(json.len()),
    }
}

/// The length of the string that `json` starts with, quotes included.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(rest) = json.get(at..) {
        at += plain(rest);
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(_) => return at + 1,
            None => break,
        }
    }
    json.len()
}

/// How many bytes come before the first quote or backslash. Looks at eight at once: most of a body is strings.
pub(super) fn plain(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(rest.len())
}

/// The highest bit of the first byte of `word` that equals `byte`, and of some bytes behind it; 0 if there is none.
fn equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let zero_where_equal = word ^ (ONES * u64::from(byte));
    zero_where_equal.wrapping_sub(ONES) & !zero_where_equal & (ONES << 7)
}

/// The length of the array or object that `json` starts with, brackets included.
fn nested(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at += string(&json[at..]),
            b'[' | b'{' => (at, depth) = (at + 1, depth + 1),
            b']' | b'}' if depth == 1 => return at + 1,
            b']' | b'}' => (at, depth) = (at + 1, depth - 1),
            _ => at += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    #[test]
    fn an_array_falls_into_its_elements_and_an_object_into_keys_and_values() {
        for (json, parts) in [
            ("[]", &[][..]),
            ("{ \n}", &[]),
            ("[1, -2.5e3\t,true ,null]", &["1", "-2.5e3", "true", "null"]),
            (r#"{"a":1,"b" : [2,{"c":"]}"}] }"#, &[r#""a""#, "1", r#""b""#, r#"[2,{"c":"]}"}]"#]),
            (r#"["\\","\"]","\\\",","¢日本"]"#, &[r#""\\""#, r#""\"]""#, r#""\\\",""#, r#""¢日本""#]),
            ("[[],[[]],{}]", &["[]", "[[]]", "{}"]),
        ] {
            assert_eq!(Parts::of(json).collect::<Vec<_>>(), parts, "{json}");
        }
    }

    #[test]
    fn what_is_entered_is_left_wherever_the_walk_stood() {
        let mut parts = Parts::of(r#"{"a" : {"b":{"c":"}"},"d":2} ,"e":[{}],"f":3}"#);
        assert_eq!((parts.next(), parts.enter(), parts.next()), (Some(r#""a""#), true, Some(r#""b""#)));
        parts.leave();
        assert_eq!((parts.next(), parts.enter(), parts.next()), (Some(r#""e""#), false, Some(r#""f""#)));
        assert_eq!((parts.next(), parts.next(), parts.enter(), parts.next()), (Some("3"), None, false, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_are_what_another_reader_finds(texts in proptest::collection::vec(r#"[a-c"\\\]}¢🙂]{0,20}"#, 0..6)) {
            let nested = texts.iter().map(|text| Value::from(vec![text.clone()]));
            let list: Value = texts.iter().map(|text| Value::from(text.clone())).chain(nested).collect();
            let list = list.to_string();
            let expected: Vec<&RawValue> = serde_json::from_str(&list).expect("an array");
            let expected: Vec<&str> = expected.into_iter().map(RawValue::get).collect();
            prop_assert_eq!(Parts::of(&list).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn what_is_no_json_does_no_harm(text in r#"[\[\]{}",: 1\\¢]{0,30}"#) {
            let mut parts = Parts::of(&text);
            while parts.enter() || parts.next().is_some() {}
            parts.leave();
        }
    }
}
