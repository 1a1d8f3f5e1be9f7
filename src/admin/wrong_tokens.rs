//! Limits how fast the token can be guessed (brute force): after [`MAX_WRONG`] wrong tokens within a second, a peer's tokens are not
//! checked for the rest of that second.
//!
//! In: the address of a peer, and the time. Out: whether its token may be checked. Invariant: memory is bounded; while more than
//! [`MAX_PEERS`] peers present wrong tokens within a second, no token of a further peer is checked. Addresses of IPv6 count by their
//! network of 64 bits, which one peer has for itself. Deliberately absent: requests without a token, whose number is not limited here.
//! `governor`, which limits elsewhere, has no way to ask whether a limit is reached without counting against it, and a right token must not
//! count.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The most wrong tokens that a peer may present within a second.
const MAX_WRONG: u32 = 5;
/// The time for which wrong tokens are counted together.
const WINDOW: Duration = Duration::from_secs(1);
/// The most peers that are counted at a time.
const MAX_PEERS: usize = 10_000;

/// The peers that presented wrong tokens in the last second.
#[derive(Debug, Default)]
pub(super) struct WrongTokens {
    peers: HashMap<IpAddr, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    wrong: u32,
}

impl WrongTokens {
    /// Whether this peer is slowed down at `now`: its token is not checked.
    pub(super) fn is_slowed(&mut self, peer: IpAddr, now: Instant) -> bool {
        let peer = network(peer);
        if self.peers.len() >= MAX_PEERS {
            self.peers.retain(|_, window| window.lasts(now));
        }
        match self.peers.get(&peer).filter(|window| window.lasts(now)) {
            Some(window) => window.wrong >= MAX_WRONG,
            None => self.peers.len() >= MAX_PEERS,
        }
    }

    /// Counts a wrong token of this peer.
    pub(super) fn count(&mut self, peer: IpAddr, now: Instant) {
        let window = self.peers.entry(network(peer)).or_insert(Window { began: now, wrong: 0 });
        if !window.lasts(now) {
            *window = Window { began: now, wrong: 0 };
        }
        window.wrong += 1;
    }
}

impl Window {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) < WINDOW
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_peer_is_slowed_after_five_wrong_tokens_until_the_second_is_over_and_no_other_peer_is() {
        let (mut tokens, start) = (WrongTokens::default(), Instant::now());
        let (peer, other) = (address("10.0.0.1"), address("10.0.0.2"));
        for _ in 0..5 {
            assert!(!tokens.is_slowed(peer, start));
            tokens.count(peer, start);
        }
        let later = |ms| start + Duration::from_millis(ms);
        assert!(tokens.is_slowed(peer, start) && tokens.is_slowed(peer, later(999)));
        assert!(!tokens.is_slowed(other, start));
        assert!(!tokens.is_slowed(peer, later(1_000)), "the second is over");
        tokens.count(peer, later(1_000));
        assert!(!tokens.is_slowed(peer, later(1_001)), "another one has begun");
    }

    #[test]
    fn one_network_of_ipv6_is_one_peer_and_a_mapped_address_is_that_of_ipv4() {
        let (mut tokens, now) = (WrongTokens::default(), Instant::now());
        for n in 0..5 {
            tokens.count(address(&format!("2001:db8::{n}")), now);
            tokens.count(address("::ffff:10.0.0.1"), now);
        }
        assert!(tokens.is_slowed(address("2001:db8::ffff:1"), now));
        assert!(!tokens.is_slowed(address("2001:db8:0:1::1"), now));
        assert!(tokens.is_slowed(address("10.0.0.1"), now));
        assert!(!tokens.is_slowed(address("10.0.0.2"), now));
    }

    #[test]
    fn many_peers_take_no_more_memory_and_a_further_one_is_slowed() {
        let (mut tokens, now) = (WrongTokens::default(), Instant::now());
        for n in 0..u32::try_from(MAX_PEERS).expect("small") {
            let peer = IpAddr::V4(n.into());
            assert!(!tokens.is_slowed(peer, now));
            tokens.count(peer, now);
        }
        let further = address("192.0.2.1");
        assert!(tokens.is_slowed(further, now));
        assert!(!tokens.is_slowed(IpAddr::V4(7.into()), now), "one that is counted goes on");
        assert!(!tokens.is_slowed(further, now + WINDOW));
        assert!(tokens.peers.is_empty());
    }
}
