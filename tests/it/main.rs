//! x

mod config;
