//! The collection's file, as far as it has to make sense before newman is asked: newman takes any JSON for one.

use std::{fs, path::Path};

use serde::Deserialize;

use super::failure::Undone;

/// What is known of a collection without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    /// Its name: the label of its metrics.
    pub(super) name: String,
}

#[derive(Deserialize)]
struct Written {
    info: Option<Info>,
    #[serde(default)]
    item: Vec<Item>,
    /// Of version 1, which newman no longer takes.
    requests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Info {
    name: Option<String>,
}

/// A request, or a folder of them.
#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    item: Vec<Item>,
    request: Option<serde::de::IgnoredAny>,
}

impl Item {
    fn has_request(&self) -> bool {
        self.request.is_some() || self.item.iter().any(Self::has_request)
    }
}

impl Collection {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, Undone> {
        let refused = |reason: &str| Undone::collection(file, &reason);
        let text = fs::read(file).map_err(|error| Undone::collection(file, &error))?;
        let written: Written = serde_json::from_slice(&text)
            .map_err(|error| Undone::collection(file, &format!("it is not the JSON of one: {error}")))?;
        if written.requests.is_some() {
            return Err(refused("it is of version 1; export it from Postman as v2.1"));
        }
        let name = written.info.and_then(|info| info.name).filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| refused("it has no `info` with a `name`; export it from Postman as v2.1"))?;
        if !written.item.iter().any(Item::has_request) {
            return Err(refused("there is no request in it"));
        }
        Ok(Self { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Collection, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Collection::read(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_collection_is_told_by_a_sentence() {
        let good =
            r#"{"info": {"name": "shop"}, "item": [{"name": "f", "item": [{"request": "http://a"}]}]}"#;
        assert_eq!(read(good), Ok(Collection { name: "shop".to_owned() }));
        for (text, words) in [
            ("{not json", "it is not the JSON of one"),
            ("[]", "it is not the JSON of one"),
            (r#"{"id": "x", "name": "shop", "requests": []}"#, "version 1"),
            (r#"{"item": [{"request": {}}]}"#, "no `info` with a `name`"),
            (r#"{"info": {"name": "shop"}, "item": [{"item": []}]}"#, "no request in it"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("is not a usable collection") && error.contains(words), "{error}");
        }
        let absent = Collection::read(Path::new("/nowhere/shop.json")).unwrap_err().to_string();
        assert!(
            absent.starts_with("/nowhere/shop.json is not a usable collection: No such file"),
            "{absent}"
        );
    }
}
