//! A private RabbitMQ server does what its documentation says.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{RabbitOptions, RabbitServer};

/// Greets the server; gives the first byte of its answer, 1 for the method frame that opens every conversation.
fn greet(port: u16) -> std::io::Result<u8> {
    answer(&mut say_hello(port)?)
}

fn say_hello(port: u16) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    Ok(stream)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut first_byte = [0];
    stream.read_exact(&mut first_byte)?;
    Ok(first_byte[0])
}

#[test]
fn it_keeps_its_data_over_stop_and_kill_and_leaves_nothing() -> anyhow::Result<()> {
    let server = RabbitServer::start_with(&RabbitOptions::default().with_setting("heartbeat", "7"))?;
    let (directory, port) = (server.directory().to_owned(), server.port());
    assert_eq!(greet(port)?, 1);
    server.ctl(&["ping"])?;
    let environment = server.ctl(&["environment"])?;
    assert!(environment.contains("{heartbeat,7}"), "{environment}");

    server.ctl(&["add_vhost", "kept"])?;
    server.stop()?;
    assert!(greet(port).is_err(), "it still answers after stop");
    server.restart()?;
    assert_eq!(greet(port)?, 1);
    server.kill()?;
    assert!(greet(port).is_err(), "it still answers after kill");
    let error = server.ctl(&["ping"]).expect_err("there is nobody to ping");
    assert!(error.to_string().contains("ping failed"), "{error}");
    server.restart()?;
    let virtual_hosts = server.ctl(&["list_vhosts", "--silent"])?;
    assert!(virtual_hosts.lines().any(|name| name == "kept"), "{virtual_hosts}");

    drop(server);
    assert!(!directory.exists());
    assert!(greet(port).is_err(), "it still answers after drop");
    Ok(())
}

#[test]
fn it_can_be_paused_and_raise_an_alarm() -> anyhow::Result<()> {
    let server = RabbitServer::start()?;
    server.ctl(&["set_vm_memory_high_watermark", "absolute", "1"])?;
    let status = server.ctl(&["status"])?;
    assert!(status.contains("Memory alarm"), "{status}");
    server.pause()?;
    // The kernel completes the connection, but nobody answers.
    let mut stream = say_hello(server.port())?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let silence = answer(&mut stream).expect_err("a paused server is silent");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    server.unpause()?;
    stream.set_read_timeout(None)?;
    assert_eq!(answer(&mut stream)?, 1);
    Ok(())
}
