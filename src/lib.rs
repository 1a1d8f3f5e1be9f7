//! refersion-destination

pub mod config;
pub mod delivery;
pub mod domain;
pub mod mapping;
pub mod queue;
pub mod refersion;
