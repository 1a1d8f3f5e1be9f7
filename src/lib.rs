//! refersion-destination

pub mod config;
pub mod delivery;
pub mod domain;
pub mod mapping;
