//! Fixtures for tests and for the demo. Nothing here is part of the product.

pub mod database;
pub mod mailbox;
pub mod ports;
pub mod sample_mail;
pub mod smtp_client;
