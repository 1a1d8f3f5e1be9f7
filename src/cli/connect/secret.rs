//! The shared secret by which Segment signs its requests: from a file, from an existing destination, or new.
//!
//! Invariants: a new secret has 256 random bits; a file is made for its owner alone (mode 600), and is written before anything is
//! changed at Segment, so that no secret is in use that nobody knows; it is never overwritten.

use super::print;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// A shared secret, and where the operator finds it.
pub(super) enum SharedSecret {
    /// The secret is in this file.
    InFile(String, PathBuf),
    /// A destination has the secret already; it is kept, and used for further destinations.
    Known(String),
    /// The secret is new, and is printed once.
    New(String),
}

impl SharedSecret {
    /// `file`: the file of the secret, which a dry run does not write. `known`: the secret of an existing destination.
    pub(super) fn get(file: Option<&Path>, known: Option<&str>, dry_run: bool) -> Result<Self, String> {
        let Some(path) = file else {
            return Ok(known.map_or_else(|| Self::New(new()), |known| Self::Known(known.to_owned())));
        };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => Err(format!("{}: the file is empty", path.display())),
            Ok(text) => Ok(Self::InFile(text.trim().to_owned(), path.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let secret = known.map_or_else(new, str::to_owned);
                if !dry_run {
                    write(path, &secret).map_err(failed)?;
                }
                Ok(Self::InFile(secret, path.to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) fn text(&self) -> &str {
        let (Self::InFile(secret, _) | Self::Known(secret) | Self::New(secret)) = self;
        secret
    }

    /// Tells the operator how the service gets the secret.
    pub(super) fn hand_over(&self) {
        match self {
            Self::InFile(_, path) => {
                let path = path.display();
                print(&format!(
                    "the shared secret is in {path}: start the service with SEGMENT_SHARED_SECRETS_FILE={path}"
                ));
            }
            Self::Known(_) => print("the shared secret is the one that was set up before"),
            Self::New(secret) => {
                print(&format!(
                    "the shared secret, which is shown this once: start the service with\n  SEGMENT_SHARED_SECRETS={secret}"
                ));
            }
        }
    }
}

fn new() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn write(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()
}
