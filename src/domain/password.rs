//! Random passwords for new affiliates. Refersion requires one; the affiliate sets another by mail.
//!
//! In: a random number generator. Out: a password that satisfies Refersion's rules (API contract, `/affiliate/new`): 9 to 72
//! characters, upper case, lower case, digit and symbol, no character more than three times in a row, unlike the e-mail.
//! Invariant: never stored, never logged.

use rand::CryptoRng;
use rand::seq::{IndexedRandom, SliceRandom};
use secrecy::SecretString;

const LENGTH: usize = 24;
const CLASSES: [&[u8]; 4] = [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz", b"23456789", b"!#%+-=?@_"];

/// Draws a password of 24 characters, about 130 bits of entropy.
///
/// Every class appears at least once by construction. A draw with more than three equal characters in a row is repeated.
pub fn password(rng: &mut impl CryptoRng) -> SecretString {
    let everything = CLASSES.concat();
    loop {
        let mut drawn: Vec<u8> = CLASSES.iter().filter_map(|class| class.choose(rng).copied()).collect();
        drawn.extend((CLASSES.len()..LENGTH).filter_map(|_| everything.choose(rng).copied()));
        drawn.shuffle(rng);
        let runs = drawn.windows(4).any(|four| four.iter().all(|c| *c == four[0]));
        if !runs {
            return drawn.into_iter().map(char::from).collect::<String>().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use secrecy::ExposeSecret;

    #[test]
    fn every_password_satisfies_refersions_rules() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..2_000 {
            let drawn = password(&mut rng);
            let text = drawn.expose_secret();
            assert_eq!(text.len(), LENGTH);
            assert!(text.bytes().any(|b| b.is_ascii_uppercase()), "{text}");
            assert!(text.bytes().any(|b| b.is_ascii_lowercase()), "{text}");
            assert!(text.bytes().any(|b| b.is_ascii_digit()), "{text}");
            assert!(text.bytes().any(|b| b.is_ascii_punctuation()), "{text}");
            assert!(!text.as_bytes().windows(4).any(|w| w.iter().all(|b| *b == w[0])), "{text}");
        }
    }
}
