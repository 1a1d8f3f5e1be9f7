//! The baseline of the part `postgres`: bare statements on one connection.

use crate::event::{fresh, identify};
use futures_util::pin_mut;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

/// So many rows are copied in one transaction.
const COPIED: u64 = 500;

async fn connect(url: &str) -> Client {
    let client = super::engine::connect(url).await;
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS bare (seq bigint PRIMARY KEY, body bytea NOT NULL)")
        .await
        .expect("made");
    client.batch_execute("ALTER TABLE bare ALTER COLUMN body SET STORAGE EXTERNAL").await.expect("made");
    client
}

fn body(number: u64) -> Vec<u8> {
    let mut body = Vec::new();
    identify(&mut body, number, number, 0);
    body
}

/// S: single rows, each in a transaction of its own. Rows a second.
pub async fn single_rows(url: &str, time: Duration) -> f64 {
    let client = connect(url).await;
    let insert = client.prepare("INSERT INTO bare (seq, body) VALUES ($1, $2)").await.expect("prepared");
    let (began, mut rows) = (Instant::now(), 0);
    while began.elapsed() < time {
        let number = fresh(1);
        let seq = i64::try_from(number).expect("few");
        client.execute(&insert, &[&seq, &body(number)]).await.expect("inserted");
        rows += 1;
    }
    f64::from(rows) / began.elapsed().as_secs_f64()
}

/// C: a bare `COPY` in groups of 500. Rows a second.
pub async fn copy(url: &str, time: Duration) -> f64 {
    let client = connect(url).await;
    let (began, mut rows) = (Instant::now(), 0);
    while began.elapsed() < time {
        let first = fresh(COPIED);
        let sink = client.copy_in("COPY bare (seq, body) FROM STDIN BINARY").await.expect("begun");
        let writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::BYTEA]);
        pin_mut!(writer);
        for number in first..first + COPIED {
            let seq = i64::try_from(number).expect("few");
            writer.as_mut().write(&[&seq, &body(number)]).await.expect("written");
        }
        writer.finish().await.expect("committed");
        rows += 500;
    }
    f64::from(rows) / began.elapsed().as_secs_f64()
}
