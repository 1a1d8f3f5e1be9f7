//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod architecture;
mod config;
mod delivery;
mod http;
mod journey;
mod mapping;
mod queue;
mod sandbox;
mod support;
