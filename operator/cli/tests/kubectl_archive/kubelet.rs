//! The one thing of a kubelet that port-forward needs: bytes from the API server to a port of a pod, which is a process here.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    thread,
};

use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// Binary frames, of which the first byte is the channel: 0 is data, 1 is what went wrong.
const PROTOCOL: &str = "v4.channel.k8s.io";
const HEADER: &str = "sec-websocket-protocol";

/// Ends when it is dropped.
pub(crate) struct Kubelet {
    asked: Arc<Mutex<Vec<String>>>,
    port: u16,
    _stop: oneshot::Sender<()>,
}

impl Kubelet {
    /// Every pod's port leads to `target`. On a thread of its own: the test blocks its thread while the program runs.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, port) = std::sync::mpsc::channel();
        let seen = asked.clone();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                bound.send(listener.local_addr().unwrap().port()).unwrap();
                tokio::select! {
                    () = serve(listener, target, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { asked, port: port.recv().unwrap(), _stop: stop }
    }

    /// The API server finds it where the cluster's one node says.
    pub(crate) async fn register(&self, client: Client) {
        let nodes: Api<Node> = Api::all(client);
        let name = nodes.list(&ListParams::default()).await.unwrap().items[0].name_any();
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }});
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// Path and query of each request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let issued = rcgen::generate_simple_self_signed(vec!["stand-in".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(forward(acceptor.clone(), stream, target, asked.clone()));
    }
}

async fn forward(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    target: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let stream = acceptor.accept(stream).await.unwrap();
    let mut port = 0_u16;
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        asked.lock().unwrap().push(request.uri().to_string());
        let query = request.uri().query().unwrap();
        port = query.strip_prefix("port=").unwrap().parse().unwrap();
        response.headers_mut().insert(HEADER, PROTOCOL.parse().unwrap());
        Ok(response)
    };
    let socket = accept_hdr_async(stream, answer).await.unwrap();
    let (mut to_client, mut from_client) = socket.split();
    let [low, high] = port.to_le_bytes();
    for channel in [0, 1] {
        to_client.send(Message::binary(vec![channel, low, high])).await.unwrap();
    }
    let (mut from_pod, mut to_pod) = TcpStream::connect(target).await.unwrap().into_split();
    let down = async {
        let mut frame = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_pod.read(&mut frame[1..]).await {
            if to_client.send(Message::binary(frame[..=read].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            let Message::Binary(frame) = message else { continue };
            if frame.first() == Some(&0) && to_pod.write_all(&frame[1..]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
    }
}
