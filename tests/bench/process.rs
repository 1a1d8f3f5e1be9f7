//! A measured process, and its figures in `/proc`.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, Command, Stdio};

/// A child that is killed when this is dropped.
pub struct Process(Child);

/// The processor time of a process, to be read again and again.
#[derive(Clone, Copy, Debug)]
pub struct Clock(u32);

impl Clock {
    /// The clock of the process with this id.
    pub fn of(process: u32) -> Self {
        Self(process)
    }

    /// The seconds of processor time used so far, of all threads, in user mode and in the system. `/proc` counts in
    /// hundredths of a second.
    pub fn seconds(self) -> f64 {
        self.sum(11..13)
    }

    /// The same, with that of its children that have ended.
    pub fn seconds_with_ended(self) -> f64 {
        self.sum(11..15)
    }

    fn sum(self, places: Range<usize>) -> f64 {
        let stat = proc(self.0, "stat");
        // The name, in parentheses, may hold blanks: the state is the first field behind it, utime the 12th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[places].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        ticks as f64 / 100.0
    }
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(spawned.expect("starts"))
    }

    /// Reads standard error up to a line that holds `count` `http://` addresses; what comes later is thrown away.
    pub fn addresses(&mut self, count: usize) -> Vec<SocketAddr> {
        let mut lines = BufReader::new(self.0.stderr.take().expect("piped"));
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).expect("text") > 0, "ended before it listened:\n{seen}");
            let found: Vec<SocketAddr> = line.split("http://").skip(1).filter_map(address).collect();
            if found.len() == count {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut lines.by_ref(), &mut std::io::sink());
                });
                return found;
            }
            seen.push_str(&line);
        }
    }

    pub fn clock(&self) -> Clock {
        Clock(self.0.id())
    }

    /// Resident memory in MB (10⁶ bytes): now, and the most there ever was.
    pub fn memory(&self) -> (f64, f64) {
        let status = proc(self.0.id(), "status");
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
            let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
            kib * 1024.0 / 1e6
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Asks the process to stop, and waits until it has.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it runs");
        self.0.wait().expect("ends");
    }
}

fn proc(process: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/{file}")).expect("this benchmark needs Linux's /proc")
}

fn address(text: &str) -> Option<SocketAddr> {
    text.split(['/', ' ', ',', '\n']).next()?.parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
