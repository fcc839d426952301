//! `support-bundle`: what somebody needs who is to help and may see nothing.
//!
//! Only what is listed in [`describe`] goes in, each thing by itself: objects are not copied and then cleaned. Annotations and
//! managed fields are where values hide (`kubectl apply` keeps the whole object in one), so only their names are told.

mod describe;
mod events;
mod personal;

use anyhow::Context;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{Pod, Service},
    networking::v1::NetworkPolicy,
};
use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use openarchive_domain::{Clock, SystemClock, Timestamp};
use openarchive_operator_api::{
    ArchiveCore, EdgeAgent, Kind, LABEL_INSTANCE, LABEL_NAME, NetworkPolicySet, PART_OF, RetentionPolicy,
};
use openarchive_operator_snapshot::{SELECTOR_OF_ALL, Subject, selector};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Debug, io::Write, path::PathBuf, process::ExitCode};
use tar::{Builder, Header};

use crate::{
    cluster::{self, Cluster},
    files::NewFile,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this ArchiveCore and what belongs to it; by default everything of ours in the namespace
    archive: Option<String>,
    /// File to write (.tar), which must not be there yet
    #[arg(long, short)]
    out: PathBuf,
    /// Where the operator runs
    #[arg(long, default_value = "openarchive-system")]
    operator_namespace: String,
}

/// The folder that the files unpack into.
const FOLDER: &str = "openarchive-support";
const OPERATOR: &str = "app.kubernetes.io/name=openarchive-operator";

/// A file of the bundle.
struct Entry {
    name: &'static str,
    text: String,
}

pub(crate) async fn run(args: &cluster::Args, bundle: &Args) -> anyhow::Result<ExitCode> {
    let mut file = NewFile::create(&bundle.out)?;
    let cluster = args.connect().await?;
    if let Some(name) = &bundle.archive {
        cluster.archive(name).await?;
    }
    let mut gathering = Gathering::new(&cluster, bundle.archive.clone());
    gathering.ours().await;
    gathering.built().await;
    gathering.events().await;
    let made_at = SystemClock.now();
    let program = gathering.program(&bundle.operator_namespace, made_at).await;
    let Gathering { entries, left_out, .. } = gathering;
    let mut all = vec![
        Entry { name: "README.txt", text: readme(made_at, &left_out) },
        Entry { name: "program.json", text: format!("{program:#}\n") },
    ];
    all.extend(entries);
    write_tar(&all, made_at, file.out()).context("cannot pack the bundle")?;
    let bytes = file.keep()?;
    let mut said = format!("{}: {bytes} bytes\n", bundle.out.display());
    for Entry { name, text } in &all {
        said += &format!("  {name}  {} bytes\n", text.len());
    }
    said += &format!("Read it before you send it: `tar -xf {}`", bundle.out.display());
    text::say(&said)?;
    for line in &left_out {
        text::remark(&format!("left out: {line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is there so far.
struct Gathering<'a> {
    cluster: &'a Cluster,
    archive: Option<String>,
    entries: Vec<Entry>,
    /// What could not be read, and why.
    left_out: Vec<String>,
    /// Names of objects by which their events are known.
    seen: BTreeSet<(String, String)>,
}

impl<'a> Gathering<'a> {
    const fn new(cluster: &'a Cluster, archive: Option<String>) -> Self {
        Self { cluster, archive, entries: Vec::new(), left_out: Vec::new(), seen: BTreeSet::new() }
    }

    fn is_of(&self, archive: &str) -> bool {
        self.archive.as_deref().is_none_or(|wanted| wanted == archive)
    }

    /// The four kinds.
    async fn ours(&mut self) {
        let cores = self.list::<ArchiveCore>("").await;
        let cores = cores.into_iter().filter(|core| self.is_of(&core.name_any())).collect::<Vec<_>>();
        self.add("archivecores.json", &cores, describe::archive_core);
        let agents = self.list::<EdgeAgent>("").await;
        let agents =
            agents.into_iter().filter(|agent| self.is_of(&agent.spec.archive_ref.name)).collect::<Vec<_>>();
        self.add("edgeagents.json", &agents, describe::edge_agent);
        let sets = self.list::<NetworkPolicySet>("").await;
        let sets = sets.into_iter().filter(|set| self.is_of(&set.spec.archive_ref.name)).collect::<Vec<_>>();
        self.add("networkpolicysets.json", &sets, describe::network_policy_set);
        let policies = self.list::<RetentionPolicy>("").await;
        let policies = policies
            .into_iter()
            .filter(|policy| self.is_of(&policy.spec.archive_ref.name))
            .collect::<Vec<_>>();
        self.add("retentionpolicies.json", &policies, describe::retention_policy);
    }

    /// What the operator made of them, and what came of that.
    async fn built(&mut self) {
        let labels = match &self.archive {
            Some(archive) => format!("{LABEL_NAME}={PART_OF},{LABEL_INSTANCE}={archive}"),
            None => format!("{LABEL_NAME}={PART_OF}"),
        };
        let found = self.list::<StatefulSet>(&labels).await;
        self.add("statefulsets.json", &found, describe::stateful_set);
        let found = self.list::<Deployment>(&labels).await;
        self.add("deployments.json", &found, describe::deployment);
        let found = self.list::<Service>(&labels).await;
        self.add("services.json", &found, describe::service);
        let found = self.list::<NetworkPolicy>(&labels).await;
        self.add("networkpolicies.json", &found, describe::network_policy);
        let found = self.list::<Pod>(&labels).await;
        self.add("pods.json", &found, describe::pod);
        let subject = self.archive.as_deref().and_then(|archive| {
            Subject::new(Kind::ArchiveCore.name(), &self.cluster.namespace, archive).ok()
        });
        let kept = subject.map_or_else(|| SELECTOR_OF_ALL.to_owned(), |subject| selector(&subject));
        let found = self.list::<ControllerRevision>(&kept).await;
        self.add("configurations.json", &found, describe::configuration);
    }

    async fn events(&mut self) {
        match events::read(self.cluster, &self.seen).await {
            Ok(events) => self.entries.push(Entry { name: "events.json", text: format!("{events:#}\n") }),
            Err(error) => self.left_out.push(personal::without(&format!("{error:#}"))),
        }
    }

    async fn program(&mut self, operator_namespace: &str, made_at: Timestamp) -> Value {
        let kubernetes =
            self.cluster.client.apiserver_version().await.ok().map(|version| version.git_version);
        let elsewhere =
            Cluster { client: self.cluster.client.clone(), namespace: operator_namespace.to_owned() };
        let operator = match elsewhere.list::<Deployment>(OPERATOR).await {
            Ok(found) => found.iter().map(describe::deployment).collect(),
            Err(error) => {
                self.left_out.push(personal::without(&format!("the operator's Deployment: {error:#}")));
                Vec::new()
            }
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "about": match &self.archive {
                Some(archive) => format!("ArchiveCore {archive} in namespace {}", self.cluster.namespace),
                None => format!("namespace {}", self.cluster.namespace),
            },
            "made_at": made_at.to_string(),
            "kubernetes": kubernetes,
            "operator_namespace": operator_namespace,
            "operator": operator,
        })
    }

    /// Whatever cannot be had is left out and said so: a bundle is wanted most where things do not work.
    async fn list<K>(&mut self, labels: &str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        match self.cluster.list(labels).await {
            Ok(found) => found,
            Err(error) => {
                self.left_out.push(personal::without(&format!("{error:#}")));
                Vec::new()
            }
        }
    }

    fn add<K: Resource<DynamicType = ()>>(
        &mut self,
        name: &'static str,
        found: &[K],
        describe: fn(&K) -> Value,
    ) {
        for object in found {
            self.seen.insert((K::kind(&()).into_owned(), object.name_any()));
        }
        let described: Vec<_> = found.iter().map(describe).collect();
        self.entries.push(Entry { name, text: format!("{:#}\n", Value::Array(described)) });
    }
}

fn readme(made_at: Timestamp, left_out: &[String]) -> String {
    let left_out = if left_out.is_empty() {
        "Everything could be read.\n".to_owned()
    } else {
        format!("Could not be read, and is left out:\n  {}\n", left_out.join("\n  "))
    };
    format!(
        "Support bundle of an OpenArchive in Kubernetes, made {made_at} by kubectl archive {}.\n\n\
         program.json            versions of this program, of Kubernetes, and of the operator\n\
         archivecores.json       specification and status of each ArchiveCore\n\
         edgeagents.json         the same of EdgeAgents\n\
         networkpolicysets.json  the same of NetworkPolicySets\n\
         retentionpolicies.json  the same of RetentionPolicies: of match.mailboxes only how many there are\n\
         statefulsets.json, deployments.json  images, resources, names (never values) of variables, replicas\n\
         services.json           types, ports, selectors\n\
         networkpolicies.json    rules, and why each is there\n\
         pods.json               phases, conditions, restarts, how containers ended; no messages of containers\n\
         configurations.json     name, SHA-256 and operator version of each kept configuration, not what it holds\n\
         events.json             events of all these objects\n\n\
         Of every object: name, uid, generation, times, our own labels, who wrote it; names (never values) of annotations.\n\
         In every text that people or programs wrote, words with an @ in them are replaced by {}.\n\n\
         Not in here: Secrets, ConfigMaps, mail and anything of it, mail addresses, keys, certificates, passwords, tokens,\n\
         commands and arguments of containers, logs. Names of tenants, domains, hosts, nodes, objects and field managers, and\n\
         address ranges are in here.\n\n\
         {left_out}",
        env!("CARGO_PKG_VERSION"),
        personal::LEFT_OUT,
    )
}

fn write_tar(entries: &[Entry], made_at: Timestamp, out: impl Write) -> anyhow::Result<()> {
    let mut tar = Builder::new(out);
    for Entry { name, text } in entries {
        let mut header = Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime((made_at.as_millis() / 1000).unsigned_abs());
        tar.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}
