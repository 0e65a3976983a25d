//! How many clients come at once is limited, and who is there is not held up by them.

use chancery::envoy::Kind;
use chancery::xds::Options;
use tokio::task::{JoinSet, LocalSet};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::eventually;
use crate::support::xds_client::{ADS, Delta, Fixture, Sotw, bodies, shown};

const PER_SECOND: u32 = 10;
const NEWCOMERS: usize = 40;

async fn limited(max_new_streams_per_second: u32) -> Fixture {
    let options = Options { max_new_streams_per_second, ..Options::default() };
    Fixture::start_with(&"127.0.0.1:0".parse().unwrap(), options).await
}

/// Tries until it is let in, as clients do.
async fn until_let_in<S>(mut open: impl AsyncFnMut() -> Result<S, Status>) -> S {
    eventually("to be let in", async || {
        open().await.map_err(|status| {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            status.to_string()
        })
    })
    .await
}

/// A stream that was sent everything and accepted it.
#[expect(dead_code, reason = "held until the end of the test")]
enum Joined {
    Sotw(Sotw),
    Delta(Delta),
}

async fn join(channel: Channel, number: usize) -> Joined {
    if number.is_multiple_of(2) {
        let method = ADS.replace('/', "/Stream");
        let mut stream: Sotw = until_let_in(async || Sotw::try_open(channel.clone(), &method).await).await;
        stream.want(Kind::Cluster, &[]).await;
        let response = stream.receive().await;
        stream.ack(&response, &[]).await;
        Joined::Sotw(stream)
    } else {
        let method = ADS.replace('/', "/Delta");
        let mut stream: Delta = until_let_in(async || Delta::try_open(channel.clone(), &method).await).await;
        stream.amend(Kind::Cluster, &[], &[]).await;
        let response = stream.receive().await;
        stream.answer(&response, None).await;
        Joined::Delta(stream)
    }
}

#[tokio::test]
async fn a_storm_of_clients_comes_in_bit_by_bit_and_holds_nobody_up() {
    let run = async {
        let fixture = limited(PER_SECOND).await;
        fixture.publish(&[(Kind::Cluster, "c", "0")]);
        let (mut sotw, mut delta) = (fixture.sotw(ADS).await, fixture.delta(ADS).await);
        sotw.want(Kind::Cluster, &[]).await;
        delta.amend(Kind::Cluster, &[], &[]).await;

        // They are connected before the first of them opens a stream, so that they all do at once.
        let mut channels = Vec::new();
        for _ in 0..NEWCOMERS {
            channels.push(fixture.channel().await);
        }
        let mut storm = JoinSet::new();
        for (number, channel) in channels.into_iter().enumerate() {
            storm.spawn_local(join(channel, number));
        }
        let (mut joined, mut edits) = (Vec::new(), 0);
        loop {
            let expected = edits.to_string();
            let response = sotw.receive().await;
            assert_eq!(bodies(&response), [&*expected]);
            sotw.ack(&response, &[]).await;
            let response = delta.receive().await;
            assert_eq!(shown(&response), [format!("c={expected}")]);
            delta.answer(&response, None).await;
            while let Some(newcomer) = storm.try_join_next() {
                joined.push(newcomer.unwrap());
            }
            if storm.is_empty() {
                break;
            }
            edits += 1;
            fixture.publish(&[(Kind::Cluster, "c", &edits.to_string())]);
        }
        // It took them some seconds, and an edit takes some milliseconds where the machine has nothing else to do.
        assert!(edits >= 3, "only {edits} edits got through meanwhile");
        assert_eq!((joined.len(), fixture.clients.status().len()), (NEWCOMERS, NEWCOMERS + 2));
        let metrics = fixture.metrics();
        let refused = metrics.lines().find_map(|line| line.strip_prefix("chancery_xds_refused_streams_total "));
        assert!(refused.unwrap().parse::<usize>().unwrap() > 0, "{metrics}");
    };
    LocalSet::new().run_until(run).await;
}

/// Off ADS an Envoy of many clusters has many streams. They are one client.
#[tokio::test]
async fn the_streams_of_one_type_of_a_connection_are_one_client() {
    let fixture = limited(1).await;
    fixture.publish(&[(Kind::Endpoint, "e", "1")]);
    let channel = fixture.channel().await;
    let open = async || Sotw::try_open(channel.clone(), "endpoint.v3.EndpointDiscoveryService/StreamEndpoints").await;
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = open().await.unwrap();
        stream.want(Kind::Endpoint, &["e"]).await;
        assert_eq!(bodies(&stream.receive().await), ["1"]);
        streams.push(stream);
    }
    assert!(fixture.metrics().contains("chancery_xds_refused_streams_total 0"), "{}", fixture.metrics());
}

#[tokio::test]
async fn aggregated_streams_are_clients_each_also_on_one_connection() {
    let fixture = limited(1).await;
    let channel = fixture.channel().await;
    let open = async || Delta::try_open(channel.clone(), &ADS.replace('/', "/Delta")).await;
    let first = until_let_in(open).await;
    let mut refused = 0;
    // Each try takes far less than the second in which one is let in.
    while refused == 0 {
        match open().await {
            Ok(_) => {}
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                refused += 1;
            }
        }
    }
    let second = until_let_in(open).await;
    drop((first, second));
}
