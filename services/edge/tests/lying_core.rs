//! The agent against cores that are honest, away, broken, and lying: real gRPC on real sockets, real logs. And its
//! import against SIGKILL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "lying_core/archive.rs"]
mod archive;
#[path = "lying_core/draining.rs"]
mod draining;
#[path = "lying_core/honest.rs"]
mod honest;
#[path = "lying_core/import_killed.rs"]
mod import_killed;
#[path = "lying_core/lies.rs"]
mod lies;
#[path = "lying_core/mutual_tls.rs"]
mod mutual_tls;
#[path = "lying_core/service.rs"]
mod service;
#[path = "lying_core/site.rs"]
mod site;
#[path = "lying_core/trouble.rs"]
mod trouble;
