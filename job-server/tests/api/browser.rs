//! Swagger UI as a browser shows it. Needs Chromium, which `./test` installs.

use std::net::SocketAddr;
use std::process::Command;

use crate::server::Server;

/// What the page at `target` has become once its scripts have run, and what the browser said meanwhile.
fn open(address: SocketAddr, target: &str, arguments: &[String]) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args([
            "90",
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--window-size=1280,2400",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("http://{address}{target}"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (page, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "is Chromium installed? ./test installs it: {said}");
    (page, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_shows_every_operation_and_fetches_nothing_from_elsewhere() {
    let server = Server::start().await;
    let address = server.address;
    let opened = tokio::task::spawn_blocking(move || open(address, "/job-service-ui/", &[]));
    let (page, said) = opened.await.unwrap();
    let document: serde_json::Value = serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap();
    let mut operations = 0;
    for item in document["paths"].as_object().unwrap().values() {
        let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
        for (_, operation) in methods {
            let (tag, id) = (&operation["tags"][0], &operation["operationId"]);
            let element = format!("id=\"operations-{}-{}\"", tag.as_str().unwrap(), id.as_str().unwrap());
            assert!(page.contains(&element), "{element} is not on the page: {said}");
            operations += 1;
        }
    }
    assert!(operations > 20, "{operations}");
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| {
            line.contains("CONSOLE") && ["Refused", "Uncaught", "rror"].iter().any(|word| line.contains(word))
        })
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
