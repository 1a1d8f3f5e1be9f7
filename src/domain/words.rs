//! A macro for a closed list of words: an enum, the list of its variants, and the word of each; and its number, if it has a fixed one.

macro_rules! words {
    ($(#[$attribute:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $(($number:literal))? = $text:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant $(= $number)?,)+ }

        impl $name {
            /// Every variant, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in metrics, logs and responses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;
