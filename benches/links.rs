//! What a message costs whose links are changed: a page of 40 KB with 50 links, by its encoding.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use relay_fast::base::ids::MessageId;
use relay_fast::base::time::WallTime;
use relay_fast::mail::address::Mailbox;
use relay_fast::mail::handling::TenantName;
use relay_fast::policy::links::Links;
use relay_fast::policy::links::letter::{Linker, Rules, Terms, Unsubscribe};
use relay_fast::policy::senders::Sender;
use relay_fast::policy::verp::Secrets;

const LINKS: usize = 50;

fn page() -> String {
    let mut page = "<html><body>\r\n".to_owned();
    let text = "<p style=\"color: gray\">Some words of news, and more of them.</p>\r\n".repeat(11);
    for link in 0..LINKS {
        let _ = write!(page, "{text}<a href=\"https://shop.example/item?id={link}\">Item</a>\r\n");
    }
    page + "</body></html>\r\n"
}

/// The page as a message, in each encoding.
fn messages() -> [(&'static str, String); 3] {
    let page = page();
    let head = "From: a@a.example\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: ";
    let quoted: String = page
        .replace('=', "=3D")
        .lines()
        .flat_map(|line| {
            let pieces: Vec<_> = line.as_bytes().chunks(72).map(String::from_utf8_lossy).collect();
            [pieces.join("=\r\n"), "\r\n".to_owned()]
        })
        .collect();
    let coded = BASE64.encode(&page);
    let lines: Vec<_> = coded.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    [
        ("7bit", format!("{head}7bit\r\n\r\n{page}")),
        ("quoted-printable", format!("{head}quoted-printable\r\n\r\n{quoted}")),
        ("base64", format!("{head}base64\r\n\r\n{}\r\n", lines.join("\r\n"))),
    ]
}

fn rules(is_tracked: bool) -> (Arc<Rules>, Sender) {
    let tenant = TenantName::parse("acme").expect("a name");
    let secrets = Secrets::parse(&"s".repeat(64)).expect("a secret");
    let terms = Terms {
        unsubscribe: Unsubscribe::Add,
        opens: is_tracked,
        clicks: is_tracked,
        host: "links.example".into(),
    };
    let terms = HashMap::from([(tenant.clone(), terms)]);
    let rules = Rules { links: Some(Links::new(&secrets)), terms };
    (Arc::new(rules), Sender { tenant: Some(tenant), campaign: None })
}

fn lead(rules: &Arc<Rules>, sender: &Sender, content: &str) -> usize {
    let recipient = Mailbox::parse("reader@b.example", true).ok();
    let mut linker = Linker::new(rules.clone(), MessageId(7), WallTime(0), recipient);
    let mut bytes = linker.push(content.as_bytes().to_vec()).len();
    if linker.asks() {
        bytes += linker.sent_by(Some(sender.clone())).len();
    }
    bytes + linker.end().map_or(0, |(rest, _)| rest.len())
}

fn links(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("links");
    for (encoding, content) in messages() {
        group.throughput(Throughput::Bytes(content.len() as u64));
        for (what, is_tracked) in [("unsubscribe", false), ("all", true)] {
            let (rules, sender) = rules(is_tracked);
            group.bench_function(format!("{what}/{encoding}"), |bencher| {
                bencher.iter(|| lead(&rules, &sender, black_box(&content)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, links);
criterion_main!(benches);
