//! The limit of open files of the process: raised at the start, and divided among the listeners.
//!
//! In: the limit of the process (`ulimit -n`). Out: the most connections of each listener. Invariant: idle connections leave files for the
//! store, for requests to Refersion, and for the other listener. Without files for its health check, the process would be restarted.

use crate::http::ListenerLimits;

/// The files that the process has open without connections: the store, signals, the runtimes. An eighth of the others is for requests to
/// Refersion.
const WITHOUT_CONNECTIONS: usize = 32;

/// The most connections of operators. An idle one takes 46 KiB, because the router is made for each, with the address of its peer.
const MAX_OPERATORS: usize = 256;

/// The limits of the listeners.
pub(super) struct LimitsByListener {
    /// The limits of the public listener.
    pub(super) public: ListenerLimits,
    /// The limits of the operators' listener.
    pub(super) operators: ListenerLimits,
}

impl LimitsByListener {
    /// The limits for a process that may have `files` files open.
    fn of(files: usize) -> Self {
        let eighth = files.saturating_sub(WITHOUT_CONNECTIONS) / 8;
        Self {
            public: ListenerLimits::with_max_connections(6 * eighth),
            operators: ListenerLimits::with_max_connections(eighth.min(MAX_OPERATORS)),
        }
    }
}

/// Raises the limit as far as the system allows without privileges, and divides it. Systems start programs with a low limit (1024, for
/// programs that use `select`), and permit a far higher one.
pub(super) fn raise_and_divide() -> LimitsByListener {
    #[cfg(unix)]
    let files = {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => maximum,
            Err(_) => current, // some systems permit less than they state
        }
    };
    #[cfg(not(unix))]
    let files: Option<u64> = None;
    let files = files.and_then(|files| usize::try_from(files).ok());
    LimitsByListener::of(files.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_limits_hold_where_files_allow_them_and_each_listener_has_a_connection_at_least() {
        for (files, public, operators) in
            [(usize::MAX, 12_000, 256), (65_536, 12_000, 256), (1_024, 744, 124), (64, 24, 4), (0, 1, 1)]
        {
            let limits = LimitsByListener::of(files);
            let found = (limits.public.max_connections, limits.operators.max_connections);
            assert_eq!(found, (public, operators), "{files} files");
        }
    }
}
