//! Answers as brokers give them.

use super::*;

fn answered_cluster(code: i16, partitions: &[(i32, i32)]) -> Vec<u8> {
    let brokers = Writer::default().int32(0).array(1).int32(7).string("k7.example").int32(9093);
    let head = brokers.int16(-1).string("a-cluster").int32(7);
    let topic = head.array(1).int16(code).string("mail").int8(0).array(partitions.len());
    let answer = partitions.iter().fold(topic, |all, (place, leader)| {
        all.int16(0).int32(*place).int32(*leader).array(1).int32(7).array(1).int32(7)
    });
    answer.0
}

fn answered_produce(topic: &str, places: &[(i32, i16)]) -> Vec<u8> {
    let head = Writer::default().array(1).string(topic).array(places.len());
    let all = places
        .iter()
        .fold(head, |all, (place, code)| all.int32(*place).int16(*code).int64(-1).int64(-1));
    all.int32(0).0
}

#[test]
fn a_request_says_what_it_is_and_how_long() {
    let topics = ["mail", "x"];
    let request = Api::Metadata.request(9, &metadata(Api::Metadata, topics.into_iter()));
    let body = b"\0\x03\0\x04\0\0\0\x09\0\x0arelay-fast\0\0\0\x02\0\x04mail\0\x01x\0";
    assert_eq!(request[..4], (u32::try_from(body.len()).unwrap()).to_be_bytes());
    assert_eq!(&request[4..], body);
    let request = Api::OldMetadata.request(9, &metadata(Api::OldMetadata, topics.into_iter()));
    assert_eq!(request[4..][..4], *b"\0\x03\0\x02");
    assert_eq!(request[8..], body[4..body.len() - 1]);
    let batches = Batches::from([("mail".to_owned(), BTreeMap::from([(1, vec![7, 8])]))]);
    assert_eq!(
        produce(&batches, 2_000).0,
        b"\xff\xff\xff\xff\0\0\x07\xd0\0\0\0\x01\0\x04mail\0\0\0\x01\0\0\0\x01\0\0\0\x02\x07\x08"
    );
}

#[test]
fn a_broker_that_speaks_something_else_is_told_of() {
    let speaks = |produce: (i16, i16), metadata: i16| {
        let answer = Writer::default().int16(0).array(2).int16(0).int16(produce.0);
        let answer = answer.int16(produce.1).int16(3).int16(0).int16(metadata).0;
        check_versions(&answer)
    };
    assert_eq!(speaks((3, 12), 13), Ok(Api::Metadata));
    assert_eq!(speaks((0, 7), 2), Ok(Api::OldMetadata));
    assert_eq!(speaks((0, 7), 1), Err(Trouble::Version(Api::Metadata)));
    let why = speaks((0, 2), 13).unwrap_err().to_string();
    assert_eq!(why, "the broker does not speak version 3 of Produce");
    assert!(speaks((4, 12), 13).is_err());
    assert_eq!(check_versions(&[0, 35]).unwrap_err().to_string(), SHORT_VERSIONS);
}

const SHORT_VERSIONS: &str = "asked for its versions: UNSUPPORTED_VERSION";

#[test]
fn a_cluster_has_leaders_in_the_order_of_partitions_or_says_why_not() {
    let read = cluster(Api::Metadata, &answered_cluster(0, &[(1, 8), (0, 7)])).unwrap();
    assert_eq!(read.brokers[&7], ("k7.example".to_owned(), 9093));
    assert_eq!(read.topics["mail"], [7, 8]);
    let old = cluster(Api::OldMetadata, &answered_cluster(0, &[(1, 8), (0, 7)])[4..]);
    assert_eq!(old, Ok(read));
    let why = |answer: &[u8]| cluster(Api::Metadata, answer).unwrap_err().to_string();
    assert_eq!(why(&answered_cluster(3, &[])), "topic `mail`: UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(why(&answered_cluster(1234, &[])), "topic `mail`: error 1234");
    assert!(why(&answered_cluster(0, &[(2, 7)])).contains("not numbered"));
    assert!(why(&answered_cluster(0, &[])).contains("without a partition"));
    let whole = answered_cluster(0, &[(0, 7)]);
    (0..whole.len()).for_each(|cut| assert!(why(&whole[..cut]).contains("too early"), "{cut}"));
}

#[test]
fn all_partitions_are_to_say_that_they_have_it() {
    let partitions = BTreeMap::from([(0, Vec::new()), (2, Vec::new())]);
    let batches = Batches::from([("mail".to_owned(), partitions)]);
    let told = |topic: &str, places: &[(i32, i16)]| {
        check_produced(&answered_produce(topic, places), &batches)
    };
    assert_eq!(told("mail", &[(2, 0), (0, 0)]), Ok(()));
    for places in [&[(2, 0)][..], &[(2, 0), (1, 0)], &[(-1, 0), (0, 0)]] {
        assert!(told("mail", places).unwrap_err().to_string().contains("other partitions"));
    }
    assert!(told("liam", &[(2, 0), (0, 0)]).is_err());
    let failed = told("mail", &[(0, 0), (2, 19)]).unwrap_err();
    assert_eq!(failed.to_string(), "partition 2 of `mail`: NOT_ENOUGH_REPLICAS");
    assert!(!failed.is_too_large() && told("mail", &[(0, 10)]).unwrap_err().is_too_large());
    assert_eq!(check_produced(&[0, 0], &batches), Err(SHORT));
}

#[test]
fn a_login_that_is_not_taken_is_told_of() {
    let offered = Writer::default().int16(33).array(2).string("SCRAM-SHA-512").string("GSSAPI");
    assert_eq!(
        check_mechanism(&offered.0, "PLAIN").unwrap_err().to_string(),
        "the broker takes no PLAIN login, but SCRAM-SHA-512, GSSAPI"
    );
    let taken = Writer::default().int16(0).array(1).string("PLAIN");
    assert_eq!(check_mechanism(&taken.0, "PLAIN"), Ok(()));
    let refused = Writer::default().int16(58).string("Authentication failed\x1b").bytes(b"");
    assert_eq!(
        check_login(&refused.0).unwrap_err().to_string(),
        "login: SASL_AUTHENTICATION_FAILED: Authentication failed "
    );
    assert_eq!(check_login(&Writer::default().int16(0).int16(-1).bytes(b"").0), Ok(()));
}
