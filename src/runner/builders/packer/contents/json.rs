//! Templates in JSON: HCL2 in JSON's syntax, and the older form. Values are found at their places in the text.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::found::{Contents, Parts, is_upload};

/// `None`: it is no JSON.
pub(super) fn read_hcl(text: &str) -> Option<Contents> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    let [mut plugins, mut uploads] = [Search::new(text, Wanted::Plugins), Search::new(text, Wanted::Uploads)];
    plugins.goes(root, Level::Root);
    uploads.goes(root, Level::Root);
    Some(Contents { plugins: plugins.found, uploads: uploads.found, unclear: false })
}

/// `None`: it is no JSON.
pub(super) fn read_legacy(text: &str) -> Option<Contents> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    let mut uploads = Search::new(text, Wanted::Uploads);
    uploads.goes(root, Level::Legacy);
    Some(Contents { uploads: uploads.found, ..Contents::default() })
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// A template of the older form.
    Legacy,
    /// Its post-processors, or a chain of them: names, objects with a `type`, and chains.
    List,
    /// A template in HCL2.
    Root,
    /// A block `packer`.
    Packer,
    /// A block `build`.
    Build,
    /// Blocks `post-processors`.
    Chain,
    /// Blocks `post-processor`, by their labels.
    Labels,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Plugins,
    Uploads,
}

/// What becomes of a member of an object.
enum Fate {
    Stays,
    Goes,
    Inside(Level),
}

struct Search<'t> {
    text: &'t str,
    wanted: Wanted,
    found: Parts,
}

impl<'t> Search<'t> {
    const fn new(text: &'t str, wanted: Wanted) -> Self {
        Self { text, wanted, found: Parts { names: Vec::new(), ranges: Vec::new() } }
    }

    fn fate(&self, level: Level, key: &str) -> Fate {
        match (level, key) {
            (Level::Legacy, "post-processors") => Fate::Inside(Level::List),
            (Level::Root, "packer") => Fate::Inside(Level::Packer),
            (Level::Root, "build") => Fate::Inside(Level::Build),
            (Level::Build | Level::Chain, "post-processor") => Fate::Inside(Level::Labels),
            (Level::Build, "post-processors") => Fate::Inside(Level::Chain),
            (Level::Packer, "required_plugins") if self.wanted == Wanted::Plugins => Fate::Goes,
            (Level::Labels, kind) if self.wanted == Wanted::Uploads && is_upload(kind) => Fate::Goes,
            _ => Fate::Stays,
        }
    }

    /// Looks at a value; whether it goes as a whole, since nothing would be left of it.
    fn goes(&mut self, value: &'t RawValue, level: Level) -> bool {
        match value.get().as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                let going: Vec<bool> = items.iter().map(|item| self.goes(item, level)).collect();
                self.leave_out(value, &items, &going);
                can_go(level) && !going.is_empty() && going.iter().all(|goes| *goes)
            }
            Some(b'{') if level == Level::List => self.is_upload(members(value).into_iter().find_map(kind)),
            Some(b'{') => self.object_goes(value, level),
            Some(b'"') if level == Level::List => self.is_upload(serde_json::from_str(value.get()).ok()),
            _ => false,
        }
    }

    fn object_goes(&mut self, value: &'t RawValue, level: Level) -> bool {
        let members = members(value);
        let going: Vec<bool> = members.iter().map(|(key, inner)| self.member_goes(level, key, inner)).collect();
        let values: Vec<&RawValue> = members.iter().map(|(_, inner)| *inner).collect();
        self.leave_out(value, &values, &going);
        // Of a chain other members say nothing.
        let matters = |key: &str| level != Level::Chain || key == "post-processor";
        let mut rest = members.iter().zip(&going).filter(|((key, _), _)| matters(key)).map(|(_, goes)| *goes);
        can_go(level) && going.contains(&true) && rest.all(|goes| goes)
    }

    fn member_goes(&mut self, level: Level, key: &str, value: &'t RawValue) -> bool {
        match self.fate(level, key) {
            Fate::Stays => false,
            Fate::Inside(level) => self.goes(value, level),
            Fate::Goes if self.wanted == Wanted::Plugins => {
                let blocks: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_else(|_| vec![value]);
                self.found.names.extend(blocks.into_iter().flat_map(members).map(|(name, _)| name));
                true
            }
            Fate::Goes => self.is_upload(Some(key.to_owned())),
        }
    }

    fn is_upload(&mut self, kind: Option<String>) -> bool {
        let kind = kind.filter(|kind| is_upload(kind));
        let found = kind.is_some();
        self.found.names.extend(kind);
        found
    }

    /// Notes those parts of a list or an object that go, each with the comma that would be too much.
    fn leave_out(&mut self, whole: &'t RawValue, parts: &[&'t RawValue], going: &[bool]) {
        let mut before = self.place(whole).start + 1;
        let mut is_first = true;
        for (index, (part, goes)) in parts.iter().zip(going).enumerate() {
            let end = self.place(part).end;
            let next = parts.get(index + 1).filter(|_| is_first).and_then(|_| self.text.get(end..)?.find(','));
            if *goes {
                self.found.ranges.push(before..next.map_or(end, |comma| end + comma + 1));
            } else {
                is_first = false;
            }
            before = end;
        }
    }

    /// Where a part of the text is.
    fn place(&self, part: &RawValue) -> Range<usize> {
        let start = part.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        start..start + part.get().len()
    }
}

/// Whether a value of that level may be left out: others only lose what is inside.
const fn can_go(level: Level) -> bool {
    matches!(level, Level::List | Level::Chain | Level::Labels)
}

fn kind((key, value): (String, &RawValue)) -> Option<String> {
    serde_json::from_str(value.get()).ok().filter(|_| key == "type")
}

/// The members of an object, in their order, also those that are there twice.
fn members(value: &RawValue) -> Vec<(String, &RawValue)> {
    serde_json::from_str(value.get()).map_or_else(|_| Vec::new(), |Members(members)| members)
}

struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect).map(Members)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
