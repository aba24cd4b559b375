//! Objects that tests make.

/// A Deployment of nginx: its container is called `nginx`, and beside it waits one called `idle`.
pub fn nginx(name: &str, replicas: u32) -> String {
    workload(
        "Deployment",
        name,
        &format!("  replicas: {replicas}\n"),
        "[{name: nginx, image: 'localhost/tools:1'}, {name: idle, image: 'localhost/tools:1', command: [sleep, infinity]}]",
    )
}

/// A Deployment of a pod that waits, for load to be sent from it.
pub fn idle(name: &str) -> String {
    workload(
        "Deployment",
        name,
        "  replicas: 1\n",
        "[{name: load, image: 'localhost/tools:1', command: [sleep, infinity]}]",
    )
}

/// Something that makes pods.
fn workload(kind: &str, name: &str, spec: &str, containers: &str) -> String {
    format!(
        "apiVersion: apps/v1\n\
         kind: {kind}\n\
         metadata: {{name: {name}}}\n\
         spec:\n{spec}  \
           selector: {{matchLabels: {{app: {name}}}}}\n  \
           template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    \
             spec:\n      \
               terminationGracePeriodSeconds: 0\n      \
               automountServiceAccountToken: false\n      \
               containers: {containers}\n"
    )
}

/// A Job that sends requests and is done.
pub fn job(name: &str, to: &str, requests: u32) -> String {
    format!(
        "apiVersion: batch/v1\n\
         kind: Job\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           backoffLimit: 0\n  \
           template:\n    \
             metadata: {{labels: {{app: {name}}}}}\n    \
             spec:\n      \
               restartPolicy: Never\n      \
               automountServiceAccountToken: false\n      \
               containers: [{{name: sends, image: 'localhost/tools:1', command: [h2load, --h1, -n, '{requests}', -c, '5', 'http://{to}/']}}]\n"
    )
}
