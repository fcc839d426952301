//! An index that is lost, or left by another version and made anew, while everything else goes on.

use std::{
    convert::Infallible,
    sync::{Arc, RwLock},
    task::{Context, Poll},
};

use axum::http::{Request, Response};
use openarchive_index::IndexServer;
use openarchive_proto::index::v1::index_service_server::{IndexService, IndexServiceServer};
use tonic::{body::Body, codegen::Service, server::NamedService};

use crate::archive::Archive;

type Served = IndexServiceServer<IndexServer>;

/// The index's place, as a restart fills it: what is called is whatever stands there now.
#[derive(Clone)]
pub(crate) struct IndexPlace(Arc<RwLock<Served>>);

impl IndexPlace {
    pub(crate) fn new(index: Served) -> Self {
        Self(Arc::new(RwLock::new(index)))
    }

    pub(crate) fn replace(&self, index: Served) {
        *self.0.write().unwrap() = index;
    }
}

impl NamedService for IndexPlace {
    const NAME: &'static str = Served::NAME;
}

impl Service<Request<Body>> for IndexPlace
where
    IndexServer: IndexService,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Served as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut index = self.0.read().unwrap().clone();
        index.call(request)
    }
}

#[tokio::test]
async fn an_index_that_is_new_while_the_worker_runs_is_filled_again_with_everything() {
    let archive = Archive::start().await;
    let mails: Vec<Vec<u8>> =
        (0..20).map(|n| format!("Subject: mail {n}\r\n\r\ntext {n}\r\n").into_bytes()).collect();
    archive.archive(&mails.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    archive.replace_index().await;
    archive.wait_found("mail", 20).await;
    archive.wait_found("agent:mx1 size:1..", 20).await;
}
