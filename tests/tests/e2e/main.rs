//! End to end: the real agent counts what real clients ask of real servers, and is compared with what those know.
//!
//! | module | holds the agent to |
//! |---|---|
//! | `any_kernel` | what it owes under kernels that lack something, too |
//! | `requests` | every request, once, by method, status, protocol and role |
//! | `responses` | every way in which a response can end |
//! | `access_log` | nginx's own log: counts by method and status, and times |
//! | `routes` | requests by a template of their path, against nginx's log of targets |
//! | `pipelining` | many requests in a segment |
//! | `wild` | what is said in the wild, and not to the letter |
//! | `bodies` | content that looks like requests and answers |
//! | `writes` | every way in which an application can write and read |
//! | `lossy` | a link that loses, duplicates and reorders packets |
//! | `handshakes` | requests that come with the handshake |
//! | `hostile` | what nobody sends who means well |
//! | `tcp_truth` | every way in which a connection can end, turn, or change hands |
//! | `tcp_health` | what TCP knows: round trips, what was sent again, resets, packets |
//! | `latency` | durations and times to the first byte, as the client measures them |
//! | `left` | clients that leave before their answer is there, and servers that break off |
//! | `phases` | where the time of a request went, as servers and clients that wait know it |
//! | `idle_connections` | what a tick costs beside connections that say nothing |
//! | `in_flight` | requests that have no answer yet |
//! | `bandwidth` | the bytes of services and interfaces |
//! | `churn` | interfaces that come, go, change their names, and rest on each other |
//! | `offload` | frames that the kernel splits and joins |
//! | `names` | who a service is, in whatever it runs |
//! | `pods` | many pods, in each runtime's cgroups, that come and go |
//! | `neighbours` | other programs on the same hooks of interfaces |
//! | `tags` | frames of VLANs |
//! | `peers` | with whom services talk, against nginx's log of clients |
//! | `users` | clients and connections |
//! | `datagrams` | services over UDP |
//! | `crowd` | more users than there is room for |
//! | `expiry` | services that nobody uses any more |
//! | `series` | kinds of requests that nobody makes any more |
//! | `floods` | what anybody can send in any number |
//! | `quota` | one service that asks for more series than it may have |
//! | `limits` | clients of its own listener that ask for too much |
//! | `memory` | what the kernel's tables take of memory |
//! | `older` | servers and connections that were there before it |
//! | `proxied` | clients behind proxies |
//! | `proxied_fields` | clients whom a proxy names in its requests |
//! | `replay` | the same counts from a capture of the same packets |
//! | `drivers` | XDP |
//! | `prometheus_rules` | the shipped rules of Prometheus, and a page for each alert |
//! | `alerting` | an alert and its end, as people get them |
//! | `grafana_alerts` | the same alerts in the form that Grafana reads |
//! | `dashboards` | every query of every panel, and figures that are those of the load |
//! | `compose` | the compose file, and the command lines in it |
//! | `exposition` | what promtool says of its metrics |
//! | `formats` | `OpenMetrics`, protobuf and native histograms in a real Prometheus; gzip and zstd |
//! | `api` | what the JSON API is described to be, and the metrics |
//! | `postman` | the Postman collection of that API, by newman |
//! | `report` | what a client of it tells people |
//! | `web_config` | TLS and authentication of its listener |
//! | `privileges` | what it has given up once it runs |
//! | `monitor` | what newman asks of a server, as the monitor tells and as the kernel counts |
//! | `quickstart_postman` | the quick start with Postman, word for word, and the examples that start a monitor |
//! | `resources` | CPU, memory and pressure of services and of the node |
//! | `tiers` | a service driven across the thresholds of its class |
//! | `refused` | each feature refused in turn: what it still counts, and that it tells what is missing |
//! | `hooks_lost` | hooks and pins that somebody takes away while it runs |
//! | `independence` | counting where a log, descriptors or interfaces cannot be had |
//! | `cramped` | places that lack a file system, or memory |
//! | `ending` | leaving nothing in the kernel |
//! | `survival` | state that is pinned: nothing missed and nothing counted twice, whatever becomes of the agent |
//! | `errors` | one clear sentence for each way in which it cannot start |
//! | `traces` | the tests themselves: they leave nothing behind either |

mod access_log;
mod alerting;
mod any_kernel;
mod api;
mod bandwidth;
mod bodies;
mod browser;
mod churn;
mod compose;
mod cramped;
mod crowd;
mod dashboards;
mod datagrams;
mod drivers;
mod ending;
mod errors;
mod expiry;
mod exposition;
mod floods;
mod formats;
mod grafana_alerts;
mod handshakes;
mod hooks_lost;
mod hostile;
mod idle_connections;
mod in_flight;
mod independence;
mod latency;
mod left;
mod limits;
mod log_noise;
mod lossy;
mod memory;
mod monitor;
mod names;
mod neighbours;
mod no_packet;
mod offload;
mod older;
mod peers;
mod phases;
mod pipelining;
mod pods;
mod postman;
mod privileges;
mod prometheus_rules;
mod proxied;
mod proxied_fields;
mod quickstart_postman;
mod quota;
mod refused;
mod replay;
mod replay_stops;
mod report;
mod requests;
mod resources;
mod responses;
mod routes;
mod series;
mod short_lived;
mod survival;
mod tags;
mod tcp_health;
mod tcp_truth;
mod tiers;
mod traces;
mod users;
mod web_config;
mod wild;
mod writes;
