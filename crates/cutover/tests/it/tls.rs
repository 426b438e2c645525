//! Probes over HTTPS with a real TLS server: accepted with a bundle, rejected without it or with the wrong name.

use cutover::probe::{Client as _, Clients as _, HttpClients, HttpOptions, Reply, Site};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::record::{Connection, Failure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server for `alb.example`, whose certificate a new authority signed.
struct Server {
    address: SocketAddr,
    authority: CertificateDer<'static>,
}

impl Server {
    async fn start() -> Self {
        aws::install_tls();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["alb.example".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![own.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate closes the connection.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
                });
            }
        });
        Self { address, authority }
    }

    async fn ask(&self, url: &str, roots: Vec<CertificateDer<'static>>) -> Reply {
        let options = HttpOptions {
            prod_url: url.to_owned(),
            dev_url: url.to_owned(),
            connect_to: format!("::127.0.0.1:{}", self.address.port()).parse().unwrap(),
            roots,
        };
        let client = HttpClients::new(options).open(Site::Prod, "/", Some("x-app-version")).await.unwrap();
        client.send(self.address, Connection::Fresh).await
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let host = request.headers().get("host").unwrap().to_str().unwrap();
    Ok(Response::builder().header("x-app-version", host).body(Full::from("hello")).unwrap())
}

#[tokio::test]
async fn a_certificate_of_the_bundle_is_trusted() {
    let server = Server::start().await;
    let reply = server.ask("https://alb.example:8443", vec![server.authority.clone()]).await;
    assert_eq!((reply.status, reply.version.as_deref()), (Some(200), Some("alb.example:8443")), "{reply:?}");
}

#[tokio::test]
async fn a_certificate_of_nobody_known_is_no_connection() {
    let server = Server::start().await;
    let (failure, detail) = server.ask("https://alb.example", Vec::new()).await.failure.unwrap();
    assert_eq!(failure, Failure::Connect);
    assert!(detail.contains("UnknownIssuer") || detail.contains("certificate"), "{detail}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_no_connection() {
    let server = Server::start().await;
    let reply = server.ask("https://other.example", vec![server.authority.clone()]).await;
    assert_eq!(reply.failure.unwrap().0, Failure::Connect);
}
