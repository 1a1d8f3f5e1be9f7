//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod config;
mod http;
mod journey;
mod mapping;
mod sandbox;
mod support;
