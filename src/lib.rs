//! refersion-destination

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod http;
pub mod mapping;
pub mod notice;
pub mod queue;
pub mod refersion;
pub mod sandbox;
pub mod segment;
pub mod telemetry;
pub mod worker;
