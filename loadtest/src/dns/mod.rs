//! Answer DNS questions over UDP and TCP on a loopback address.
//!
//! In: queries. Out: answers of `zone`, cut to what a datagram may hold (RFC 1035 §4.2.1, RFC
//! 6891).

mod zone;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::net::hosts_of;
use zone::{Answer, Zone};

/// Octets of an answer over UDP without EDNS (RFC 1035 §4.2.1).
const UDP_MAX: u16 = 512;

/// Where to answer, and what the names point to.
#[derive(Args, Clone, Debug)]
#[command(after_help = zone::NAMES)]
pub(crate) struct DnsOptions {
    /// Address to answer on, over UDP and TCP
    #[arg(long, default_value = "127.0.0.1:5353", value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    /// Addresses of MX hosts, as a range such as 127.0.1.1-20
    #[arg(long, default_value = "127.0.1.1-20")]
    mx: String,
    /// Sites that the domains share
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    sites: u32,
    /// MX hosts of a site
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=60))]
    hosts_per_site: u16,
    /// Address of the dead host: one that nobody listens on
    #[arg(long, default_value = "127.255.255.254")]
    dead: Ipv4Addr,
    /// Seconds that an answer may be kept
    #[arg(long, default_value_t = 60)]
    ttl: u32,
    /// Milliseconds before each answer
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

impl DnsOptions {
    fn zone(&self) -> Result<Zone> {
        Ok(Zone {
            hosts: hosts_of(&self.mx)?,
            sites: self.sites,
            hosts_per_site: self.hosts_per_site,
            dead: self.dead,
            ttl: self.ttl,
        })
    }

    /// Addresses that the options name, for the guard.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let hosts = hosts_of(&self.mx)?.into_iter().chain([self.dead]);
        Ok(hosts.map(|host| SocketAddr::from((host, 25))).chain([self.listen]).collect())
    }
}

/// Answers until SIGINT or SIGTERM.
pub(crate) fn run(options: &DnsOptions) -> Result<()> {
    let zone = Rc::new(options.zone()?);
    let delay = Duration::from_millis(options.delay);
    let served = async {
        let (udp, tcp) = bind(options.listen).await?;
        println!("answering on {} over UDP and TCP", udp.local_addr()?);
        let local = tokio::task::LocalSet::new();
        local.run_until(serve(udp, tcp, zone, delay)).await
    };
    crate::stop::run_until_signal(served).map(|_| ())
}

async fn bind(address: SocketAddr) -> Result<(Rc<UdpSocket>, TcpListener)> {
    let udp = UdpSocket::bind(address).await.with_context(|| format!("UDP on {address}"))?;
    let bound = udp.local_addr().context("asking for the server's address")?;
    let tcp = TcpListener::bind(bound).await.with_context(|| format!("TCP on {bound}"))?;
    Ok((Rc::new(udp), tcp))
}

async fn serve(
    udp: Rc<UdpSocket>,
    tcp: TcpListener,
    zone: Rc<Zone>,
    delay: Duration,
) -> Result<()> {
    let streams = Rc::clone(&zone);
    tokio::task::spawn_local(async move {
        loop {
            // An accept that fails is the client's loss; the next may succeed.
            if let Ok((stream, _)) = tcp.accept().await {
                tokio::task::spawn_local(serve_stream(stream, Rc::clone(&streams), delay));
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let mut query = [0; 4_096];
    loop {
        let (count, peer) = match udp.recv_from(&mut query).await {
            Ok(received) => received,
            // A port that is closed by now, told of by ICMP.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error).context("receiving questions"),
        };
        let Some(answer) = reply(&zone, &query[..count], true) else {
            continue;
        };
        if delay.is_zero() {
            // Lost like any datagram if it cannot be sent.
            let _lost = udp.send_to(&answer, peer).await;
        } else {
            let udp = Rc::clone(&udp);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(delay).await;
                let _lost = udp.send_to(&answer, peer).await;
            });
        }
    }
}

async fn serve_stream(mut stream: TcpStream, zone: Rc<Zone>, delay: Duration) {
    // The client may leave whenever it likes.
    let _left = answer_stream(&mut stream, &zone, delay).await;
}

/// RFC 1035 §4.2.2: each message behind its length.
async fn answer_stream(stream: &mut TcpStream, zone: &Zone, delay: Duration) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(answer) = reply(zone, &query, false) else {
            continue;
        };
        tokio::time::sleep(delay).await;
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&answer).await?;
    }
}

/// The answer to a query, or nothing for silence and for bytes that are no query.
fn reply(zone: &Zone, query: &[u8], datagram: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.authoritative = true;
    answer.add_queries(query.queries.iter().cloned());
    if let Some(edns) = &query.edns {
        let mut ours = hickory_proto::op::Edns::new();
        ours.set_max_payload(edns.max_payload());
        answer.set_edns(ours);
    }
    let [question] = &query.queries[..] else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer.to_vec().ok();
    };
    match zone.answer(question.name(), question.query_type()) {
        Answer::Silence => return None,
        Answer::Code(code) => answer.metadata.response_code = code,
        Answer::Records(records) => {
            answer.add_answers(records);
        }
    }
    if answer.answers.is_empty() {
        answer.add_authority(zone.authority());
    }
    let bytes = answer.to_vec().ok()?;
    let limit = query.edns.as_ref().map_or(UDP_MAX, |edns| edns.max_payload().max(UDP_MAX));
    if datagram && bytes.len() > usize::from(limit) {
        return answer.truncate().to_vec().ok();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn zone() -> Zone {
        Zone {
            hosts: vec![Ipv4Addr::new(127, 0, 1, 1)],
            sites: 3,
            hosts_per_site: 2,
            dead: Ipv4Addr::new(127, 255, 255, 254),
            ttl: 60,
        }
    }

    fn query(name: &str, payload: Option<u16>) -> Vec<u8> {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::MX));
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    fn asked(name: &str, payload: Option<u16>, datagram: bool) -> Message {
        let bytes = reply(&zone(), &query(name, payload), datagram).unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    #[test]
    fn an_answer_repeats_id_and_question_with_its_case() {
        let answer = asked("D1.eXample.", None, true);
        assert_eq!(answer.metadata.id, 77);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
        assert_eq!(answer.queries[0].name().to_ascii(), "D1.eXample.");
        assert_eq!(answer.answers.len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_truncated_over_udp_and_whole_over_tcp() {
        let small = asked("many-1.example.", None, true);
        assert!(small.metadata.truncation && small.answers.is_empty());
        let large = asked("many-1.example.", Some(4_096), true);
        assert!(!large.metadata.truncation);
        assert_eq!(large.answers.len(), 60);
        assert_eq!(asked("many-1.example.", None, false).answers.len(), 60);
    }

    #[test]
    fn negative_answers_carry_the_start_of_authority() {
        let answer = asked("nxdomain-1.example.", None, true);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(answer.authorities.len(), 1);
        assert_eq!(asked("nodata-1.example.", None, true).authorities.len(), 1);
    }

    #[test]
    fn silence_and_noise_get_no_answer() {
        assert_eq!(reply(&zone(), &query("timeout-1.example.", None), true), None);
        assert_eq!(reply(&zone(), b"noise", true), None);
        for end in 0..20 {
            reply(&zone(), &query("d1.example.", None)[..end], true);
        }
    }

    #[tokio::test]
    async fn both_transports_answer_on_one_port() {
        let (udp, tcp) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = udp.local_addr().unwrap();
        let asking = async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(&query("d1.example.", None), address).await.unwrap();
            let mut buffer = [0; 512];
            let count = socket.recv(&mut buffer).await.unwrap();
            let by_udp = Message::from_vec(&buffer[..count]).unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            let bytes = query("d1.example.", None);
            stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(Message::from_vec(&answer).unwrap().answers, by_udp.answers);
        };
        let local = tokio::task::LocalSet::new();
        let serving = serve(udp, tcp, Rc::new(zone()), Duration::ZERO);
        local
            .run_until(async {
                tokio::select! {
                    () = asking => {}
                    ended = serving => panic!("{ended:?}"),
                }
            })
            .await;
    }
}
