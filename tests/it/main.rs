//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod accounts;
mod any_key;
mod architecture;
mod calls;
mod chaos;
mod cli;
mod config;
mod crash;
mod dead_letters;
mod delivery;
mod documents;
mod fuzz;
mod hostile;
mod http;
mod journey;
mod mapping;
mod order;
mod prescribed;
mod sandbox;
mod secrecy;
mod store;
mod support;
