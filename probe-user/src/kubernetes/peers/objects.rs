//! What the probe reads of a slice of endpoints and of a service: addresses, ports and names.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use kube::{
    Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use serde::Deserialize;

use super::Backend;

/// The label by which a slice tells its service.
const SERVICE: &str = "kubernetes.io/service-name";

/// An `EndpointSlice`, as the API server sends it; what is not here is passed over.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct EndpointSlice {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "or_none")]
    endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "or_none")]
    ports: Vec<Port>,
}

/// A `Service`, likewise.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Service {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, Deserialize)]
struct TargetRef {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Port {
    port: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIPs", deserialize_with = "or_none")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs", deserialize_with = "or_none")]
    external_ips: Vec<String>,
}

/// The API server writes `null` for a list without elements.
fn or_none<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An address, with whose it is, and the ports at which it is.
pub(super) type Owned = (IpAddr, Arc<Backend>, Arc<[u16]>);

/// What tells addresses.
pub(super) trait Tells {
    /// The object's namespace and name.
    fn key(&self) -> (String, String);
    /// The addresses in it.
    fn addresses(&self) -> Vec<Owned>;
}

fn key(metadata: &ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

impl Tells for EndpointSlice {
    fn key(&self) -> (String, String) {
        key(&self.metadata)
    }

    fn addresses(&self) -> Vec<Owned> {
        let (namespace, name) = self.key();
        let labels = self.metadata.labels.as_ref();
        let service = labels.and_then(|labels| labels.get(SERVICE)).cloned().unwrap_or(name);
        let ports: Arc<[u16]> = self.ports.iter().filter_map(|port| port.port).collect();
        let mut owned = Vec::new();
        for endpoint in &self.endpoints {
            let pod = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod");
            let backend = Arc::new(Backend {
                namespace: namespace.clone(),
                service: service.clone(),
                pod: pod.map(|pod| pod.name.clone()).unwrap_or_default(),
            });
            // Those of a slice of names are no addresses.
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
            owned.extend(addresses.map(|address| (address, Arc::clone(&backend), Arc::clone(&ports))));
        }
        owned
    }
}

impl Tells for Service {
    fn key(&self) -> (String, String) {
        key(&self.metadata)
    }

    fn addresses(&self) -> Vec<Owned> {
        let (namespace, service) = self.key();
        let backend = Arc::new(Backend { namespace, service, pod: String::new() });
        let ServiceSpec { cluster_ips, external_ips } = &self.spec;
        // One without an address has `None` for it.
        let addresses = cluster_ips.iter().chain(external_ips).filter_map(|address| address.parse().ok());
        addresses.map(|address| (address, Arc::clone(&backend), Arc::default())).collect()
    }
}

macro_rules! resource {
    ($type:ty, $kind:literal, $group:literal, $plural:literal) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(EndpointSlice, "EndpointSlice", "discovery.k8s.io", "endpointslices");
resource!(Service, "Service", "", "services");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_tells_the_pods_behind_a_service_and_their_ports() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-x7k2p", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.5"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "web-1"}},
                {"addresses": ["10.0.0.6"]},
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))
        .unwrap();
        let told: Vec<_> = slice.addresses();
        assert_eq!(told.len(), 2);
        let (address, backend, ports) = &told[0];
        assert_eq!(address.to_string(), "10.0.0.5");
        assert_eq!((&*backend.namespace, &*backend.service, &*backend.pod), ("shop", "web", "web-1"));
        assert_eq!(**ports, [8080]);
        assert_eq!(told[1].1.pod, "");
    }

    #[test]
    fn lists_may_be_null_and_addresses_names() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b"}, "endpoints": null, "ports": null,
        }))
        .unwrap();
        assert!(slice.addresses().is_empty());
        let service = |spec| -> Service {
            serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
                .unwrap()
        };
        assert!(service(json!({"clusterIP": "None", "clusterIPs": ["None"]})).addresses().is_empty());
        let told = service(json!({"clusterIPs": ["10.96.0.7", "fd00::7"]})).addresses();
        let addresses: Vec<_> = told.iter().map(|(address, ..)| address.to_string()).collect();
        assert_eq!(addresses, ["10.96.0.7", "fd00::7"]);
    }
}
