//! A release over HTTPS: the command and the function verify the certificate of the load balancer, under the domain name of
//! the service.

use crate::support::{Cloud, Said, project};

const SETTINGS: &str = "[app]\ncargo = \"faulty\"\ncount = 1\n[health_check]\ngrace_period = 1\n[https]\n\
                        certificate = \"arn:aws:acm:us-east-1:111122223333:certificate/0b2f9a3e-6d1c-4f9b-8a47-2c9f1d3e5a70\"\n\
                        domain = \"shop.example\"\n";

#[test]
fn a_cutover_over_https_verifies_the_certificate_and_fails_no_probe() {
    let cloud = Cloud::start([443, 8443]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bluegreen.toml");
    std::fs::write(&config, SETTINGS).unwrap();
    let run = |arguments: &[&str]| -> Said {
        let all = [&["--config", config.to_str().unwrap()], arguments].concat();
        cloud.run_in(&project().join("local/faulty"), &all)
    };
    run(&["deploy"]).expect(0);
    run(&["deploy", "--version", "1"]).expect(0);
    let said = run(&["cutover", "--probes", "20", "--interval", "20ms", "--settle", "100ms"]).expect(0);
    assert!(said.out.contains("0 failed") || said.err.contains("0 failed"), "{said:?}");
    let status = run(&["--json", "status"]).expect(0).json();
    assert!(status.to_string().contains("https://127.0.0.1:"), "{status}");
    run(&["rollback", "--probes", "20", "--interval", "20ms", "--settle", "100ms"]).expect(0);
    run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}
