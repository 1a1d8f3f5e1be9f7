//! The service from outside its modules: through files, sockets, processes, and as tables and scripts that read as claims.

mod config;
mod mapping;
mod queue;
mod sandbox;
