//! Further handles to maps of the object, which others may take as well.

use std::os::fd::AsFd;

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
};

use super::error::StartError;

/// Another handle to a map, as the type that it is used by.
///
/// # Errors
/// If the object has no such map, or there is no descriptor left for it.
pub(super) fn shared<T: TryFrom<Map, Error = MapError>>(
    ebpf: &Ebpf,
    map: &'static str,
) -> Result<T, StartError> {
    let data = shared_data(ebpf, map)?;
    Map::from_map_data(data).and_then(T::try_from).map_err(|source| StartError::Map { map, source })
}

/// Another handle to a map.
///
/// # Errors
/// As above.
pub(super) fn shared_data(ebpf: &Ebpf, map: &'static str) -> Result<MapData, StartError> {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::Queue(data)) = ebpf.map(map).ok_or(StartError::Missing { what: "map", name: map })?
    else {
        return Err(StartError::Missing { what: "table", name: map });
    };
    let failed = |source| StartError::Map { map, source };
    let descriptor = data.fd().as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
    MapData::from_fd(descriptor).map_err(failed)
}
