//! Sends requests as most load tools do: a request is sent on time only if the previous one was answered by then. It is
//! the reference for the prober.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use infra::error::{Doing as _, Result};

use super::{Kept, Schedule};
use crate::figures::percentile;

/// Sends requests for the duration of the schedule. Skips requests that could not be sent when due.
pub(super) fn ask(schedule: &Schedule) -> Result<Kept> {
    let what = || format!("send requests to {}", schedule.address);
    let stream = TcpStream::connect(&schedule.address).doing(what)?;
    stream.set_nodelay(true).doing(what)?;
    let mut reader = BufReader::new(stream);
    let began = Instant::now();
    let (mut lags, mut latencies) = (Vec::new(), Vec::new());
    let mut sequence = 0;
    while sequence < schedule.count {
        let due = began + schedule.interval() * sequence;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        exchange(&mut reader).doing(what)?;
        lags.push(sent.saturating_duration_since(due).as_secs_f64());
        latencies.push(sent.elapsed().as_secs_f64());
        sequence += 1;
        while sequence < schedule.count && began + schedule.interval() * sequence < Instant::now() {
            sequence += 1;
        }
    }
    let on_time = lags.iter().filter(|lag| **lag <= cutover::probe::LATE.as_secs_f64()).count();
    Ok(Kept {
        due: schedule.count,
        late: schedule.count - u32::try_from(on_time).unwrap_or(schedule.count),
        failed: 0,
        lag_p50: percentile(&lags, 50),
        lag_p99: percentile(&lags, 99),
        latency_p99: percentile(&latencies, 99),
        memory: super::own_memory()?,
    })
}

/// Sends one request and reads its response, which has a content length.
fn exchange(reader: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    reader.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return reader.read_exact(&mut vec![0; length]);
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse().map_err(std::io::Error::other)?;
        }
    }
}
