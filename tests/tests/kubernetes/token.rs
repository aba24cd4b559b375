//! The service account's token: one that is not accepted any more, and the one that comes in its place.

use anyhow::{Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace},
    metrics::Role,
};

use crate::{
    names::{pod_of, requests},
    objects,
    on_node::Agent,
};

#[test]
fn a_token_that_is_refused_is_read_again_from_its_file() -> Result<()> {
    const SPACE: &str = "token";
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, SPACE)?;
    shop.apply(&objects::idle("caller"))?;
    let caller = pod_of(&cluster, &shop, "caller")?;
    let agent = Agent::start(&cluster, SPACE)?;

    agent.replace_account()?;
    cluster.stop("kube-apiserver")?;
    cluster.start("kube-apiserver")?;
    agent.says("does not accept our token")?;
    cluster.until("the API server to be back", || Ok(cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    agent.renew_token()?;
    agent.says("from the Kubernetes API server again")?;
    // Beyond what it had heard of when it was cut off: so it has listed anew.
    shop.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &shop, "web")?;
    shop.send(&caller.name, "load", &web.address, 70, 2)?;
    agent.counts(&[
        (requests(SPACE, "web", &web.name, "nginx", Role::Server), 70),
        (requests(SPACE, "caller", &caller.name, "load", Role::Client), 70),
    ])?;
    let log = agent.log()?;
    ensure!(log.matches("does not accept our token").count() == 1, "it is said once: {log}");
    Ok(())
}
