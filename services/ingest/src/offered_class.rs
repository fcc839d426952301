//! Which retention class an offered mail is in.

use openarchive_domain::{AgentRef, RetentionClass};

use crate::{
    core::Core,
    failure::Failure,
    observation_rows::{self, SeatKey},
    offer::Offer,
};

/// The class of an offered mail, and what it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferedClass {
    /// The mail was observed at this seat: its leaf has said the class, whatever the rule says today.
    Standing(RetentionClass),
    /// Today's rule.
    Rule(RetentionClass),
}

impl OfferedClass {
    pub(crate) const fn class(self) -> RetentionClass {
        match self {
            Self::Standing(class) | Self::Rule(class) => class,
        }
    }
}

/// In the order of the offers.
pub(crate) async fn classes_of(
    core: &Core,
    agent: &AgentRef,
    offers: &[&Offer],
) -> Result<Vec<OfferedClass>, Failure> {
    let seats: Vec<SeatKey> = offers.iter().map(|offer| (agent.name.clone(), offer.seat)).collect();
    let standing = observation_rows::at_seats(&core.pool, &agent.tenant, &seats).await?;
    let class = |(offer, seat): (&&Offer, &SeatKey)| match standing.get(seat) {
        Some(row) if row.message == offer.message => OfferedClass::Standing(row.class),
        _ => OfferedClass::Rule(core.retention.class_of(offer)),
    };
    Ok(offers.iter().zip(&seats).map(class).collect())
}
