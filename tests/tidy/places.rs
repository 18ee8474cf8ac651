//! What lives in one place: `unsafe`, the clock, the kernel, bounds.

use crate::source::{Complaint, Source, is_word};

/// Words that may stand in some places alone.
struct Place {
    what: &'static str,
    words: &'static [&'static str],
    /// Beginnings of the paths where they may.
    homes: &'static [&'static str],
}

const PLACES: [Place; 5] = [
    Place {
        what: "unsafe code",
        words: &["unsafe"],
        homes: &["src/platform/ring.rs", "src/platform/segment_map.rs"],
    },
    Place {
        what: "a clock",
        words: &["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "Utc::now"],
        homes: &["src/platform/clock.rs"],
    },
    Place {
        what: "a call to the kernel",
        words: &[
            "std::fs",
            "std::thread",
            "std::process",
            "std::env",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "io_uring",
            "libc",
            "memmap2",
            "rustix",
            "socket2",
        ],
        homes: &["src/platform/", "src/control/", "src/main.rs", "src/verbs.rs"],
    },
    Place {
        what: "the control thread's runtime",
        words: &["tokio", "axum", "ureq"],
        // The main thread waits for signals and shards on the same runtime.
        homes: &[
            "src/control/",
            "src/main.rs",
            "src/platform/boot.rs",
            "src/platform/supervise.rs",
            // Fetches policies by HTTPS, on threads of its own.
            "src/platform/policies.rs",
            "src/platform/https.rs",
        ],
    },
    Place {
        what: "the command line",
        words: &["clap", "tracing_subscriber"],
        homes: &["src/control/", "src/platform/telemetry.rs", "src/main.rs"],
    },
];

/// A file that may break one of these rules.
struct Exception {
    path: &'static str,
    what: &'static str,
    #[expect(dead_code, reason = "for whoever reads the list")]
    reason: &'static str,
}

const EXCEPTIONS: [Exception; 1] = [Exception {
    path: "src/outcome/judge/tests.rs",
    what: "a call to the kernel",
    reason: "a test that compares with its golden file",
}];

/// What `source` does that belongs elsewhere.
pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let strayed = PLACES.iter().flat_map(|place| strays(source, place).into_iter());
    let excused = |complaint: &Complaint| EXCEPTIONS.iter().any(|e| e.excuses(complaint));
    strayed.filter(|complaint| !excused(complaint)).chain(bounds(source)).collect()
}

/// Exceptions that excuse nothing in `files`.
pub(crate) fn idle_exceptions(files: &[Source]) -> Vec<&'static str> {
    let all: Vec<Complaint> = files
        .iter()
        .flat_map(|source| PLACES.iter().flat_map(|place| strays(source, place)))
        .collect();
    let idle = |e: &&Exception| !all.iter().any(|complaint| e.excuses(complaint));
    EXCEPTIONS.iter().filter(idle).map(|e| e.path).collect()
}

impl Exception {
    fn excuses(&self, complaint: &Complaint) -> bool {
        complaint.path == self.path && complaint.what.starts_with(self.what)
    }
}

fn strays(source: &Source, place: &Place) -> Vec<Complaint> {
    if place.homes.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    let complain = |word: &&'static str| {
        let what = format!("{}: `{word}` belongs in {}", place.what, place.homes.join(", "));
        source.words(word).map(|at| source.complaint(at, what.clone())).collect::<Vec<_>>()
    };
    place.words.iter().flat_map(complain).collect()
}

/// Bounds and lengths of time outside `limits.rs`: constants named `…_MAX`, or of `Duration`.
fn bounds(source: &Source) -> Vec<Complaint> {
    if source.path == "src/base/limits.rs" || source.path.starts_with("src/base/limits/") {
        return Vec::new();
    }
    let complain = |at: usize| {
        let rest = source.code[at + "const".len()..].trim_start();
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        let kind = rest[name.len()..].strip_prefix(':')?.trim_start();
        let is_bound = name.ends_with("_MAX") || name == "MAX";
        let is_time = kind.starts_with("Duration") || kind.starts_with("std::time::Duration");
        ((is_bound || is_time) && !source.is_test(at))
            .then(|| source.complaint(at, format!("{name} belongs in src/base/limits.rs")))
    };
    source.words("const").filter_map(complain).collect()
}

#[test]
fn what_strays_is_found() {
    for (path, text, bad) in [
        ("src/queue/a.rs", "unsafe { f() }", 1),
        ("src/platform/disk.rs", "unsafe fn f() {}", 1),
        ("src/platform/ring.rs", "unsafe { f() }", 0),
        ("src/queue/a.rs", "#![deny(unsafe_code)] // unsafe\n", 0),
        ("src/shard/a.rs", "let now = std::time::Instant::now();", 1),
        ("src/shard/a.rs", "let now = SystemTime::now();", 1),
        ("src/shard/a.rs", "fn f(now: Instant) {} let n = self.platform.now();", 0),
        ("src/platform/clock.rs", "let now = Instant::now();", 0),
        ("src/platform/ring.rs", "let now = Instant::now();", 1),
        ("src/spool/a.rs", "use std::fs::File; let s = TcpStream::connect(a);", 2),
        ("src/platform/disk.rs", "use std::fs::File;", 0),
        ("src/shard/a.rs", "tokio::spawn(f)", 1),
        ("src/platform/a.rs", "tokio::spawn(f)", 1),
        ("src/control/a.rs", "tokio::spawn(f)", 0),
        ("src/config/a.rs", "use clap::Parser;", 1),
    ] {
        let found = check(&Source::new(path, text));
        assert_eq!(found.len(), bad, "{path}: {text}: {found:?}");
    }
}

#[test]
fn bounds_outside_limits_are_found() {
    for (path, text, bad) in [
        ("src/queue/a.rs", "const ITEMS_MAX: usize = 4;", 1),
        ("src/queue/a.rs", "pub(crate) const WAIT: Duration = Duration::from_secs(1);", 1),
        ("src/queue/a.rs", "impl A { pub const MAX: u32 = 4; }", 1),
        ("src/base/limits.rs", "pub const ITEMS_MAX: usize = 4;", 0),
        ("src/base/limits/auth.rs", "pub const ITEMS_MAX: usize = 4;", 0),
        ("src/queue/a.rs", "use crate::base::limits::ITEMS_MAX; const ITEMS: u8 = 4;", 0),
        ("src/queue/a.rs", "const fn wait() -> Duration { Duration::ZERO }", 0),
        ("src/queue/a.rs", "#[cfg(test)]\nmod tests { const WAIT: Duration = D; }", 0),
        ("src/queue/tests.rs", "const ITEMS_MAX: usize = 4;", 0),
    ] {
        let found = check(&Source::new(path, text));
        assert_eq!(found.len(), bad, "{path}: {text}: {found:?}");
    }
}
