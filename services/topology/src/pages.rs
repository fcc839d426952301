//! The tables as people read them.

use std::collections::BTreeMap;

use crate::{Caller, DNS_PORT, EDGES, Endpoint, HEALTH_PORT, METHODS, Role, STREAMS};

/// The service graph as a Mermaid flowchart, without probes, metrics and DNS, which every pod has.
pub fn diagram() -> String {
    let mut text = String::from("flowchart LR\n");
    for edge in EDGES.iter().filter(|edge| edge.port != HEALTH_PORT && edge.port != DNS_PORT) {
        text += &format!("  {} -->|{}| {}\n", edge.from.name(), edge.why, edge.to.name());
    }
    text
}

/// `docs/topology.md`.
pub fn page() -> String {
    format!(
        "# Who may talk to whom\n\n\
         Generated from `services/topology` (`make gen`). Whatever is not listed here is refused.\n\n\
         ```mermaid\n{}```\n\n\
         ## Connections\n\n\
         All TCP. `-` is the port that the configuration names. Every pod may also ask DNS (port {DNS_PORT}, UDP too).\n\n\
         | to | port | from | why |\n|---|---|---|---|\n{}\n\
         ## gRPC methods\n\n\
         The caller is whoever the client certificate names: `spiffe://DOMAIN/service/ROLE` or\n\
         `spiffe://DOMAIN/tenant/TENANT/edge/NAME` (an agent); anonymous is who shows none.\n\n\
         | method | callers | why |\n|---|---|---|\n{}\n\
         ## Logs\n\n\
         Trust's methods work for each caller on these logs only; storage keeps `config` blobs for the operator alone, and\n\
         all others for ingest.\n\n\
         | log | appended to by | read by |\n|---|---|---|\n{}",
        diagram(),
        connections(),
        methods(),
        logs()
    )
}

fn connections() -> String {
    let mut rows = BTreeMap::<(Endpoint, u16, &str), Vec<&str>>::new();
    for edge in EDGES.iter().filter(|edge| edge.port != DNS_PORT) {
        rows.entry((edge.to, edge.port, edge.why)).or_default().push(edge.from.name());
    }
    rows.iter().fold(String::new(), |text, ((to, port, why), from)| {
        let port = if *port == 0 { "-".to_owned() } else { port.to_string() };
        text + &format!("| {} | {port} | {} | {why} |\n", to.name(), from.join(", "))
    })
}

fn logs() -> String {
    let names = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    STREAMS.iter().fold(String::new(), |text, log| {
        text + &format!("| `{}` | {} | {} |\n", log.name, names(log.appenders), names(log.readers))
    })
}

fn methods() -> String {
    METHODS.iter().fold(String::new(), |text, method| {
        let callers: Vec<&str> = method.callers.iter().copied().map(Caller::class).collect();
        text + &format!("| `{}` | {} | {} |\n", method.path, callers.join(", "), method.why)
    })
}
