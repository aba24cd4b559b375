//! Every way in which a response can end, and a request can be sent: each is one request, with its status, on both ends.

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    metrics::{Role, Series},
    nginx::Nginx,
};

/// Sends a request three times and holds the agent to exactly that.
fn counted(request: &Request, method: &str, status: u16) -> Result<()> {
    const TIMES: u64 = 3;
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    for _ in 0..TIMES {
        let answer = Client::connect(nginx.ipv4())?.exchange(request)?;
        ensure!(answer.status == status, "nginx answers {}, the test expects {status}", answer.status);
    }
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let all = Series::requests(nginx.port(), role);
        let kind = all.clone().with("method", method).with("status", status);
        expected.extend([(all, TIMES), (kind, TIMES)]);
        let times = Series::at("traffic_time_to_first_byte_seconds_count", nginx.port(), role);
        expected.push((times, TIMES));
    }
    mark.rises_by_exactly(&expected)?;
    ensure!(nginx.answered(3)?.values().sum::<u64>() == TIMES, "nginx's log has other requests");
    Ok(())
}

#[test]
fn a_chunked_answer_ends_with_its_last_chunk() -> Result<()> {
    counted(&Request::new("GET", "/chunked"), "GET", 200)
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() -> Result<()> {
    counted(&Request::of_http10("GET", "/chunked"), "GET", 200)
}

#[test]
fn an_answer_to_head_has_no_content_whatever_it_announces() -> Result<()> {
    counted(&Request::new("HEAD", "/download"), "HEAD", 200)
}

#[test]
fn an_answer_of_204_has_no_content() -> Result<()> {
    counted(&Request::new("GET", "/empty"), "GET", 204)
}

#[test]
fn an_answer_of_304_has_no_content() -> Result<()> {
    let request = Request::new("GET", "/page").header("If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT");
    counted(&request, "GET", 304)
}

#[test]
fn an_upload_of_8_mib_is_one_request() -> Result<()> {
    counted(&Request::new("POST", "/upload").body(8 << 20), "POST", 200)
}

#[test]
fn an_upload_that_waits_for_100_continue_is_one_request() -> Result<()> {
    counted(&Request::new("PUT", "/upload").body(100_000).expecting_continue(), "PUT", 200)
}

/// Whoever gives up waiting has still asked.
#[test]
fn a_request_whose_client_leaves_before_the_answer_is_cancelled() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let mut client = Client::connect(nginx.ipv4())?;
    client.exchange(&Request::new("GET", "/ok"))?;
    client.send(&Request::new("GET", "/after-50ms"))?;
    client.reset()?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let all = Series::requests(nginx.port(), role);
        expected.push((all.clone().with("status", "cancelled"), 1));
        expected.push((all.with("status", 200), 1));
    }
    mark.rises_by_exactly(&expected)?;
    Ok(())
}
