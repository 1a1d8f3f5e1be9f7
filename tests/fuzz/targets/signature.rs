//! Bytes for `signature`; what it is for stands there.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| refersion_destination_fuzz::signature::check(data));
