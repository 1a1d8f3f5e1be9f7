//! x

mod mapping;
