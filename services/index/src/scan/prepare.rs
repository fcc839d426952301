use openarchive_domain::Tenant;

use crate::{
    Address, Document,
    analyser::{AddressTokens, Token, analyse, normalise_message_id},
    engine::Hit,
};

/// The words of one text, in order.
pub(super) type Words = Vec<String>;

/// A document's words.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) tenant: Tenant,
    pub(super) hit: Hit,
    pub(super) from: Vec<Person>,
    pub(super) to: Vec<Person>,
    pub(super) cc: Vec<Person>,
    pub(super) bcc: Vec<Person>,
    pub(super) participants: Vec<Person>,
    pub(super) subject: Words,
    pub(super) body: Words,
    pub(super) attachments: Vec<Words>,
    pub(super) message_id: Option<String>,
    pub(super) has_attachment: bool,
    pub(super) length: u64,
    pub(super) observations: u64,
    pub(super) agents: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: Words,
    pub(super) local: Words,
    pub(super) whole: Option<String>,
    pub(super) domain: Option<String>,
}

impl Prepared {
    pub(super) fn of(document: &Document) -> Self {
        let people = |list: &Vec<Address>| list.iter().map(Person::of).collect();
        Self {
            tenant: document.tenant.clone(),
            hit: Hit {
                message: document.message,
                date: document.date,
                partly_indexed: document.partly_indexed,
            },
            from: people(&document.from),
            to: people(&document.to),
            cc: people(&document.cc),
            bcc: people(&document.bcc),
            participants: document.all_participants().map(Person::of).collect(),
            subject: words(analyse(&document.subject)),
            body: words(analyse(&document.body)),
            attachments: document.attachments.iter().map(|name| words(analyse(name))).collect(),
            message_id: document.message_id.as_deref().map(normalise_message_id),
            has_attachment: document.has_attachment,
            length: document.length,
            observations: document.observations,
            agents: document.agents.clone(),
        }
    }
}

impl Person {
    fn of(address: &Address) -> Self {
        let AddressTokens { name, local, whole, domain } = AddressTokens::of(address);
        Self { name: words(name), local: words(local), whole, domain }
    }
}

fn words(tokens: Vec<Token>) -> Words {
    tokens.into_iter().map(|token| token.text).collect()
}
