//! A namespace with an operator of its own in the shared cluster.

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{Namespace, ServiceAccount},
    rbac::v1::{Role, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::wait::{Condition, await_condition},
};
use openarchive_domain::{Clock, SystemClock};
use openarchive_e2e::Ctl;
use openarchive_operator_api::{ArchiveCore, crds};
use openarchive_operator_cluster::{
    Cluster,
    audit::{Mark, Request},
};
use openarchive_operator_controller::{
    Context, Ready, Settings,
    core::{DialOverrides, Dialler},
    rbac::rules,
    run,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::kstatus::{Standing, standing};

/// Longest wait for the operator on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(90);
/// Service accounts are in these groups; ours needs no more than its own.
const GROUP: Option<&str> = None;

/// One test's namespace, and an operator that may look at it alone, with the rights of the table and no other.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) user: String,
    /// Where the audit log stood when nobody had looked at the namespace yet.
    pub(crate) begun: Mark,
    operators: Vec<Operator>,
    keys: tempfile::TempDir,
}

/// Ends when it is dropped.
struct Operator {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// `None`: there are no programs of Kubernetes, which was printed as SKIP.
pub(crate) async fn site(namespace: &str) -> Option<Site> {
    let cluster = Cluster::shared().await.unwrap()?;
    cluster.apply_crds(&crds()).await.unwrap();
    Some(site_in(cluster, namespace).await)
}

/// A namespace in a cluster that has the definitions. Its operator has no rights yet.
pub(crate) async fn bare_site(cluster: Cluster, namespace: &str) -> Site {
    let admin = cluster.admin().await.unwrap();
    let user = format!("system:serviceaccount:{namespace}:openarchive-operator");
    let site = Site {
        begun: cluster.requests().mark().unwrap(),
        cluster,
        admin,
        namespace: namespace.to_owned(),
        user,
        operators: Vec::new(),
        keys: tempfile::tempdir().unwrap(),
    };
    // The real admission judges every pod.
    let labels = [("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())];
    let metadata = ObjectMeta { labels: Some(labels.into()), ..metadata(namespace) };
    let made = Namespace { metadata, ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(site.admin.clone());
    namespaces.create(&PostParams::default(), &made).await.unwrap();
    site
}

pub(crate) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// [`bare_site`], and its operator has the rights of the table there.
pub(crate) async fn site_in(cluster: Cluster, namespace: &str) -> Site {
    let site = bare_site(cluster, namespace).await;
    let parameters = PostParams::default();
    let role = Role { metadata: metadata("openarchive-operator"), rules: Some(rules()) };
    site.api::<Role>().create(&parameters, &role).await.unwrap();
    let account = ServiceAccount { metadata: metadata("openarchive-operator"), ..ServiceAccount::default() };
    site.api::<ServiceAccount>().create(&parameters, &account).await.unwrap();
    let binding = RoleBinding {
        metadata: metadata("openarchive-operator"),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: "openarchive-operator".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "openarchive-operator".to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    };
    site.api::<RoleBinding>().create(&parameters, &binding).await.unwrap();
    site
}

impl Site {
    /// The site with its operator at work.
    pub(crate) async fn with_operator(mut self) -> Self {
        let client = self.operator_client().await;
        self.start(client, DialOverrides::default()).await;
        self
    }

    /// A client with the operator's rights.
    pub(crate) async fn operator_client(&self) -> Client {
        self.cluster.client(&self.user, GROUP).await.unwrap()
    }

    /// One more operator, with keys of its own.
    pub(crate) async fn start(&mut self, client: Client, overrides: DialOverrides) {
        self.start_at(client, overrides, Arc::new(SystemClock)).await;
    }

    pub(crate) async fn start_at(&mut self, client: Client, overrides: DialOverrides, clock: Arc<dyn Clock>) {
        self.start_over(Some(self.namespace.clone()), client, overrides, clock).await;
    }

    /// Looks at `namespace`; at all of them without.
    pub(crate) async fn start_over(
        &mut self,
        namespace: Option<String>,
        client: Client,
        overrides: DialOverrides,
        clock: Arc<dyn Clock>,
    ) {
        let settings = Settings {
            namespace,
            operator_namespace: self.namespace.clone(),
            image_registry: "registry.test".to_owned(),
        };
        let dialler =
            Dialler::new(&self.keys.path().join(self.operators.len().to_string()), overrides).unwrap();
        let context = Arc::new(Context::new(client, clock, settings, dialler));
        let (stop, stopped) = oneshot::channel();
        let ready = Ready::default();
        let seen = ready.clone();
        let task = tokio::spawn(run(context, ready, async {
            let _ = stopped.await;
        }));
        let begun = Instant::now();
        while !seen.is_ready() {
            assert!(begun.elapsed() < WAIT, "the caches are not filled");
            sleep(Duration::from_millis(20)).await;
        }
        self.operators.push(Operator { stop, task });
    }

    /// Returns when the passes in hand have ended.
    pub(crate) async fn stop(&mut self) {
        for Operator { stop, task } in self.operators.drain(..) {
            drop(stop);
            timeout(WAIT, task).await.expect("the operator does not end").unwrap();
        }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
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

    pub(crate) async fn until<K>(&self, name: &str, what: &str, condition: impl Condition<K>) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize
            + Send
            + 'static,
    {
        let outcome = timeout(WAIT, await_condition(self.api::<K>(), name, condition)).await;
        if outcome.is_err() {
            let now = self.api::<K>().get_opt(name).await.unwrap();
            println!("{}", serde_json::to_string_pretty(&now).unwrap());
        }
        assert!(outcome.is_ok(), "waited in vain in {} until {name} {what}: it stands above", self.namespace);
        outcome.unwrap().unwrap()
    }

    /// Makes the operator look at the archive again, and returns when a pass that began after the call has ended.
    pub(crate) async fn pass(&self, archive: &str) {
        // The first one may have been under way already, and the beginning of the third is the end of the second.
        for _ in 0..3 {
            let mark = self.mark();
            let touched =
                serde_json::json!({"metadata": {"annotations": {"test/touched": format!("{mark:?}")}}});
            self.api::<ArchiveCore>()
                .patch(archive, &PatchParams::default(), &Patch::Merge(&touched))
                .await
                .unwrap();
            self.seen(mark, "controllerrevisions", "list").await;
        }
    }

    /// Waits until the operator has made such a request since `mark`.
    pub(crate) async fn seen(&self, mark: Mark, resource: &str, verb: &str) {
        let is_it = |request: &Request| request.right.resource == resource && request.right.verb == verb;
        let begun = Instant::now();
        while !self.requests_since(mark).iter().any(is_it) {
            assert!(begun.elapsed() < WAIT, "the operator does not {verb} {resource}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How kstatus judges the object of that name.
    pub(crate) async fn standing<K>(&self, name: &str) -> Standing
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        standing(&serde_json::to_value(self.api::<K>().get(name).await.unwrap()).unwrap())
    }

    /// Runs the real kubectl in the namespace, without holding up the operator.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Ctl {
        let (cluster, namespace) = (self.cluster.clone(), self.namespace.clone());
        let arguments: Vec<_> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let run = move || {
            let mut all = vec!["--namespace", namespace.as_str()];
            all.extend(arguments.iter().map(String::as_str));
            cluster.kubectl(&all).unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Waits until nothing has been written for two seconds, and answers the mark from then on.
    pub(crate) async fn quiet(&self) -> Mark {
        let begun = Instant::now();
        loop {
            let mark = self.mark();
            sleep(Duration::from_secs(2)).await;
            if self.writes_since(mark).is_empty() {
                return self.mark();
            }
            assert!(
                begun.elapsed() < WAIT,
                "the operator does not come to rest: {:?}",
                self.writes_since(mark)
            );
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        self.cluster.requests().mark().unwrap()
    }

    pub(crate) fn requests_since(&self, mark: Mark) -> Vec<Request> {
        self.cluster.requests().since(mark, &self.user).unwrap()
    }

    pub(crate) fn writes_since(&self, mark: Mark) -> Vec<Request> {
        self.requests_since(mark).into_iter().filter(|request| request.right.writes()).collect()
    }
}

/// The object's condition of a type: its status and its reason.
pub(crate) fn state<K: Serialize>(object: &K, type_: &str) -> Option<(String, String)> {
    let object = serde_json::to_value(object).unwrap();
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == type_)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

/// The object of any kind has this condition, with the given status and reason (any, where that is empty).
pub(crate) fn is<K: Serialize>(
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
) -> impl Condition<K> {
    move |object: Option<&K>| {
        let found = object.and_then(|object| state(object, type_));
        found.is_some_and(|(found, why)| found == status && (reason.is_empty() || why == reason))
    }
}

/// Status and reason of a condition, and the generation it speaks of.
pub(crate) fn condition(archive: &ArchiveCore, type_: &str) -> Option<(String, String, i64)> {
    let conditions = &archive.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone(), found.observed_generation.unwrap_or(0)))
}

/// The condition has this status, and speaks of the object's present generation.
pub(crate) fn has(type_: &'static str, status: &'static str) -> impl Condition<ArchiveCore> {
    move |archive: Option<&ArchiveCore>| {
        archive.is_some_and(|archive| {
            condition(archive, type_).is_some_and(|(found, _, generation)| {
                found == status && Some(generation) == archive.meta().generation
            })
        })
    }
}

/// A small archive of profile Standalone.
pub(crate) fn standalone(name: &str) -> Value {
    serde_json::json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "ArchiveCore",
        "metadata": {"name": name},
        "spec": {
            "domain": "archive.example.org",
            "tenants": [{"name": "acme", "domains": ["acme.example"]}],
            "profile": "Standalone",
            "version": "0.1.0",
            "retention": {"default": "10y-received-forbidden"},
        },
    })
}

/// Names of the objects of one kind that belong to the archive `name`.
pub(crate) async fn names<K>(site: &Site, archive: &str) -> Vec<String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let selector = format!("app.kubernetes.io/instance={archive}");
    let found = site.api::<K>().list(&kube::api::ListParams::default().labels(&selector)).await.unwrap();
    let mut names: Vec<_> = found.items.iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}
