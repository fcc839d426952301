//! NetworkPolicies of one archive: default deny both ways, then only the edges of `services/topology`.
//!
//! [`build`] makes them from checked [`Facts`]; [`evaluate`] says what a set of policies allows, and knows nothing of
//! `build`; [`explain`] names the edge that allows a connection and the rule that carries it.
//!
//! Architecture invariant: pure. No client, no clock, no randomness, and no knowledge of the custom resources: the
//! controller turns them into [`Draft`].
//!
//! What a NetworkPolicy cannot say, whatever is built here:
//! - A pod's own node always reaches it, and is always reached: probes need no rule, and none is written for them.
//! - Each end is judged by itself. A connection between two pods of the archive needs a rule at both; where an address
//!   range of an outside end contains pods, these pods are that outside end, too.
//! - An `ipBlock` sees the address after translation. A LoadBalancer with `externalTrafficPolicy: Cluster` shows nodes.
//!   Some engines (Cilium) never match pods by address: name these by labels, in an extra edge.

mod build;
mod connections;
mod evaluate;
mod explain;
mod facts;
mod fingerprint;
mod labels;
mod operator;
mod peers;

pub use build::build;
pub use connections::{Cause, Listed};
pub use evaluate::{NamedPort, Party, Pod, Protocol, Side, Verdict, World, evaluate};
pub use explain::{ExplainError, Explanation, Port, Rule, SideExplanation, Subject, explain};
pub use facts::{
    Agent, CIDRS_MAX, Destination, Dns, Draft, EXTRA_EDGES_MAX, End, ExtraEdge, Facts, FactsError, Fault,
    Layout, Listener, Prober, REASON_BYTES_MAX, SEARCH_NODES_MAX,
};
pub use fingerprint::{Fingerprint, fingerprints, graph_hash};
pub use labels::{
    LABEL_AGENT, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, Labels, Pods, of_namespace,
};
pub use operator::{OperatorFacts, operator_policy};
