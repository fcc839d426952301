//! A real Kubernetes API for tests, on 127.0.0.1 and without root: etcd, kube-apiserver and kube-controller-manager as
//! processes that end with the test. There is no node; [`NodeStandIn`] does the scheduler's and the kubelet's part, so that
//! the real controllers complete Jobs and make Deployments and StatefulSets ready.

mod archive;
pub mod audit;
mod background;
mod certificates;
mod cluster;
mod fault_proxy;
mod folder;
mod node;
mod processes;
mod programs;
mod request;
mod servers;

pub use archive::ArchiveProcess;
pub use cluster::{ADMIN, Cluster};
pub use fault_proxy::{Fault, FaultProxy, Rule};
pub use node::NodeStandIn;
pub use request::Right;
