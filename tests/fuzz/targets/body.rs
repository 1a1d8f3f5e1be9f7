//! The fuzz target `body`: passes the bytes of libFuzzer to the property of that name.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| refersion_destination_fuzz::body::check(data));
