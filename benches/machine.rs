//! The machine, its processors, and what a process has used of it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// `/proc/PID/stat` counts in these on every architecture (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// Keeps this program on the first processor; what it measures gets the last one.
pub fn take_first_processor() {
    let cpus = processors();
    if let [first, _, ..] = cpus[..] {
        let mut one = CpuSet::new();
        one.set(first);
        if let Err(error) = sched_setaffinity(None, &one) {
            eprintln!("bench: not pinned: {error}");
        }
    }
}

/// A command on the last processor of the machine.
pub fn on_last_processor(program: &std::path::Path) -> Command {
    match all_processors() {
        0 | 1 => Command::new(program),
        n => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg((n - 1).to_string()).arg(program);
            command
        }
    }
}

/// A command on every processor of the machine, though this program has only one.
pub fn on_all_processors(program: &std::path::Path) -> Command {
    match all_processors() {
        0 | 1 => Command::new(program),
        n => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(format!("0-{}", n - 1)).arg(program);
            command
        }
    }
}

fn processors() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect(),
        Err(_) => Vec::new(),
    }
}

fn all_processors() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|l| l.starts_with("processor")).count()
}

/// User and system time of a process so far.
pub fn cpu(pid: u32) -> Result<Duration, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(')').ok_or("/proc/PID/stat is odd")?;
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// CPU time of the calling thread so far.
pub fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Machine, kernel, date and command, for the top of the table.
pub fn heading(parts: &[String]) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let date = Command::new("date").args(["-u", "+%F %R UTC"]).output();
    let date = date.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    format!(
        "Machine: {model}, {} cores, Linux {}, load {} at the end\nDate: {}\nCommand: scripts/bench {}\n",
        all_processors(),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        date.unwrap_or_default(),
        parts.join(" ")
    )
}
