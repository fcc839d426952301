#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, btree_map::Entry};

use openarchive_domain::{Digest, ParseError};
use openarchive_ledger::{
    jcs::{self, JcsError},
    leaf::parse_uuid_text,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    generations::{GenerationRange, Stage, skipped},
    leaf::ConfigLeaf,
    object_id::ObjectId,
    place,
    redact::{MacKey, RedactError, is_redacted, redact},
    subject::Subject,
};

/// Longest snapshot, in bytes of canonical JSON: with its metadata it stays below the 1 MiB that a ControllerRevision
/// may take and the 1.5 MiB that etcd takes in one request; a blob may be far larger.
pub const SNAPSHOT_BYTES_MAX: usize = 1_000_000;

const VERSION: u64 = 1;
/// Of a snapshot that says that the object was deleted: a program that does not know it says so, instead of calling it broken.
const VERSION_OF_DELETION: u64 = 2;

/// Why there is no snapshot. Names objects, fields and places, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Subject(#[from] ParseError),
    #[error("the uid is not a UUID in lowercase with hyphens")]
    Uid,
    #[error("the previous snapshot is of {0}: a chain is of one object")]
    OtherSubject(Subject),
    #[error(
        "generation {generation} was applied after generation {applied}: an object's generation never goes back"
    )]
    GenerationWentBack { generation: u64, applied: u64 },
    #[error("object {0} of the configuration lacks apiVersion, kind or metadata.name")]
    Unnamed(usize),
    #[error("the configuration holds {0} twice")]
    Twice(ObjectId),
    #[error("{object} cannot be recorded without its secret values: {reason}")]
    Secret { object: Box<ObjectId>, reason: RedactError },
    #[error("the value at {place} has no canonical form: {reason}")]
    Value { place: String, reason: JcsError },
    #[error(
        "the snapshot has {bytes} bytes, at most {SNAPSHOT_BYTES_MAX} can be kept: move large texts out of the \
         configuration"
    )]
    TooLarge { bytes: usize },
    #[error("the text is not exactly what a snapshot is in canonical JSON")]
    Form,
    #[error("the text is a snapshot of version {0}, which this program does not know")]
    Version(u64),
    #[error("the snapshot holds {0} with a value of a Secret, an address, or what is not configuration")]
    NotRedacted(ObjectId),
}

/// Who deletes is told to nobody.
const UNKNOWN_MANAGER: &str = "unknown";

/// A configuration that was applied. `objects` are as built and hold Secrets in clear: it is never shown nor kept.
pub struct Applied {
    pub subject: Subject,
    /// Of the object, as the API server gave it.
    pub uid: String,
    pub generation: u64,
    pub operator_version: String,
    /// The field manager that last wrote the spec: a name that the client chose, not an identity. `unknown` for deletes.
    pub client_declared_manager: String,
    pub spec: Value,
    pub objects: Vec<Value>,
}

/// The key that stands behind the HMACs of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsMac {
    /// Name of the Secret that keeps the key.
    pub key: String,
    pub version: u32,
}

/// An applied configuration in canonical JSON (RFC 8785), the form that is hashed and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    content: Content,
    subject: Subject,
    json: Value,
    canonical: String,
    digest: Digest,
}

/// The stored format, versions 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    v: u64,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    generation: u64,
    skipped_generations: Vec<GenerationRange>,
    operator_version: String,
    client_declared_manager: String,
    spec: Value,
    objects: Vec<Value>,
    secrets_mac: SecretsMac,
    #[serde(with = "digest_or_null")]
    previous: Option<Digest>,
    /// In version 2 alone, and always true there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl Content {
    /// Nothing is built from what was deleted.
    const fn is_of_its_version(&self) -> bool {
        match self.v {
            VERSION => !self.deleted,
            VERSION_OF_DELETION => self.deleted && self.objects.is_empty(),
            _ => false,
        }
    }
}

impl Snapshot {
    /// The snapshot of what was applied after `previous`, the last one of the same object by kind and name.
    ///
    /// Integers beyond 2^53 and numbers with a fraction are refused and named by their place: their canonical text would
    /// depend on how a reader rounds. Kubernetes writes quantities as strings.
    pub fn take(applied: Applied, mac: &MacKey, previous: Option<&Self>) -> Result<Self, SnapshotError> {
        Self::take_after(applied, mac, previous.map(ConfigLeaf::of).as_ref())
    }

    /// As [`Self::take`], where the snapshot before is not at hand any more: what the ledger says of it is enough.
    pub fn take_after(
        applied: Applied,
        mac: &MacKey,
        previous: Option<&ConfigLeaf>,
    ) -> Result<Self, SnapshotError> {
        Self::of(VERSION, applied, mac, previous)
    }

    /// The last snapshot of an object: its specification as it stood when somebody deleted it, and no objects any more.
    /// `applied` is what would be applied of it otherwise; of it neither objects nor manager count: the API server tells
    /// nobody who deletes.
    pub fn take_deletion(
        applied: Applied,
        mac: &MacKey,
        previous: Option<&ConfigLeaf>,
    ) -> Result<Self, SnapshotError> {
        let gone =
            Applied { client_declared_manager: UNKNOWN_MANAGER.to_owned(), objects: Vec::new(), ..applied };
        Self::of(VERSION_OF_DELETION, gone, mac, previous)
    }

    fn of(
        version: u64,
        applied: Applied,
        mac: &MacKey,
        previous: Option<&ConfigLeaf>,
    ) -> Result<Self, SnapshotError> {
        let Applied { subject, uid, generation, operator_version, client_declared_manager, spec, objects } =
            applied;
        if let Some(other) = previous.filter(|previous| previous.subject != subject) {
            return Err(SnapshotError::OtherSubject(other.subject.clone()));
        }
        let went_back = || SnapshotError::GenerationWentBack {
            generation,
            applied: previous.map_or(0, |previous| previous.generation),
        };
        let before = previous.map(ConfigLeaf::stage);
        let skipped_generations = skipped(before, Stage { uid: &uid, generation }).ok_or_else(went_back)?;
        Self::of_content(Content {
            v: version,
            kind: subject.kind().to_owned(),
            namespace: subject.namespace().to_owned(),
            name: subject.name().to_owned(),
            uid,
            generation,
            skipped_generations,
            operator_version,
            client_declared_manager,
            spec,
            objects: sorted(objects, mac)?,
            secrets_mac: SecretsMac { key: mac.name().to_owned(), version: mac.version() },
            previous: previous.map(|previous| previous.sha256),
            deleted: version == VERSION_OF_DELETION,
        })
    }

    /// Reads exactly what [`Self::canonical`] writes: sorted, without a value of a Secret, without a field too many.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        if text.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(text).map_err(|_| SnapshotError::Form)?;
        let is_known = |version: &u64| matches!(*version, VERSION | VERSION_OF_DELETION);
        if let Some(version) = value["v"].as_u64().filter(|version| !is_known(version)) {
            return Err(SnapshotError::Version(version));
        }
        // The parser's own message could quote a value.
        let content: Content = serde_json::from_value(value).map_err(|_| SnapshotError::Form)?;
        if !content.is_of_its_version() {
            return Err(SnapshotError::Form);
        }
        let mut last = None;
        for (position, object) in content.objects.iter().enumerate() {
            let id = ObjectId::of(object).ok_or(SnapshotError::Unnamed(position))?;
            if !is_redacted(object) {
                return Err(SnapshotError::NotRedacted(id));
            }
            if last.is_some_and(|last| last >= id) {
                return Err(SnapshotError::Form);
            }
            last = Some(id);
        }
        let snapshot = Self::of_content(content)?;
        if snapshot.canonical == text { Ok(snapshot) } else { Err(SnapshotError::Form) }
    }

    /// Reads a snapshot out of JSON that somebody else may have written anew, as the API server does.
    pub(crate) fn of_value(value: &Value) -> Result<Self, SnapshotError> {
        Self::parse(&canonical(value)?)
    }

    fn of_content(content: Content) -> Result<Self, SnapshotError> {
        let subject = Subject::new(&content.kind, &content.namespace, &content.name)?;
        if parse_uuid_text(&content.uid).is_none() {
            return Err(SnapshotError::Uid);
        }
        let json = serde_json::to_value(&content).map_err(|_| SnapshotError::Form)?;
        let canonical = canonical(&json)?;
        if canonical.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::TooLarge { bytes: canonical.len() });
        }
        let digest = Digest::of(canonical.as_bytes());
        Ok(Self { content, subject, json, canonical, digest })
    }

    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    pub fn uid(&self) -> &str {
        &self.content.uid
    }

    pub const fn generation(&self) -> u64 {
        self.content.generation
    }

    /// Generations that were never applied, since the snapshot before or since the object was made.
    pub fn skipped_generations(&self) -> &[GenerationRange] {
        &self.content.skipped_generations
    }

    pub fn operator_version(&self) -> &str {
        &self.content.operator_version
    }

    pub fn client_declared_manager(&self) -> &str {
        &self.content.client_declared_manager
    }

    pub const fn spec(&self) -> &Value {
        &self.content.spec
    }

    /// Whether it says that the object was deleted.
    pub const fn is_deletion(&self) -> bool {
        self.content.deleted
    }

    /// Sorted by apiVersion, kind, namespace, name.
    pub fn objects(&self) -> &[Value] {
        &self.content.objects
    }

    pub const fn secrets_mac(&self) -> &SecretsMac {
        &self.content.secrets_mac
    }

    /// Digest of the snapshot before; none in the first of a chain.
    pub const fn previous(&self) -> Option<Digest> {
        self.content.previous
    }

    /// The whole of it, as JSON.
    pub const fn json(&self) -> &Value {
        &self.json
    }

    /// The bytes that are hashed, and the blob of kind `config`.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// SHA-256 of [`Self::canonical`].
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn stage(&self) -> Stage<'_> {
        Stage { uid: self.uid(), generation: self.generation() }
    }
}

fn sorted(objects: Vec<Value>, mac: &MacKey) -> Result<Vec<Value>, SnapshotError> {
    let mut sorted = BTreeMap::new();
    for (position, mut object) in objects.into_iter().enumerate() {
        let id = ObjectId::of(&object).ok_or(SnapshotError::Unnamed(position))?;
        redact(&mut object, mac)
            .map_err(|reason| SnapshotError::Secret { object: Box::new(id.clone()), reason })?;
        match sorted.entry(id) {
            Entry::Vacant(place) => place.insert(object),
            Entry::Occupied(place) => return Err(SnapshotError::Twice(place.key().clone())),
        };
    }
    Ok(sorted.into_values().collect())
}

fn canonical(value: &Value) -> Result<String, SnapshotError> {
    jcs::canonicalize(value)
        .map_err(|reason| SnapshotError::Value { place: place::of_fault(value, String::new()), reason })
}

/// `sha256:<hex>` or null, and no other writing of it.
mod digest_or_null {
    use openarchive_domain::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        digest: &Option<Digest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.collect_str(digest),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Digest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let digest: Option<Digest> = text.parse().ok().filter(|digest: &Digest| digest.to_string() == text);
        digest.map(Some).ok_or_else(|| D::Error::custom("not a digest"))
    }
}
