//! The store with a server that responds like S3, including rare responses.

use super::*;
use aws_config::BehaviorVersion;
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider};
use aws_smithy_types::retry::RetryConfig;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const DATES: &str =
    "Date: Sat, 28 Nov 2026 12:00:40 GMT\r\nLast-Modified: Sat, 28 Nov 2026 12:00:00 GMT\r\nETag: \"1\"\r\n";

/// Answers one request after another with these responses, each on its own connection, and returns the requests.
fn serve(answers: Vec<String>) -> (S3Store, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (connection, _) = listener.accept().unwrap();
            asked.push(exchange(connection, &answer));
        }
        asked
    });
    aws::install_tls();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build();
    (S3Store::new(&config, "bucket", None), served)
}

/// Reads a request with its body and answers it; returns its first line.
fn exchange(mut connection: TcpStream, answer: &str) -> String {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    connection.write_all(answer.as_bytes()).unwrap();
    first
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{DATES}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn error(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>It was so.</Message><RequestId>4711</RequestId></Error>");
    format!(
        "HTTP/1.1 {status}\r\n{DATES}x-amz-request-id: 4711\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_object_is_as_old_as_the_store_says() {
    let (store, served) = serve(vec![ok("x"), error("404 Not Found", "NoSuchKey")]);
    let read = store.get("key").await.unwrap();
    assert_eq!(read.object.unwrap().age(read.at), Duration::from_secs(40));
    let read = store.get("key").await.unwrap();
    assert_eq!(
        (read.object, read.at),
        (None, "2026-11-28T12:00:40Z".parse().unwrap()),
        "an absent object has a time too"
    );
    served.join().unwrap();
}

#[tokio::test]
async fn half_a_body_is_read_again() {
    let half = ok("whole").replace("\r\n\r\nwhole", "\r\n\r\nwh");
    let (store, served) = serve(vec![half.clone(), half.clone(), ok("whole")]);
    assert_eq!(store.get("key").await.unwrap().object.unwrap().body, b"whole");
    served.join().unwrap();
    let (store, served) = serve(vec![half.clone(), half.clone(), half]);
    let said = store.get("key").await.unwrap_err().to_string();
    assert_eq!(said, "cannot read s3://bucket/key: the body did not arrive completely");
    served.join().unwrap();
}

#[tokio::test]
async fn what_is_larger_than_a_mebibyte_is_not_read() {
    let (store, served) = serve(vec![ok(&"x".repeat(LARGEST + 1)), ok(&"x".repeat(LARGEST))]);
    let Err(StoreError::Garbled { etag, cause, .. }) = store.get("key").await else { panic!("it was read") };
    assert_eq!((etag.as_str(), cause.as_str()), ("\"1\"", "it is larger than 1024 KiB, the limit for reading"));
    assert_eq!(store.get("key").await.unwrap().object.unwrap().body.len(), LARGEST);
    served.join().unwrap();
}

#[tokio::test]
async fn a_write_beside_another_conditional_one_is_tried_again() {
    let busy = error("409 Conflict", "ConditionalRequestConflict");
    let (store, served) = serve(vec![busy.clone(), busy.clone(), ok("")]);
    assert_eq!(store.put("key", b"x".to_vec(), When::Unchanged("\"0\"")).await.unwrap(), "\"1\"");
    served.join().unwrap();
    // The other write was first.
    let (store, served) = serve(vec![busy.clone(), error("412 Precondition Failed", "PreconditionFailed")]);
    let refused = store.put("key", b"x".to_vec(), When::Unchanged("\"0\"")).await;
    assert_eq!(refused, Err(StoreError::Conflict { key: "key".to_owned() }));
    served.join().unwrap();
    let (store, served) = serve(vec![busy; WRITES as usize]);
    let said = store.put("key", b"x".to_vec(), When::Absent).await.unwrap_err().to_string();
    assert_eq!(said, "cannot write s3://bucket/key: ConditionalRequestConflict: It was so. (request id 4711)");
    served.join().unwrap();
}

#[tokio::test]
async fn a_write_whose_answer_names_no_version_may_not_have_happened() {
    let nameless = ok("").replace("ETag", "X-Other");
    let (store, served) = serve(vec![nameless.clone(), nameless]);
    let said = store.put("key", b"x".to_vec(), When::Absent).await.unwrap_err().to_string();
    assert_eq!(said, "cannot write s3://bucket/key: the response has no version of the object (ETag)");
    assert!(store.get("key").await.is_err());
    served.join().unwrap();
}

#[tokio::test]
async fn a_list_ends_where_it_should_and_never_continues_for_ever() {
    let page = |keys: &[&str], next: usize| {
        let object =
            |key| format!("<Contents><Key>{key}</Key><LastModified>2026-11-28T12:00:00.000Z</LastModified></Contents>");
        let all = keys.iter().map(object).collect::<Vec<_>>().concat();
        let next = format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>");
        ok(&format!("<ListBucketResult>{all}{next}</ListBucketResult>"))
    };
    let (store, served) = serve(vec![page(&["p/a", "p/b"], 1), page(&["p/c", "p/x"], 2)]);
    let listed = store.list(Keys { before: Some("p/d"), ..Keys::below("p/") }).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["p/a", "p/b", "p/c"]);
    assert!(served.join().unwrap()[0].contains("max-keys=100"));
    let (store, served) = serve((0..PAGES as usize).map(|number| page(&["p/a"], number)).collect());
    let said = store.list(Keys { after: Some("p/0"), ..Keys::below("p/") }).await.unwrap_err().to_string();
    assert!(said.contains("more than 100 pages"), "{said}");
    assert!(served.join().unwrap()[0].contains("start-after=p%2F0"));
}

#[tokio::test]
async fn an_error_is_reported_without_rusts_own_words() {
    let (store, served) = serve(vec![error("403 Forbidden", "AccessDenied"), String::new()]);
    let said = store.get("key").await.unwrap_err().to_string();
    assert_eq!(said, "cannot read s3://bucket/key: AccessDenied: It was so. (request id 4711)");
    let said = store.get("key").await.unwrap_err().to_string();
    assert_eq!(said, "cannot read s3://bucket/key: connection closed before message completed");
    served.join().unwrap();
    let said = store.get("key").await.unwrap_err().to_string();
    assert!(said.starts_with("cannot read s3://bucket/key: Connection refused"), "{said}");
    let (store, served) =
        serve(vec!["HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy!".to_owned()]);
    let said = store.get("key").await.unwrap_err().to_string();
    assert_eq!(said, "cannot read s3://bucket/key: HTTP 503");
    served.join().unwrap();
}
