//! A namespace with an operator and an archive, both as processes: what `openarchive-operator run` made is what `openarchive all`
//! starts with, as the pod of the StatefulSet would.

use std::{
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::Namespace,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::wait::await_condition,
};
use openarchive_operator_api::{ArchiveCore, crds};
use openarchive_operator_cluster::{ArchiveProcess, Cluster};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::plugin::command;

/// Longest wait for the operator on a busy machine.
const WAIT: Duration = Duration::from_secs(90);

pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) namespace: &'static str,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) archive: ArchiveProcess,
    pub(crate) folder: tempfile::TempDir,
    operator: Option<Child>,
}

impl Site {
    /// `None`: skipped, there is no API server.
    pub(crate) async fn start(namespace: &'static str) -> Option<Self> {
        let cluster = Cluster::shared().await.unwrap()?;
        cluster.apply_crds(&crds()).await.unwrap();
        let client = cluster.admin().await.unwrap();
        let made: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &made).await.unwrap();
        let kubeconfig = cluster.kubeconfig(&format!("admin-{namespace}"), Some("system:masters")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let archive = ArchiveProcess::new().unwrap();
        Some(Self { cluster, client, namespace, kubeconfig, archive, folder, operator: None })
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    pub(crate) fn overrides(&self) -> String {
        self.archive.dial_override(self.namespace)
    }

    /// With the way to the archive that tests have.
    pub(crate) fn plugin(&self, args: &[&str]) -> Output {
        let mut command = command(&self.kubeconfig, &[&["--namespace", self.namespace], args].concat());
        command.env("OPENARCHIVE_DIAL_OVERRIDE", self.overrides()).output().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn log(&self, name: &str) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join(name)).unwrap()
    }

    pub(crate) fn run_operator(&mut self) {
        let keys = self.path("operator-keys");
        let mut command = Command::new(env!("CARGO_BIN_EXE_openarchive-operator"));
        command.args(["run", "--namespace", self.namespace, "--operator-namespace", self.namespace]);
        command.args(["--image-registry", "registry.test", "--admin", "127.0.0.1:0", "--folder", &keys]);
        command.env("KUBECONFIG", &self.kubeconfig).env_remove("KUBERNETES_SERVICE_HOST");
        command.env("OPENARCHIVE_DIAL_OVERRIDE", self.overrides()).stdin(Stdio::null());
        let log = self.log("operator.log");
        self.operator = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// As `kubectl apply --server-side` by a person.
    pub(crate) async fn apply<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("a-person").force();
        self.api::<K>().patch(&name, &parameters, &Patch::Apply(&object)).await.unwrap()
    }

    /// The archive `main` with so many tenants: each number is another configuration.
    pub(crate) async fn configure(&self, tenants: usize) {
        let tenants: Vec<_> =
            (0..tenants).map(|number| json!({"name": format!("tenant-{number}")})).collect();
        self.apply::<ArchiveCore>(json!({
            "apiVersion": "openarchive.dev/v1alpha1",
            "kind": "ArchiveCore",
            "metadata": {"name": "main"},
            "spec": {
                "domain": "archive.example.org",
                "tenants": tenants,
                "profile": "Standalone",
                "version": "0.1.0",
                "retention": {"default": "10y-received-forbidden"},
            },
        }))
        .await;
    }

    /// Until condition `AuditRecorded` of the present generation has this status.
    pub(crate) async fn until_recorded(&self, status: &'static str) {
        let reached = move |archive: Option<&ArchiveCore>| {
            let Some(archive) = archive else { return false };
            let conditions = archive.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| {
                condition.type_ == "AuditRecorded"
                    && condition.status == status
                    && condition.observed_generation == archive.metadata.generation
            })
        };
        let awaited = timeout(WAIT, await_condition(self.api::<ArchiveCore>(), "main", reached)).await;
        assert!(awaited.is_ok(), "AuditRecorded is not {status} in time");
        awaited.unwrap().unwrap();
    }

    /// What the cluster would mount.
    pub(crate) async fn mount(&self) {
        self.archive.mount(&self.client, self.namespace).await.unwrap();
    }

    pub(crate) fn run_archive(&mut self) {
        self.archive.start().unwrap();
    }

    pub(crate) fn stop_archive(&mut self) {
        self.archive.stop();
    }

    /// A kubeconfig of a user who has these rights in the namespace and no others; they are in force.
    pub(crate) async fn person(&self, name: &str, rules: &Value) -> PathBuf {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        let role: Role = serde_json::from_value(role).unwrap();
        self.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }))
        .unwrap();
        self.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
        let begun = Instant::now();
        while !self.may(name, &rules[0]).await {
            assert!(begun.elapsed() < WAIT, "{name} has no rights yet");
            sleep(Duration::from_millis(20)).await;
        }
        self.cluster.kubeconfig(name, None).unwrap()
    }

    async fn may(&self, user: &str, rule: &Value) -> bool {
        let asked: SubjectAccessReview = serde_json::from_value(json!({"spec": {
            "user": user,
            "resourceAttributes": {
                "namespace": self.namespace,
                "group": rule["apiGroups"][0],
                "resource": rule["resources"][0],
                "verb": rule["verbs"][0],
                "name": rule["resourceNames"][0],
            },
        }}))
        .unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        reviews.create(&PostParams::default(), &asked).await.unwrap().status.unwrap().allowed
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            let _ = Command::new("kill").arg(operator.id().to_string()).status();
            let _ = operator.wait();
        }
        if std::thread::panicking() {
            last_lines(&self.folder.path().join("operator.log"));
        }
    }
}

fn last_lines(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    eprintln!("{}:\n{}", log.display(), lines[lines.len().saturating_sub(30)..].join("\n"));
}
