//! Who may talk to whom: the one table from which authorisation of each gRPC method, network policies, service ports and
//! `docs/topology.md` come.
//!
//! Architecture invariant: no dependency, so that the operator and every service can read it. A method that is not in
//! the table may be called by nobody.

mod edges;
mod logs;
mod methods;
mod pages;
mod role;

#[cfg(test)]
mod tests;

pub use edges::{
    DNS_PORT, EDGES, Edge, Endpoint, GRPC_PORT, HEALTH_PORT, POSTGRES_PORT, REST_PORT, SMTP_PORT,
};
pub use logs::{STREAMS, Stream, may_append, may_read};
pub use methods::{METHODS, Method, may_call, method_at};
pub use pages::{diagram, page};
pub use role::{Caller, Role};
