//! Tell a machine that fetches a link from a person who does, by one request.
//!
//! In: what the request says, and how old its message is. Out: which of the two. Pure. Machines
//! that call themselves browsers and come late are not told: nothing in their request does.
//!
//! | what comes | is |
//! |---|---|
//! | HEAD; a prefetch that says so; no User-Agent | a machine: programs of people do not do so |
//! | within some seconds of when the message was taken | a machine: a person reads first |
//! | `Mozilla/5.0` and nothing else | Apple's Mail Privacy Protection: it fetches all pictures |
//! | a name of a scanner, crawler, preview or library ([`MACHINES`]) | a machine |
//! | `GoogleImageProxy`, `YahooMailProxy` for a picture | a person: they fetch when it is shown |
//! | the same for a link | a machine: people's browsers follow links themselves |

use std::time::Duration;

use crate::base::limits::USER_AGENT_MAX;
use crate::mail::visit::{Action, By};

/// A request for a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'r> {
    /// What it says that it is.
    pub user_agent: &'r str,
    /// Only the head of the answer is asked for.
    pub is_head: bool,
    /// It says that nobody has asked for it yet (`Purpose`, `Sec-Purpose`, `X-Moz`).
    pub is_prefetch: bool,
    /// Since its message was taken: it may have been delivered later.
    pub age: Duration,
}

/// In lower case: each is in the User-Agent of something that is no person's program.
const MACHINES: &str = "bot|crawl|spider|scan|preview|prefetch|monitor|checker|validator|headless|\
    phantomjs|selenium|puppeteer|playwright|curl/|wget|python|go-http-client|java/|\
    apache-httpclient|libwww|lwp::|node-fetch|axios|aiohttp|httpx|ruby|php/|guzzle|perl|barracuda|\
    proofpoint|mimecast|symantec|messagelabs|trendmicro|fireeye|forcepoint|sophos|ironport|\
    fortinet|safelinks|microsoft office existence discovery|slurp|facebookexternalhit|whatsapp|\
    google-safety|feedfetcher";

/// A maker of telephones, whose name has one of these in it.
const NO_MACHINE: &str = "cubot";

/// Fetch a picture when a person looks at it, and show it to no one else.
const PROXIES: [&str; 2] = ["googleimageproxy", "yahoomailproxy"];

/// What made a request for a link that does this. `soon` after its message was taken nobody has
/// read it.
pub fn judge(action: &Action, request: &Request<'_>, soon: Duration) -> By {
    let end = request.user_agent.len().min(USER_AGENT_MAX);
    let agent = request.user_agent.get(..end).unwrap_or("").trim().to_ascii_lowercase();
    let is_odd = request.is_head || request.is_prefetch || agent.is_empty();
    if is_odd || request.age < soon || agent == "mozilla/5.0" {
        return By::Machine;
    }
    if PROXIES.iter().any(|proxy| agent.contains(proxy)) {
        return if *action == Action::Open { By::Person } else { By::Machine };
    }
    let agent = agent.replace(NO_MACHINE, "");
    match MACHINES.split('|').any(|machine| agent.contains(machine)) {
        true => By::Machine,
        false => By::Person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(3_600);
    const SOON: Duration = Duration::from_secs(5);
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";

    fn agent(action: &Action, user_agent: &str) -> By {
        judge(action, &Request { user_agent, age: LATE, ..Request::default() }, SOON)
    }

    #[test]
    fn programs_are_known_by_their_names() {
        let outlook = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0)";
        let gmail = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com \
            GoogleImageProxy)";
        let yahoo = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";
        let google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let click = Action::Click("https://a.example/".into());
        for (user_agent, opens, clicks) in [
            (FIREFOX, By::Person, By::Person),
            (outlook, By::Person, By::Person),
            (iphone, By::Person, By::Person),
            (gmail, By::Person, By::Machine),
            (yahoo, By::Person, By::Machine),
            ("Mozilla/5.0", By::Machine, By::Machine),
            (" Mozilla/5.0 ", By::Machine, By::Machine),
            (google, By::Machine, By::Machine),
            ("curl/8.5.0", By::Machine, By::Machine),
            ("python-requests/2.31", By::Machine, By::Machine),
            ("Go-http-client/1.1", By::Machine, By::Machine),
            ("Barracuda Sentinel (EE)", By::Machine, By::Machine),
            ("Mozilla/5.0 (X11) HeadlessChrome/120.0", By::Machine, By::Machine),
            ("Microsoft Office Existence Discovery", By::Machine, By::Machine),
            ("Mozilla/5.0 (Linux; Android 10; CUBOT X30) Chrome/139.0", By::Person, By::Person),
            ("", By::Machine, By::Machine),
        ] {
            assert_eq!(agent(&Action::Open, user_agent), opens, "opens: {user_agent}");
            assert_eq!(agent(&click, user_agent), clicks, "clicks: {user_agent}");
        }
    }

    #[test]
    fn what_no_person_does_is_a_machines() {
        let person = Request { user_agent: FIREFOX, age: LATE, ..Request::default() };
        assert_eq!(judge(&Action::Open, &person, SOON), By::Person);
        for odd in [
            Request { is_head: true, ..person },
            Request { is_prefetch: true, ..person },
            Request { age: SOON - Duration::from_millis(1), ..person },
        ] {
            assert_eq!(judge(&Action::Open, &odd, SOON), By::Machine, "{odd:?}");
        }
        assert_eq!(judge(&Action::Open, &Request { age: SOON, ..person }, SOON), By::Person);
        let at_once = Request { age: Duration::ZERO, ..person };
        assert_eq!(judge(&Action::Open, &at_once, Duration::ZERO), By::Person);
    }

    #[test]
    fn names_are_in_lower_case_and_long_agents_are_cut() {
        let names = || MACHINES.split('|').chain(PROXIES).chain([NO_MACHINE]);
        assert!(names().all(|name| name == name.trim().to_lowercase() && name.len() > 2));
        let long = format!("{FIREFOX}{}", " \u{e9}".repeat(USER_AGENT_MAX));
        let _ = agent(&Action::Open, &long);
        let late = format!("{FIREFOX}{}bot", "x".repeat(USER_AGENT_MAX));
        assert_eq!(agent(&Action::Open, &late), By::Person);
    }
}
