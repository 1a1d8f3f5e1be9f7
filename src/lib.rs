//! refersion-destination

pub mod delivery;
pub mod domain;
pub mod mapping;
pub mod sandbox;
