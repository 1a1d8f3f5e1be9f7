//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod abusive_clients;
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
mod field;
mod fuzz;
mod http;
mod manifests;
mod mapping;
mod metrics;
mod order;
mod published_samples;
mod sandbox;
mod scripted_replies;
mod secrecy;
mod store;
mod support;
mod traces;
