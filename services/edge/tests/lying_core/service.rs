//! The archive behind real gRPC on a real socket, for one agent or for several.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use openarchive_domain::{AgentRef, Digest, RetentionClass};
use openarchive_proto::ingest::v1::{
    self as proto,
    agent_service_server::{AgentService, AgentServiceServer},
    upload_blobs_request::Item,
};
use openarchive_rpc::{RpcChannel, refusal};
use openarchive_testkit::ports::free_port;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Endpoint, Server, ServerTlsConfig},
};

use super::archive::{Archive, Fault, Lie, ORIGIN, signer};

/// Longest wait for the tasks of a core that is stopped.
const STOP_SECONDS_MAX: Duration = Duration::from_secs(10);

/// Handles to one archive.
#[derive(Clone)]
pub(crate) struct SharedArchive(Arc<Mutex<Archive>>);

impl SharedArchive {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Archive::new())))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Archive> {
        self.0.lock().unwrap()
    }

    /// Serves one agent until the answer is dropped. Port 0: one that stays free for whoever serves there again.
    pub(crate) fn serve(&self, agent: &str, port: u16) -> Serving {
        self.serve_over(agent, port, None)
    }

    pub(crate) fn serve_over(&self, agent: &str, port: u16, tls: Option<ServerTlsConfig>) -> Serving {
        let core = Core { agent: agent.parse().unwrap(), archive: self.clone() };
        // A runtime of its own: dropping it cuts all connections, as a kill would.
        let runtime = Runtime::new().unwrap();
        let port = if port == 0 { free_port() } else { port };
        let listener = runtime.block_on_here(TcpListener::bind(("127.0.0.1", port)));
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let mut server = Server::builder();
            if let Some(tls) = tls {
                server = server.tls_config(tls).unwrap();
            }
            let service = AgentServiceServer::new(core).max_decoding_message_size(64 * 1024 * 1024);
            server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Serving { address, runtime: Some(runtime) }
    }
}

/// Binding from inside another runtime.
trait BlockOnHere {
    fn block_on_here(
        &self,
        bind: impl Future<Output = std::io::Result<TcpListener>> + Send + 'static,
    ) -> TcpListener;
}

impl BlockOnHere for Runtime {
    fn block_on_here(
        &self,
        bind: impl Future<Output = std::io::Result<TcpListener>> + Send + 'static,
    ) -> TcpListener {
        let (send, receive) = std::sync::mpsc::channel();
        self.spawn(async move { send.send(bind.await) });
        receive.recv().unwrap().unwrap()
    }
}

/// A core that is reachable.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Serving {
    pub(crate) fn channel(&self) -> RpcChannel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy().into()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // From a thread that may wait: until its socket is closed, nobody else can listen there.
            let stopped = thread::spawn(move || runtime.shutdown_timeout(STOP_SECONDS_MAX)).join();
            assert!(thread::panicking() || stopped.is_ok());
        }
    }
}

struct Core {
    agent: AgentRef,
    archive: SharedArchive,
}

impl Core {
    fn archive(&self) -> Result<MutexGuard<'_, Archive>, Status> {
        let archive = self.archive.lock();
        if archive.fault == Some(Fault::Away) { Err(Status::unavailable("away")) } else { Ok(archive) }
    }
}

fn is_refused(archive: &Archive, offer: &proto::Offer) -> bool {
    let from = &offer.envelope.as_ref().unwrap().from;
    matches!(archive.fault, Some(Fault::RefusesSender(sender)) if sender == from)
}

fn is_torn(archive: &Archive, offer: &proto::Offer) -> bool {
    let from = &offer.envelope.as_ref().unwrap().from;
    matches!(archive.fault, Some(Fault::KeepsChangingClass(sender)) if sender == from)
}

#[tonic::async_trait]
impl AgentService for Core {
    type OfferMessagesStream =
        Pin<Box<dyn Stream<Item = Result<proto::OfferMessagesResponse, Status>> + Send>>;

    async fn offer_messages(
        &self,
        request: Request<Streaming<proto::OfferMessagesRequest>>,
    ) -> Result<Response<Self::OfferMessagesStream>, Status> {
        let mut offers = request.into_inner();
        let mut answers = Vec::new();
        while let Some(offer) = offers.next().await {
            let offer = offer?.offer.unwrap();
            let archive = self.archive()?;
            if is_refused(&archive, &offer) {
                return Err(Status::invalid_argument("offer.envelope.from must be another"));
            }
            let class = RetentionClass::DEFAULT.to_string();
            let proto::MissingBlobs { skeleton, parts } = archive.missing(&class, &offer);
            answers.push(Ok(proto::OfferMessagesResponse {
                seq: offer.seq,
                class,
                skeleton_missing: skeleton,
                missing_parts: parts,
            }));
        }
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn upload_blobs(
        &self,
        request: Request<Streaming<proto::UploadBlobsRequest>>,
    ) -> Result<Response<proto::UploadBlobsResponse>, Status> {
        let mut items = request.into_inner();
        let mut blobs: Vec<(proto::UploadHeader, Vec<u8>)> = Vec::new();
        while let Some(item) = items.next().await {
            match item?.item.unwrap() {
                Item::Header(header) => blobs.push((header, Vec::new())),
                Item::Chunk(chunk) => {
                    assert!(chunk.len() <= 256 * 1024);
                    blobs.last_mut().unwrap().1.extend_from_slice(&chunk);
                }
            }
        }
        let mut archive = self.archive()?;
        let stored = blobs.len() as u32;
        for (header, bytes) in blobs {
            let digest = Digest::of(&bytes);
            if digest.as_bytes()[..] != header.digest[..] || bytes.len() as u64 != header.length {
                return Err(Status::invalid_argument("a blob has other content"));
            }
            archive.uploads.push(digest);
            archive.blobs.insert((header.class, header.role, digest), bytes);
        }
        if archive.fault == Some(Fault::LosesUploads) {
            archive.fault = None;
            archive.blobs.clear();
        }
        Ok(Response::new(proto::UploadBlobsResponse { stored, already_there: 0 }))
    }

    async fn commit_messages(
        &self,
        request: Request<proto::CommitMessagesRequest>,
    ) -> Result<Response<proto::CommitMessagesResponse>, Status> {
        let items = request.into_inner().items;
        let mut archive = self.archive()?;
        if items.iter().any(|item| is_torn(&archive, item.offer.as_ref().unwrap())) {
            return Err(refusal(Code::Aborted, "CLASS_CHANGED", "items[0] is of another class by now"));
        }
        let results = archive.commit(&self.agent, &items);
        Ok(Response::new(proto::CommitMessagesResponse { results }))
    }

    async fn enrol(&self, _: Request<proto::EnrolRequest>) -> Result<Response<proto::EnrolResponse>, Status> {
        Err(Status::unimplemented("this archive lets nobody in"))
    }

    async fn renew_certificate(
        &self,
        _: Request<proto::RenewCertificateRequest>,
    ) -> Result<Response<proto::RenewCertificateResponse>, Status> {
        Err(Status::unimplemented("this archive issues no certificates"))
    }

    async fn report_status(
        &self,
        request: Request<proto::ReportStatusRequest>,
    ) -> Result<Response<proto::ReportStatusResponse>, Status> {
        let report = request.into_inner();
        let instance = report.instance.as_ref().try_into().unwrap();
        let mut archive = self.archive()?;
        let highest = archive.highest.get(&(instance, report.agent_epoch)).copied();
        archive.reports.push(report);
        Ok(Response::new(proto::ReportStatusResponse {
            highest_seq: highest.unwrap_or(0),
            origin: ORIGIN.to_owned(),
            verifier_key: signer(ORIGIN, 1).verifier().to_string(),
        }))
    }

    async fn get_consistency(
        &self,
        request: Request<proto::GetConsistencyRequest>,
    ) -> Result<Response<proto::GetConsistencyResponse>, Status> {
        let proto::GetConsistencyRequest { old_size, new_size } = request.into_inner();
        let archive = self.archive()?;
        if archive.lie == Some(Lie::NoConsistency) {
            return Err(Status::not_found("no such tree"));
        }
        let hashes = archive.consistency(old_size, new_size);
        let hashes = hashes.iter().map(|hash| hash.as_bytes().to_vec().into()).collect();
        Ok(Response::new(proto::GetConsistencyResponse { hashes }))
    }
}
