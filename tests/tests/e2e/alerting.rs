//! From load to a message that people read: a real server, the agent, Prometheus and Alertmanager with what is shipped for
//! them, a mail server, and what answers like Slack's webhook.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    alertmanager::Alertmanager,
    client::{Client, Request},
    load,
    mail::{Mail, MailServer},
    nginx::Nginx,
    poll, process,
    prometheus::{self, Prometheus},
    rules::of_repository,
    tool,
    webhook::Webhook,
};
use serde_json::Value;

/// A chain of four programs that look once a second or less often.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of what was failed, so much is less than the twentieth part.
const GOOD: u64 = 20_000;

/// Both ends of Alertmanager's ways.
struct People {
    mails: MailServer,
    slack: Webhook,
}

impl People {
    /// What they get that begins like this: a mail, and the attachment of a message.
    fn told(&self, start: &str) -> Result<(Mail, Value)> {
        let begins =
            |message: &Value| message["title"].as_str().is_some_and(|title| title.starts_with(start));
        let mail =
            poll::until_within(PATIENCE, &format!("a mail whose subject begins with {start}"), || {
                Ok(self.mails.mails()?.into_iter().find(|mail| mail.subject.starts_with(start)))
            })?;
        let message = poll::until_within(PATIENCE, &format!("a message that begins with {start}"), || {
            let all = self.slack.messages();
            Ok(all.iter().map(|message| &message["attachments"][0]).find(|one| begins(one)).cloned())
        })?;
        Ok((mail, message))
    }
}

fn contains(what: &str, text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{what} lacks `{part}`:\n{text}");
    }
    // What a template leaves where it has nothing to say.
    ensure!(!text.contains("<no value>"), "{what} has a hole:\n{text}");
    Ok(())
}

fn is_firing(prometheus: &Prometheus, alert: &str, port: u16) -> Result<Option<Value>> {
    let mut alerts = prometheus.firing(alert)?.into_iter();
    Ok(alerts.find(|one| one["labels"]["port"] == port.to_string().as_str()))
}

/// What is said when the alert fires, and that the lesser one, which fires as well, is not said.
fn beginning_is_told(people: &People, port: u16, instance: &str) -> Result<()> {
    let (mail, message) = people.told(&format!("[CRITICAL] nginx:{port} fails"))?;
    let runbook = "/docs/operations/runbooks/TrafficErrorsMany.md";
    ensure!(mail.to == "operators@example.com", "{mail:?}");
    let said = ["FIRING: ", "5xx responses", runbook, instance, "<b>FIRING: ", "border-left", "since 20"];
    contains("the mail", &mail.text, &said)?;
    ensure!(message["color"] == "danger", "{message:#}");
    let text = message["text"].as_str().context("a text")?;
    contains("the message to Slack", text, &[":rotating_light: *nginx:", runbook, "|Runbook>", instance])?;
    println!("{}\n{}\n{text}", mail.subject, mail.text);
    let lesser = format!("[WARNING] nginx:{port} fails");
    let mails = people.mails.mails()?;
    ensure!(!mails.iter().any(|mail| mail.subject.starts_with(&lesser)), "it is said twice: {mails:?}");
    Ok(())
}

fn end_is_told(people: &People, port: u16) -> Result<()> {
    let (mail, message) = people.told(&format!("[RESOLVED] nginx:{port} fails"))?;
    contains("the mail", &mail.text, &["RESOLVED: ", ", until 20"])?;
    ensure!(message["color"] == "good", "{message:#}");
    Ok(())
}

/// A counter of requests by status begins with its first failures, and what a counter begins with is no increase. Rules ask
/// for one that is there, at 0, from a service's first request on.
#[test]
fn the_first_failures_of_a_service_fire_though_they_come_all_at_once() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let prometheus = prometheus::Setup::of(&agent).start()?;
    let mut client = Client::connect(nginx.ipv4())?;
    let mut ask = |path, times| -> Result<()> {
        (0..times).try_for_each(|_| client.exchange(&Request::new("GET", path)).map(drop))
    };
    let port = nginx.port();
    let of = |name: &str, outcome: &str| format!("{name}{{port=\"{port}\",role=\"server\",{outcome}}}");
    let failed = of("traffic_request_outcomes_total", "outcome=\"failure\"");
    ask("/ok", 1)?;
    let there = format!("count({failed} == 0)");
    poll::until("Prometheus to have the counter of failures at 0", || prometheus.value(&there))?;
    ask("/ok", 100)?;
    ask("/broken", 30)?;
    let firing = || is_firing(&prometheus, "TrafficErrors", port);
    let alert = poll::until_within(PATIENCE, "the alert to fire", firing)?;
    ensure!(alert["labels"]["service"] == "nginx", "{alert:#?}");
    let rise = prometheus.value(&format!("increase({failed}[5m])"))?.context("no increase of failures")?;
    ensure!(rise > 25.0, "30 failures are an increase of {rise}");
    let by_status = format!("increase({}[5m])", of("traffic_requests_total", "status=\"500\""));
    let by_status = prometheus.value(&by_status)?.context("Prometheus has no requests with status 500")?;
    ensure!(by_status < 1.0, "failures did not come all at once: {by_status} by their status");
    Ok(())
}

#[test]
fn failing_requests_become_a_mail_and_a_message_and_so_does_their_end() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let people = People { mails: MailServer::start()?, slack: Webhook::start()? };
    let alertmanager = Alertmanager::start(&people.mails, &people.slack)?;
    let prometheus = prometheus::Setup::of(&agent).telling(alertmanager.address()).start()?;
    // A counter's first value is no increase: the series have to be there before what is to be seen.
    let mut client = Client::connect(nginx.ipv4())?;
    for path in ["/ok", "/broken"] {
        client.exchange(&Request::new("GET", path))?;
    }
    let port = nginx.port();
    let known = format!("count(traffic_requests_total{{port=\"{port}\",role=\"server\"}}) == 2");
    poll::until("Prometheus to know both statuses", || prometheus.value(&known))?;

    for _ in 0..100 {
        client.exchange(&Request::new("GET", "/broken"))?;
    }
    let firing = || is_firing(&prometheus, "TrafficErrorsMany", port);
    let alert = poll::until_within(PATIENCE, "the alert to fire", firing)?;
    ensure!(alert["labels"]["service"] == "nginx" && alert["labels"]["severity"] == "critical", "{alert:#?}");
    let by_alertmanager = || format!("Alertmanager says: {}", alertmanager.log().unwrap_or_default());
    beginning_is_told(&people, port, &agent.address().to_string()).with_context(by_alertmanager)?;

    load::h2load(nginx.ipv4(), "/ok", GOOD, 4)?;
    poll::until_within(PATIENCE, "the alert to end", || Ok(firing()?.is_none().then_some(())))?;
    end_is_told(&people, port).with_context(by_alertmanager)?;
    ensure!(prometheus.rules_are_well()? > 30);
    Ok(())
}

#[test]
fn amtool_takes_the_configuration_and_every_route_leads_somewhere() -> Result<()> {
    let amtool = |arguments: &[&str]| -> Result<String> {
        let mut command = tool::command("amtool")?;
        command.args(arguments).current_dir(of_repository("deploy/alertmanager"));
        process::run_well(&mut command, Duration::from_secs(10))
    };
    amtool(&["check-config", "alertmanager.yml"])?;
    let route = |severity: &str| {
        let label = format!("severity={severity}");
        amtool(&["config", "routes", "test", "--config.file=alertmanager.yml", &label])
    };
    for (severity, receiver) in
        [("info", "slack"), ("warning", "slack-and-email"), ("critical", "slack-and-email")]
    {
        ensure!(route(severity)?.trim() == receiver, "{severity} goes to {}", route(severity)?);
    }
    let templates = fs::read_to_string(of_repository("deploy/alertmanager/templates/traffic-probe.tmpl"))?;
    for (name, kind) in
        [("title", "text"), ("color", "text"), ("slack", "text"), ("text", "text"), ("html", "html")]
    {
        ensure!(templates.contains(&format!("define \"traffic-probe.{name}\"")), "{name} is not defined");
        let text = format!("{{{{ template \"traffic-probe.{name}\" . }}}}");
        let arguments = ["template", "render", "--template.glob=templates/*.tmpl"];
        let rendered = amtool(
            &[&arguments[..], &[&format!("--template.text={text}"), &format!("--template.type={kind}")]]
                .concat(),
        )?;
        ensure!(!rendered.trim().is_empty() && !rendered.contains("<no value>"), "{name}: {rendered}");
    }
    Ok(())
}
