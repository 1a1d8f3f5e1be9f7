//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod cli;
mod config;
mod crash;
mod journey;
mod mapping;
mod order;
mod sandbox;
mod secrecy;
mod support;
