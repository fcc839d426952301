//! Agents: one that the cluster runs, and one elsewhere, each as a real `openarchive-edge` process beside a real archive.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
};
use kube::{
    Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use openarchive_e2e::{free_port, program};
use openarchive_operator_api::{ArchiveCore, EdgeAgent};
use openarchive_operator_cluster::{Fault, FaultProxy, Rule, audit::Request};
use openarchive_operator_controller::client;
use openarchive_testkit::smtp_client::SmtpClient;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    kstatus::Standing,
    pod::{Pod, overrides},
    reviewed::is_told,
    support::{Site, WAIT, has, site, standalone},
};

const MAIL: &[u8] = b"From: a@acme.example\r\nTo: b@acme.example\r\nSubject: hello\r\n\r\nA mail.\r\n";

async fn running(name: &str) -> Option<(Site, Pod)> {
    let site = site(name).await?;
    let client = site.operator_client().await;
    Some(with_archive(site, client).await)
}

/// The archive's own process knows itself as `localhost`, so that agents reach it without a cluster's DNS.
async fn with_archive(mut site: Site, client: Client) -> (Site, Pod) {
    let mut pod = Pod::new();
    let dialled = overrides(&site, &pod);
    site.start(client, dialled).await;
    let mut archive = standalone("main");
    archive["spec"]["exposure"] = json!({
        "ingest": {"type": "LoadBalancer", "hostnames": ["localhost"], "allowedCIDRs": ["127.0.0.0/8"]},
    });
    site.apply::<ArchiveCore>(archive).await;
    site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
    pod.mount(&site).await;
    pod.start();
    site.until::<ArchiveCore>("main", "is recorded", has("AuditRecorded", "True")).await;
    (site, pod)
}

fn in_cluster(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "EdgeAgent", "metadata": {"name": name},
        "spec": {
            "archiveRef": {"name": "main"},
            "tenant": "acme",
            "placement": "InCluster",
            "listeners": [{
                "name": "journal", "port": port, "startTLS": {"required": true},
                "peers": [{"cidrs": ["127.0.0.1/32"], "journalMode": "Plain"}],
            }],
            "buffer": {"size": "1Gi", "highWater": "512Mi"},
        },
    })
}

fn external(name: &str) -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1", "kind": "EdgeAgent", "metadata": {"name": name},
        "spec": {"archiveRef": {"name": "main"}, "tenant": "acme", "placement": "External"},
    })
}

fn stands(
    type_: &'static str,
    state: &'static str,
    reason: &'static str,
) -> impl Fn(Option<&EdgeAgent>) -> bool {
    move |agent| {
        agent.and_then(|agent| Some((agent.metadata.generation, agent.status.as_ref()?))).is_some_and(
            |(generation, status)| {
                status.observed_generation == generation
                    && status
                        .conditions
                        .iter()
                        .any(|one| one.type_ == type_ && one.status == state && one.reason == reason)
            },
        )
    }
}

/// What the operator cannot see by itself: somebody looks again.
async fn touch(site: &Site, name: &str) {
    let patch = json!({"metadata": {"labels": {"touched": free_port().to_string()}}});
    site.api::<EdgeAgent>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// `openarchive-edge` in a folder that stands for its pod, or for its machine.
struct Edge {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Edge {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), process: None }
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("agent.yaml")
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        let path = self.folder.path().join(file);
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }

    async fn secret(&self, site: &Site, name: &str, prefix: &str) {
        let secret = site.api::<Secret>().get(name).await.unwrap();
        for (key, value) in secret.data.unwrap() {
            self.put(&format!("{prefix}{key}"), &value.0);
        }
    }

    /// As the cluster would mount it; `main-all` is a name of the cluster, so the archive is reached as `localhost`.
    async fn mount(&self, site: &Site, agent: &str, archive: &Pod) {
        self.secret(site, &format!("{agent}-bundle"), "bundle-").await;
        self.secret(site, &format!("main-edge-{agent}-tls"), "tls-").await;
        let config = site.api::<ConfigMap>().get(&format!("{agent}-edge")).await.unwrap();
        self.configure(site, &config, archive);
    }

    fn configure(&self, site: &Site, config: &ConfigMap, archive: &Pod) {
        let root = self.folder.path().display().to_string();
        let files = config.data.as_ref().unwrap();
        for (file, text) in files.iter().filter(|(file, _)| *file != "agent.yaml") {
            self.put(&format!("config-{file}"), text.as_bytes());
        }
        let config = files["agent.yaml"]
            .replace("/etc/openarchive/", &format!("{root}/config-"))
            .replace("/etc/openarchive-bundle/", &format!("{root}/bundle-"))
            .replace("/etc/openarchive-listeners/journal/", &format!("{root}/tls-"))
            .replace("/var/lib/openarchive-edge", &root)
            .replace("0.0.0.0:9090", &format!("127.0.0.1:{}", free_port()))
            .replace(
                &format!("main-all.{}.svc:9443", site.namespace),
                &format!("localhost:{}", archive.grpc()),
            );
        self.put("agent.yaml", config.as_bytes());
    }

    fn enrol(&self, token: &Path, arguments: &[&str]) -> String {
        let output = Command::new(program("openarchive-edge"))
            .arg("enrol")
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .arg("--token-file")
            .arg(token)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn start(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program("openarchive-edge"));
        command.args(["run", "--config"]).arg(self.config());
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("the agent said:\n{}", log.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
        }
        self.stop();
    }
}

async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(begun.elapsed() < WAIT, "waited in vain until {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_agent_in_the_cluster_takes_mail_and_sends_it_on_before_it_goes() {
    let Some((site, archive)) = running("agents").await else { return };
    let port = free_port();
    site.apply::<EdgeAgent>(in_cluster("mx", port)).await;
    site.until::<EdgeAgent>("mx", "is ready", stands("Ready", "True", "Reconciled")).await;
    assert_eq!(site.standing::<EdgeAgent>("mx").await, Standing::Current);
    let wait = ["wait", "--for=condition=Ready", "--timeout=10s", "edgeagent/mx"];
    assert_eq!(site.kubectl(&wait).await.code, 0);
    let labels = ListParams::default().labels("openarchive.dev/agent=mx");
    assert_eq!(site.api::<StatefulSet>().list(&labels).await.unwrap().items.len(), 1);
    assert_eq!(site.api::<Service>().list(&labels).await.unwrap().items.len(), 1);
    assert_eq!(site.api::<ServiceAccount>().list(&labels).await.unwrap().items.len(), 1);
    // The archive's own pass leaves what belongs to its agents alone, and both come to rest.
    let mark = site.quiet().await;
    touch(&site, "mx").await;
    eventually("the operator has looked again", async || {
        site.requests_since(mark).iter().any(|request| request.right.verb == "list").then_some(())
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(site.writes_since(mark), []);

    let mut edge = Edge::new();
    edge.mount(&site, "mx", &archive).await;
    let token = edge.folder.path().join("bundle-token");
    assert!(edge.enrol(&token, &["--if-needed"]).contains("has enrolled"));
    edge.enrol(&token, &["--if-needed"]);
    edge.start();
    let address = format!("127.0.0.1:{port}");
    let roots = fs::read_to_string(edge.folder.path().join("bundle-ca.pem")).unwrap();
    let mut session = eventually("the agent listens", async || SmtpClient::connect(&address).ok()).await;
    let reply = session.send("a@acme.example", &["b@acme.example".to_owned()], MAIL).unwrap();
    assert_eq!(reply.code / 100, 5, "in clear nothing is taken: {reply:?}");
    // A mail server may check the certificate against the archive's authority, by the name of the Service.
    let session = SmtpClient::connect(&address).unwrap();
    let mut session = session.start_tls_as(&roots, &format!("mx-edge.{}.svc", site.namespace)).unwrap();
    assert_eq!(session.send("a@acme.example", &["b@acme.example".to_owned()], MAIL).unwrap().code, 250);
    drop(session);
    let status = eventually("its certificate and its mail are known", async || {
        touch(&site, "mx").await;
        sleep(Duration::from_secs(1)).await;
        let status = site.api::<EdgeAgent>().get("mx").await.unwrap().status?;
        status.instances.iter().any(|one| one.last_receipt_index.is_some()).then_some(status)
    })
    .await;
    let certificate = status.certificate.unwrap();
    assert_eq!((&*certificate.name, certificate.fingerprint.len()), ("acme/mx", 64));
    let [instance] = &status.instances[..] else { panic!("{:?}", status.instances) };
    assert_eq!((&*instance.version, instance.gaps), (env!("CARGO_PKG_VERSION"), 0));
    assert!(instance.instance.parse::<uuid::Uuid>().is_ok_and(|instance| !instance.is_nil()), "{instance:?}");

    // Somebody else's change is undone.
    let patch = json!({"spec": {"replicas": 3}});
    site.api::<StatefulSet>().patch("mx-edge", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    site.until::<StatefulSet>("mx-edge", "has one replica again", |set: Option<&StatefulSet>| {
        set.and_then(|set| set.spec.as_ref()).is_some_and(|spec| spec.replicas == Some(1))
    })
    .await;
    site.api::<Service>().delete("mx-edge", &DeleteParams::default()).await.unwrap();
    let told = is_told(&site, "Service mx-edge was deleted by unknown and is made anew").await;
    assert_eq!(told.regarding.unwrap().kind.as_deref(), Some("EdgeAgent"));
    assert_eq!(told.related.unwrap().name.as_deref(), Some("mx-edge"));
    assert!(site.api::<Service>().get_opt("mx-edge").await.unwrap().is_some());

    // It goes: no mail is taken, what is there is sent on, and only then; also where everything that it owns is taken first, and
    // where somebody takes it again.
    site.api::<EdgeAgent>().delete("mx", &DeleteParams::foreground()).await.unwrap();
    site.until::<EdgeAgent>("mx", "waits for its drain", |agent: Option<&EdgeAgent>| {
        agent.and_then(|agent| agent.status.as_ref()?.waiting_for.as_deref()) == Some("drain")
    })
    .await;
    assert_eq!(site.standing::<EdgeAgent>("mx").await, Standing::Terminating);
    let drains = |config: Option<&ConfigMap>| {
        config.is_some_and(|config| {
            let data = config.data.as_ref().unwrap();
            data["agent.yaml"].contains("drain") && config.metadata.owner_references.is_none()
        })
    };
    site.until::<ConfigMap>("mx-edge", "drains", drains).await;
    let stays = |set: Option<&StatefulSet>| {
        set.is_some_and(|set| {
            set.metadata.owner_references.is_none() && set.metadata.deletion_timestamp.is_none()
        })
    };
    let first = site.until::<StatefulSet>("mx-edge", "stays", stays).await.unwrap();
    site.api::<StatefulSet>().delete("mx-edge", &DeleteParams::default()).await.unwrap();
    site.until::<StatefulSet>("mx-edge", "is made again", |set: Option<&StatefulSet>| {
        stays(set) && set.and_then(ResourceExt::uid) != first.uid()
    })
    .await;
    edge.stop();
    let config = site.until::<ConfigMap>("mx-edge", "is there", drains).await.unwrap();
    edge.configure(&site, &config, &archive);
    edge.start();
    site.until::<EdgeAgent>("mx", "is gone", |agent: Option<&EdgeAgent>| agent.is_none()).await;
    site.until::<StatefulSet>("mx-edge", "is gone", |set: Option<&StatefulSet>| set.is_none()).await;
    let volumes = site.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.unwrap().items;
    assert!(volumes.iter().any(|volume| volume.name_any() == "buffer-mx-edge-0"), "{volumes:?}");

    // The archive keeps to it: a name that was revoked lets nobody in again.
    site.apply::<EdgeAgent>(in_cluster("mx", port)).await;
    site.until::<EdgeAgent>("mx", "is refused", stands("Stalled", "True", "RefusedByCore")).await;
}

#[tokio::test]
async fn an_agent_elsewhere_begins_with_its_bundle_and_is_shut_out_when_it_is_deleted() {
    let Some((site, archive)) = running("external").await else { return };
    site.apply::<EdgeAgent>(external("branch")).await;
    site.until::<EdgeAgent>("branch", "is ready", stands("Ready", "True", "Reconciled")).await;
    let mark = site.quiet().await;
    touch(&site, "branch").await;
    eventually("the operator has looked again", async || {
        site.requests_since(mark).iter().any(|request| request.right.verb == "list").then_some(())
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(site.writes_since(mark), [], "a bundle that is good is not made again");

    let edge = Edge::new();
    edge.secret(&site, "branch-bundle", "").await;
    let config = fs::read_to_string(edge.config()).unwrap();
    let root = edge.folder.path().display().to_string();
    assert!(config.contains("https://localhost:9443"), "{config}");
    let config = config
        .replace("/var/lib/openarchive-edge", &root)
        .replace("localhost:9443", &format!("localhost:{}", archive.grpc()));
    edge.put("agent.yaml", config.as_bytes());
    assert!(edge.enrol(&edge.folder.path().join("token"), &[]).contains("acme/branch"));

    site.api::<EdgeAgent>().delete("branch", &DeleteParams::default()).await.unwrap();
    site.until::<EdgeAgent>("branch", "is gone", |agent: Option<&EdgeAgent>| agent.is_none()).await;
    site.until::<Secret>("branch-bundle", "is gone", |secret: Option<&Secret>| secret.is_none()).await;
    site.apply::<EdgeAgent>(external("branch")).await;
    site.until::<EdgeAgent>("branch", "is refused", stands("Stalled", "True", "RefusedByCore")).await;

    // A tenant that the archive does not have, and an archive that is not there.
    let mut other = external("other");
    other["spec"]["tenant"] = json!("nobody");
    site.apply::<EdgeAgent>(other).await;
    site.until::<EdgeAgent>("other", "is refused", stands("Stalled", "True", "InvalidSpec")).await;
    let mut lost = external("lost");
    lost["spec"]["archiveRef"]["name"] = json!("nowhere");
    site.apply::<EdgeAgent>(lost).await;
    site.until::<EdgeAgent>("lost", "is refused", stands("Stalled", "True", "ReferenceNotFound")).await;
    // Neither was let in, so nothing holds them.
    for name in ["other", "lost"] {
        site.api::<EdgeAgent>().delete(name, &DeleteParams::default()).await.unwrap();
        site.until::<EdgeAgent>(name, "is gone", |agent: Option<&EdgeAgent>| agent.is_none()).await;
    }
}

/// Each way in which a call may fail, at the call that holds an agent.
const FAULTS: [Fault; 6] = [
    Fault::Status(409),
    Fault::TooManyRequests { retry_after_seconds: 1 },
    Fault::Status(500),
    Fault::Hang,
    Fault::Close,
    Fault::LoseAnswer,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_held_once_a_token_was_made_for_it_and_no_sooner() {
    let Some(site) = site("held").await else { return };
    let proxy = FaultProxy::start(&site.cluster, &site.user, None).await.unwrap();
    let through = client(proxy.config().unwrap(), Duration::from_secs(4)).unwrap();
    let (site, mut archive) = with_archive(site, through).await;
    proxy.plan((1..).zip(FAULTS).map(|(nth, fault)| Rule::nth("patch", "edgeagents", nth, fault)));
    let mark = site.mark();
    let names: Vec<_> = (1..=FAULTS.len()).map(|number| format!("branch-{number}")).collect();
    site.apply::<EdgeAgent>(in_cluster("mx", free_port())).await;
    for name in &names {
        site.apply::<EdgeAgent>(external(name)).await;
    }
    for name in names.iter().map(String::as_str).chain(["mx"]) {
        site.until::<EdgeAgent>(name, "is ready", stands("Ready", "True", "Reconciled")).await;
    }
    assert_eq!(proxy.given().len(), FAULTS.len());
    // Whatever failed: nobody gets a token, and no pod comes that looks for one, before it is held who is let in by it.
    let requests = site.requests_since(mark);
    let written = |resource: &str, name: &str| {
        let is_it = |one: &Request| {
            one.right.writes() && one.right.resource == resource && one.name == name && one.code < 300
        };
        requests.iter().position(is_it)
    };
    for name in names.iter().map(String::as_str).chain(["mx"]) {
        let (held, handed) = (written("edgeagents", name), written("secrets", &format!("{name}-bundle")));
        assert!(held.is_some() && held < handed, "{name}: {held:?}, {handed:?}");
    }
    assert!(written("edgeagents", "mx") < written("statefulsets", "mx-edge"));

    archive.stop();
    // No token was ever made for this one: it goes at once, with nobody there to be told.
    site.apply::<EdgeAgent>(external("late")).await;
    site.until::<EdgeAgent>("late", "waits", stands("Reconciling", "True", "CoreUnreachable")).await;
    gone_at_once(&site, "late").await;
    // For this one there was: it stays until the archive is back and shuts it out.
    site.api::<EdgeAgent>().delete("branch-1", &DeleteParams::default()).await.unwrap();
    site.until::<EdgeAgent>("branch-1", "waits", stands("Reconciling", "True", "CoreUnreachable")).await;
    assert_eq!(site.standing::<EdgeAgent>("branch-1").await, Standing::Terminating);
    assert!(site.api::<Secret>().get_opt("branch-1-bundle").await.unwrap().is_some());
    archive.start();
    eventually("it is revoked and goes", async || {
        let agents = site.api::<EdgeAgent>();
        let patch = json!({"metadata": {"labels": {"touched": free_port().to_string()}}});
        let _ = agents.patch("branch-1", &PatchParams::default(), &Patch::Merge(&patch)).await;
        sleep(Duration::from_millis(500)).await;
        agents.get_opt("branch-1").await.unwrap().is_none().then_some(())
    })
    .await;
    site.apply::<EdgeAgent>(external("branch-1")).await;
    site.until::<EdgeAgent>("branch-1", "is refused", stands("Stalled", "True", "RefusedByCore")).await;
    // Of that name nobody was let in again.
    gone_at_once(&site, "branch-1").await;
}

/// Nothing holds it.
async fn gone_at_once(site: &Site, name: &str) {
    let agents = site.api::<EdgeAgent>();
    agents.delete(name, &DeleteParams::default()).await.unwrap();
    assert!(agents.get_opt(name).await.unwrap().is_none(), "{name} is held");
}
