//! Who is answered, and who is not.

use axum::http::Method;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const LOOPBACK: Arrival = Arrival::Tcp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

fn access(token: Option<&str>) -> Access {
    let hosts = ["localhost", "node.example", "relay.example", "192.0.2.9"];
    let mut access = Access { hosts: hosts.map(Box::from).into(), tokens: Vec::new() };
    if let Some(text) = token {
        let all = Caller { name: Some("admin".into()), ..ANYONE };
        access.add(text.as_bytes(), Path::new("/token"), all).expect("a token");
    }
    access
}

fn judge(
    access: &Access,
    arrival: Arrival,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
) -> Result<(), Refusal> {
    let request = Request::builder().method(method).uri(target);
    let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
    let request = request.body(()).expect("a request");
    access.judge(arrival, &request).map(drop)
}

#[test]
fn a_name_that_is_none_of_ours_is_refused() {
    let access = access(None);
    let ask = |host: &str| judge(&access, LOOPBACK, ("GET", "/metrics"), &[("host", host)]);
    for ours in [
        "localhost",
        "LOCALHOST:8025",
        "localhost.:1",
        "127.0.0.1",
        "127.1.2.3:8025",
        "[::1]",
        "[::1]:8025",
        "[::ffff:127.0.0.1]",
        "Node.Example",
        "relay.example:80",
        "192.0.2.9",
    ] {
        assert_eq!(ask(ours), Ok(()), "{ours}");
    }
    for others in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8025",
        "192.0.2.1",
        "[2001:db8::1]",
        "127.0.0.1.evil.example",
        "node.example@evil.example",
        "evil.example@localhost",
        "",
        "a b",
    ] {
        let refused = ask(others).expect_err(others);
        assert!([Refusal::Misdirected, Refusal::NoHost].contains(&refused), "{others}");
    }
    let own = Arrival::Tcp("192.0.2.1".parse().expect("an address"));
    let at = |host| judge(&access, own, ("GET", "/healthz"), &[("host", host)]);
    assert_eq!((at("192.0.2.1:8025"), at("192.0.2.2")), (Ok(()), Err(Refusal::Misdirected)));
}

#[test]
fn whom_a_request_means_is_said_once() {
    let access = access(None);
    let ask = |target, headers: &[_]| judge(&access, LOOPBACK, ("GET", target), headers);
    assert_eq!(ask("/metrics", &[]), Err(Refusal::NoHost));
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(ask("/metrics", &twice), Err(Refusal::NoHost));
    let ours = [("host", "localhost")];
    assert_eq!(ask("http://evil.example/metrics", &ours), Err(Refusal::Misdirected));
    assert_eq!(ask("http://localhost/metrics", &[("host", "evil.example")]), Ok(()));
    let old = |request: axum::http::request::Builder| {
        let path =
            if request.method_ref() == Some(&Method::POST) { "/v1/queue/hold" } else { "/healthz" };
        let request = request.uri(path).version(Version::HTTP_10).body(()).expect("a request");
        access.judge(LOOPBACK, &request).map(drop)
    };
    assert_eq!(old(Request::builder()), Ok(()), "as a simple check of health says it");
    let evil = Request::builder().header("host", "evil.example");
    assert_eq!(old(evil), Err(Refusal::Misdirected));
    let page = Request::builder().method("POST").header("origin", "http://evil.example");
    assert_eq!(old(page), Err(Refusal::Foreign));
}

#[test]
fn a_token_is_asked_for_but_at_a_unix_socket() {
    let access = access(Some(SECRET));
    let ask = |arrival, said: Option<&str>| {
        let mut headers = vec![("host", "localhost")];
        headers.extend(said.map(|said| ("authorization", said)));
        judge(&access, arrival, ("GET", "/metrics"), &headers)
    };
    assert_eq!(ask(Arrival::Unix, None), Ok(()));
    for right in [format!("Bearer {SECRET}"), format!("bearer  {SECRET}")] {
        assert_eq!(ask(LOOPBACK, Some(&right)), Ok(()), "{right}");
    }
    let longer = format!("Bearer {SECRET}0");
    let shorter = format!("Bearer {}", &SECRET[1..]);
    let basic = format!("Basic {SECRET}");
    for wrong in ["", "Bearer", "Bearer ", SECRET, &longer, &shorter, &basic] {
        assert_eq!(ask(LOOPBACK, Some(wrong)), Err(Refusal::Unauthorized), "{wrong}");
    }
    assert_eq!(ask(LOOPBACK, None), Err(Refusal::Unauthorized));
}

#[test]
fn no_page_changes_anything() {
    let access = access(None);
    let post = |more: &[(&'static str, &'static str)]| {
        let headers = [&[("host", "localhost:8025")], more].concat();
        judge(&access, LOOPBACK, ("POST", "/v1/queue/flush"), &headers)
    };
    for fine in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "Application/JSON; charset=utf-8")],
        &[("content-type", "text/csv; charset=utf-8")],
        &[("origin", "http://localhost:8025"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(post(fine), Ok(()), "{fine:?}");
    }
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "http://localhost"),
        ("origin", "http://localhost:80"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(post(&[foreign]), Err(Refusal::Foreign), "{foreign:?}");
    }
    for form in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", ""] {
        assert_eq!(post(&[("content-type", form)]), Err(Refusal::Form), "{form}");
    }
    let evil = [("host", "localhost"), ("origin", "http://evil.example")];
    assert_eq!(judge(&access, LOOPBACK, ("GET", "/metrics"), &evil), Ok(()), "nothing changes");
    let delete = judge(&access, LOOPBACK, ("DELETE", "/metrics"), &evil);
    assert_eq!(delete, Err(Refusal::Method));
}

#[test]
fn a_token_is_for_what_its_role_says() {
    let mut access = access(Some(SECRET));
    for (name, role) in [("reads", Role::Read), ("hands-in", Role::Inject)] {
        let caller = Caller { name: Some(name.into()), role, tenant: None };
        let content = format!("{name}-{SECRET}");
        access.add(content.as_bytes(), Path::new(name), caller).expect("a token");
    }
    let ask = |arrival, method: &str, path: &str, token: &str| {
        let said = format!("Bearer {token}");
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = match token {
            "" => request,
            _ => request.header("authorization", said),
        };
        let request = request.body(()).expect("a request");
        access.judge(arrival, &request).map(|(caller, _)| caller.name)
    };
    let (reads, hands_in) = (format!("reads-{SECRET}"), format!("hands-in-{SECRET}"));
    let (get, post) = (("GET", "/v1/queue/list"), ("POST", "/v1/queue/remove"));
    for (token, name, expected) in [
        (SECRET, "admin", [true, true]),
        (&reads, "reads", [true, false]),
        (&hands_in, "hands-in", [false, false]),
    ] {
        for ((method, path), may) in [get, post].into_iter().zip(expected) {
            let right = Ok(Some(name.into()));
            let expected = if may { right } else { Err(Refusal::Forbidden) };
            assert_eq!(ask(LOOPBACK, method, path, token), expected, "{token} {path}");
        }
    }
    assert_eq!(ask(LOOPBACK, "POST", post.1, ""), Err(Refusal::Unauthorized));
    assert_eq!(ask(Arrival::Unix, "POST", post.1, ""), Ok(None));
    // What nobody may is told to those alone who are known.
    assert_eq!(ask(LOOPBACK, "GET", "/queue/list", ""), Err(Refusal::Unauthorized));
    assert_eq!(ask(LOOPBACK, "GET", "/queue/list", SECRET), Err(Refusal::Nowhere));
    assert_eq!(ask(Arrival::Unix, "GET", "/nothing", ""), Err(Refusal::Nowhere));
    assert_eq!(ask(LOOPBACK, "GET", post.1, SECRET), Err(Refusal::Method));
    let again = access.add(reads.as_bytes(), Path::new("/again"), ANYONE);
    let told = again.expect_err("it is there already").to_string();
    assert_eq!(told, "/again: another file has the same token: each needs its own");
}

#[test]
fn a_file_holds_one_token() {
    for right in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}==\r\n")] {
        let text = token_text(right.as_bytes());
        assert_eq!(text.as_deref(), Ok(right.trim_end()));
    }
    let short = "x".repeat(ADMIN_TOKEN_MIN - 1);
    assert_eq!(token_text(short.as_bytes()), Err(TokenError::Length(ADMIN_TOKEN_MIN - 1)));
    let long = "x".repeat(ADMIN_TOKEN_MAX + 1);
    assert_eq!(token_text(long.as_bytes()), Err(TokenError::Length(ADMIN_TOKEN_MAX + 1)));
    for odd in [format!("{SECRET}\n{SECRET}"), "=".repeat(32), format!("a =b{SECRET}")] {
        assert_eq!(token_text(odd.as_bytes()), Err(TokenError::Form), "{odd}");
    }
    assert_eq!(token_text(b""), Err(TokenError::Length(0)));
    assert!(!format!("{:?}", access(Some(SECRET))).contains("0123"));
}
