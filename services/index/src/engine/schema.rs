//! What stands in the index, and under which names.

use openarchive_domain::{Digest, Tenant};
use tantivy::{
    Term,
    schema::{
        BytesOptions, Field, IndexRecordOption, NumericOptions, Schema, SchemaBuilder, TextFieldIndexing,
        TextOptions,
    },
};

use super::tokens::TOKENIZER;
use crate::query;

pub(super) const DATE: &str = "date";
pub(super) const SEQUENCE: &str = "sequence";
pub(super) const PARTLY_INDEXED: &str = "partly_indexed";
pub(super) const OBSERVATIONS: &str = "observations";
/// The digest in four big-endian words, so that comparing them in order is comparing digests.
pub(super) const DIGEST: [&str; 4] = ["digest0", "digest1", "digest2", "digest3"];

/// Stands for "no date": sorts after every date, and no range reaches it.
pub(super) const NO_DATE: i64 = i64::MIN;

/// Value of the field for mail with attachments; mail without has no value.
pub(super) const HAS_ATTACHMENT: u64 = 1;

#[derive(Clone)]
pub(super) struct Fields {
    /// Tenant and digest: the identity of a document.
    pub(super) identity: Field,
    pub(super) tenant: Field,
    pub(super) from: Field,
    pub(super) to: Field,
    pub(super) cc: Field,
    pub(super) bcc: Field,
    pub(super) participant: Field,
    pub(super) subject: Field,
    pub(super) body: Field,
    pub(super) attachment: Field,
    pub(super) message_id: Field,
    pub(super) agent: Field,
    pub(super) has_attachment: Field,
    /// In bytes.
    pub(super) length: Field,
    pub(super) date: Field,
    pub(super) sequence: Field,
    pub(super) partly_indexed: Field,
    pub(super) observations: Field,
    pub(super) digest: [Field; 4],
}

impl Fields {
    /// The schema and its fields. A change here is a new [`super::open::FORMAT`].
    pub(super) fn schema() -> (Schema, Self) {
        let mut schema = SchemaBuilder::new();
        let words = TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer(TOKENIZER)
                .set_fieldnorms(false)
                .set_index_option(IndexRecordOption::WithFreqsAndPositions),
        );
        let whole = TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("raw")
                .set_fieldnorms(false)
                .set_index_option(IndexRecordOption::Basic),
        );
        let key = BytesOptions::default().set_indexed();
        let column = NumericOptions::default().set_fast();
        let fields = Self {
            identity: schema.add_bytes_field("identity", key.clone()),
            tenant: schema.add_bytes_field("tenant", key),
            from: schema.add_text_field("from", words.clone()),
            to: schema.add_text_field("to", words.clone()),
            cc: schema.add_text_field("cc", words.clone()),
            bcc: schema.add_text_field("bcc", words.clone()),
            participant: schema.add_text_field("participant", words.clone()),
            subject: schema.add_text_field("subject", words.clone()),
            body: schema.add_text_field("body", words.clone()),
            attachment: schema.add_text_field("attachment", words),
            message_id: schema.add_text_field("message_id", whole.clone()),
            agent: schema.add_text_field("agent", whole),
            has_attachment: schema.add_u64_field("has_attachment", NumericOptions::default().set_indexed()),
            length: schema.add_u64_field("length", column.clone()),
            date: schema.add_i64_field(DATE, column.clone()),
            sequence: schema.add_u64_field(SEQUENCE, column.clone()),
            partly_indexed: schema.add_u64_field(PARTLY_INDEXED, column.clone()),
            observations: schema.add_u64_field(OBSERVATIONS, column.clone()),
            digest: DIGEST.map(|name| schema.add_u64_field(name, column.clone())),
        };
        (schema.build(), fields)
    }

    pub(super) fn identity_term(&self, tenant: &Tenant, message: &Digest) -> Term {
        Term::from_field_bytes(self.identity, &identity(tenant, message))
    }

    pub(super) fn tenant_term(&self, tenant: &Tenant) -> Term {
        Term::from_field_bytes(self.tenant, tenant.as_str().as_bytes())
    }

    /// The fields to look into, those of words and those of addresses apart.
    pub(super) fn of(&self, field: query::Field) -> (Vec<Field>, Vec<Field>) {
        use query::Field as Named;
        match field {
            Named::Anywhere => (vec![self.subject, self.body, self.attachment], vec![self.participant]),
            Named::From => (vec![], vec![self.from]),
            Named::To => (vec![], vec![self.to]),
            Named::Cc => (vec![], vec![self.cc]),
            Named::Bcc => (vec![], vec![self.bcc]),
            Named::Participant => (vec![], vec![self.participant]),
            Named::Subject => (vec![self.subject], vec![]),
            Named::Body => (vec![self.body], vec![]),
            Named::Attachment => (vec![self.attachment], vec![]),
            Named::MessageId => (vec![self.message_id], vec![]),
            Named::Agent => (vec![self.agent], vec![]),
        }
    }
}

/// A tenant's name has no NUL, so no two documents share an identity.
pub(super) fn identity(tenant: &Tenant, message: &Digest) -> Vec<u8> {
    let mut bytes = tenant.as_str().as_bytes().to_vec();
    bytes.push(0);
    bytes.extend(message.as_bytes());
    bytes
}

pub(super) fn digest_words(digest: &Digest) -> [u64; 4] {
    let (words, _) = digest.as_bytes().as_chunks::<8>();
    let mut out = [0; 4];
    for (out, word) in out.iter_mut().zip(words) {
        *out = u64::from_be_bytes(*word);
    }
    out
}

pub(super) fn digest_of_words(words: [u64; 4]) -> Digest {
    let mut bytes = [0; 32];
    let (chunks, _) = bytes.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_be_bytes();
    }
    Digest::from_bytes(bytes)
}
